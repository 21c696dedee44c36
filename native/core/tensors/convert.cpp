#include "tensors/convert.h"

#include <cstring>
#include <type_traits>

#include "linalg/simd.h"

namespace vertexq {

namespace {

constexpr std::uint32_t kInfinity = 0x7f800000;

VERTEXQ_INLINE std::uint32_t bitsOf(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

VERTEXQ_INLINE float ofBits(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// What follows has no branches, so that the compiler vectorises the loop over it.

/** Half to float: the exponent is moved by 112; a subnormal gets an exponent and loses it again by a subtraction. */
VERTEXQ_INLINE std::uint32_t halfToFloat(std::uint32_t half) {
  const std::uint32_t magnitude = (half & 0x7fff) << 13;
  const std::uint32_t normal = magnitude + (112u << 23);
  const std::uint32_t special = magnitude + (224u << 23);
  const std::uint32_t small = bitsOf(ofBits(magnitude + (113u << 23)) - ofBits(113u << 23));
  const std::uint32_t value = magnitude < (1u << 23) ? small : magnitude < (31u << 23) ? normal : special;
  return value | ((half & 0x8000) << 16);
}

VERTEXQ_INLINE std::uint32_t floatToBrain(std::uint32_t bits) {
  const std::uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  return (bits & 0x7fffffff) > kInfinity ? (bits >> 16) | 0x40 : rounded;
}

/** Float to half: adding a power of two lets the FPU round a subnormal; a normal one is rounded in integers. */
VERTEXQ_INLINE std::uint32_t floatToHalf(std::uint32_t bits) {
  const std::uint32_t magnitude = bits & 0x7fffffff;
  const std::uint32_t normal = (magnitude - (112u << 23) + 0xfff + ((magnitude >> 13) & 1)) >> 13;
  const std::uint32_t small =
      bitsOf(ofBits(magnitude < (113u << 23) ? magnitude : 0) + ofBits(126u << 23)) - (126u << 23);
  const std::uint32_t finite = magnitude < (113u << 23) ? small : normal;
  // 65520, half way from the largest half to the next power of two, is the first to become infinite.
  const std::uint32_t large = magnitude > kInfinity ? 0x7e00 : 0x7c00;
  return (magnitude >= 0x477ff000 ? large : finite) | ((bits >> 16) & 0x8000);
}

/**
 * The float next to a double that rounds to fewer bits as the double does: of the two around it the one whose last bit is 1, so that
 * a tie remains one only where it was one.
 */
VERTEXQ_INLINE std::uint32_t roundedToOdd(double value) {
  const auto nearest = static_cast<float>(value);
  const double back = nearest;
  const std::uint32_t bits = bitsOf(nearest);
  const double distance =
      value < 0 ? back - value : value - back;  // outwards; NaN where value is, or both are infinite
  const std::uint32_t outwards = distance > 0 ? 1 : 0, inwards = distance < 0 ? 1 : 0;
  return bits + (~bits & outwards) - (~bits & inwards);
}

// How numbers of a type are read, and made of others.

template <typename Number>
struct Plain {
  using Raw = Number;
  static VERTEXQ_INLINE Number value(Raw raw) { return raw; }
  template <typename Other>
  static VERTEXQ_INLINE Raw of(Other value) {
    return static_cast<Number>(value);
  }
  static VERTEXQ_INLINE bool finite(Raw raw) {
    if constexpr (std::is_same_v<Number, float>) {
      return (bitsOf(raw) & kInfinity) != kInfinity;
    } else if constexpr (std::is_same_v<Number, double>) {
      std::uint64_t bits;
      std::memcpy(&bits, &raw, sizeof bits);
      return (bits & 0x7ff0000000000000u) != 0x7ff0000000000000u;
    } else {
      return true;
    }
  }
};

struct Half {
  using Raw = std::uint16_t;
  static VERTEXQ_INLINE float value(Raw raw) { return ofBits(halfToFloat(raw)); }
  static VERTEXQ_INLINE Raw of(float value) { return static_cast<Raw>(floatToHalf(bitsOf(value))); }
  static VERTEXQ_INLINE Raw of(double value) { return static_cast<Raw>(floatToHalf(roundedToOdd(value))); }
  static VERTEXQ_INLINE bool finite(Raw raw) { return (raw & 0x7c00) != 0x7c00; }
};

struct Brain {
  using Raw = std::uint16_t;
  static VERTEXQ_INLINE float value(Raw raw) { return ofBits(std::uint32_t{raw} << 16); }
  static VERTEXQ_INLINE Raw of(float value) { return static_cast<Raw>(floatToBrain(bitsOf(value))); }
  static VERTEXQ_INLINE Raw of(double value) { return static_cast<Raw>(floatToBrain(roundedToOdd(value))); }
  static VERTEXQ_INLINE bool finite(Raw raw) { return (raw & 0x7f80) != 0x7f80; }
};

template <typename From, typename To>
VERTEXQ_INLINE bool loop(const unsigned char* VERTEXQ_RESTRICT from, std::size_t count,
                         unsigned char* VERTEXQ_RESTRICT to) {
  std::uint32_t bad = 0;
  for (std::size_t i = 0; i < count; ++i) {
    typename From::Raw raw;
    std::memcpy(&raw, from + sizeof raw * i, sizeof raw);
    const typename To::Raw made = To::of(From::value(raw));
    bad |= To::finite(made) ? 0 : 1;
    std::memcpy(to + sizeof made * i, &made, sizeof made);
  }
  return bad == 0;
}

template <typename To>
VERTEXQ_INLINE bool fromFloat(NumberType from, const unsigned char* input, std::size_t count, unsigned char* output) {
  switch (from) {
    case NumberType::Float64:
      return loop<Plain<double>, To>(input, count, output);
    case NumberType::Float32:
      return loop<Plain<float>, To>(input, count, output);
    case NumberType::Float16:
      return loop<Half, To>(input, count, output);
    default:
      return loop<Brain, To>(input, count, output);
  }
}

template <typename To>
VERTEXQ_INLINE bool fromInteger(NumberType from, const unsigned char* input, std::size_t count, unsigned char* output) {
  switch (from) {
    case NumberType::Int8:
      return loop<Plain<std::int8_t>, To>(input, count, output);
    case NumberType::Int16:
      return loop<Plain<std::int16_t>, To>(input, count, output);
    case NumberType::Int32:
      return loop<Plain<std::int32_t>, To>(input, count, output);
    case NumberType::Int64:
      return loop<Plain<std::int64_t>, To>(input, count, output);
    case NumberType::UInt8:
      return loop<Plain<std::uint8_t>, To>(input, count, output);
    case NumberType::UInt16:
      return loop<Plain<std::uint16_t>, To>(input, count, output);
    case NumberType::UInt32:
      return loop<Plain<std::uint32_t>, To>(input, count, output);
    default:
      return loop<Plain<std::uint64_t>, To>(input, count, output);
  }
}

bool isFloat(NumberType type) { return type <= NumberType::BFloat16; }

VERTEXQ_INLINE bool body(NumberType from, const unsigned char* input, std::size_t count, NumberType to,
                         unsigned char* output) {
  const bool floats = from <= NumberType::BFloat16;
  switch (to) {
    case NumberType::Float64:
      return floats ? fromFloat<Plain<double>>(from, input, count, output)
                    : fromInteger<Plain<double>>(from, input, count, output);
    case NumberType::Float32:
      return floats ? fromFloat<Plain<float>>(from, input, count, output)
                    : fromInteger<Plain<float>>(from, input, count, output);
    case NumberType::Float16:
      return fromFloat<Half>(from, input, count, output);
    case NumberType::BFloat16:
      return fromFloat<Brain>(from, input, count, output);
    default:
      return fromInteger<Plain<std::int64_t>>(from, input, count, output);
  }
}

using Convert = bool(NumberType, const unsigned char*, std::size_t, NumberType, unsigned char*);

bool convertPortable(NumberType from, const unsigned char* input, std::size_t count, NumberType to,
                     unsigned char* output) {
  return body(from, input, count, to, output);
}
VERTEXQ_AVX512 bool convertAvx512(NumberType from, const unsigned char* input, std::size_t count, NumberType to,
                                  unsigned char* output) {
  return body(from, input, count, to, output);
}
VERTEXQ_AVX2 bool convertAvx2(NumberType from, const unsigned char* input, std::size_t count, NumberType to,
                              unsigned char* output) {
  return body(from, input, count, to, output);
}

}  // namespace

std::size_t bytesOf(NumberType type) {
  switch (type) {
    case NumberType::Int8:
    case NumberType::UInt8:
      return 1;
    case NumberType::Float16:
    case NumberType::BFloat16:
    case NumberType::Int16:
    case NumberType::UInt16:
      return 2;
    case NumberType::Float32:
    case NumberType::Int32:
    case NumberType::UInt32:
      return 4;
    case NumberType::Float64:
    case NumberType::Int64:
    case NumberType::UInt64:
      break;
  }
  return 8;
}

bool converts(NumberType from, NumberType to) {
  if (to == NumberType::Float64 || to == NumberType::Float32) return true;
  if (to == NumberType::Float16 || to == NumberType::BFloat16) return isFloat(from);
  return to == NumberType::Int64 && !isFloat(from);
}

bool convert(NumberType from, const void* input, std::size_t count, NumberType to, void* output) {
  return linalg::forInstructionSet<Convert>(convertAvx512, convertAvx2, convertPortable)(
      from, static_cast<const unsigned char*>(input), count, to, static_cast<unsigned char*>(output));
}

}  // namespace vertexq
