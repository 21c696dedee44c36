// Numbers as checkpoints hold them, to and from float32.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vertexq {

enum class FloatType { Float64, Float32, Float16, BFloat16 };

std::size_t bytesOf(FloatType type);

/**
 * The float32 numbers nearest to `count` little-endian numbers of the type; exact but for Float64. `from` may lie anywhere.
 * Returns whether all of them are finite, as they were and as float32.
 */
bool widen(FloatType type, const void* from, std::size_t count, float* to);

/** The nearest numbers of the type, ties to even; beyond its largest one, infinity. `to` may lie anywhere. */
void narrow(FloatType type, const float* from, std::size_t count, void* to);

/** The same, number by number from the definition of the formats: what the fast ones are compared with. */
bool widenReference(FloatType type, const void* from, std::size_t count, float* to);
void narrowReference(FloatType type, const float* from, std::size_t count, void* to);

}  // namespace vertexq
