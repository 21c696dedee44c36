// Numbers of tensors in files, from one type to another.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vertexq {

enum class NumberType {
  Float64,
  Float32,
  Float16,
  BFloat16,
  Int8,
  Int16,
  Int32,
  Int64,
  UInt8,
  UInt16,
  UInt32,
  UInt64,
};

std::size_t bytesOf(NumberType type);

/** Whether there is a conversion: of all types to Float64 and Float32, of floats to Float16 and BFloat16, of integers to Int64. */
bool converts(NumberType from, NumberType to);

/**
 * The numbers of type `to` nearest to `count` little-endian ones of type `from`, ties to even; beyond the largest one, infinity. Int64
 * takes UInt64 by its bits. Both arrays may lie at any byte, and must not overlap. Returns whether all results are finite.
 */
bool convert(NumberType from, const void* input, std::size_t count, NumberType to, void* output);

/** To float32. */
inline bool widen(NumberType type, const void* from, std::size_t count, float* to) {
  return convert(type, from, count, NumberType::Float32, to);
}

/** From float32. */
inline void narrow(NumberType type, const float* from, std::size_t count, void* to) {
  convert(NumberType::Float32, from, count, type, to);
}

}  // namespace vertexq
