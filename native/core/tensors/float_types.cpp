#include "tensors/float_types.h"

#include <cmath>
#include <cstring>
#include <limits>

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

// The bodies below are plain loops without branches, which the compiler vectorises. Input is read by memcpy: a tensor may begin
// at any byte.

VERTEXQ_INLINE std::uint32_t brainToFloat(std::uint32_t brain) { return brain << 16; }

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

template <std::uint32_t (*convert)(std::uint32_t)>
VERTEXQ_INLINE bool widen16(const unsigned char* VERTEXQ_RESTRICT from, std::size_t count, float* VERTEXQ_RESTRICT to) {
  std::uint32_t bad = 0;
  for (std::size_t i = 0; i < count; ++i) {
    std::uint16_t half;
    std::memcpy(&half, from + 2 * i, sizeof half);
    const std::uint32_t bits = convert(half);
    bad |= (bits & kInfinity) == kInfinity ? 1 : 0;
    std::memcpy(to + i, &bits, sizeof bits);
  }
  return bad == 0;
}

template <typename Real>
VERTEXQ_INLINE bool widenReal(const unsigned char* VERTEXQ_RESTRICT from, std::size_t count,
                              float* VERTEXQ_RESTRICT to) {
  std::uint32_t bad = 0;
  for (std::size_t i = 0; i < count; ++i) {
    Real value;
    std::memcpy(&value, from + sizeof(Real) * i, sizeof value);
    const auto narrowed = static_cast<float>(value);
    std::uint32_t bits;
    std::memcpy(&bits, &narrowed, sizeof bits);
    bad |= (bits & kInfinity) == kInfinity ? 1 : 0;
    std::memcpy(to + i, &bits, sizeof bits);
  }
  return bad == 0;
}

template <std::uint32_t (*convert)(std::uint32_t)>
VERTEXQ_INLINE void narrow16(const float* VERTEXQ_RESTRICT from, std::size_t count,
                             unsigned char* VERTEXQ_RESTRICT to) {
  for (std::size_t i = 0; i < count; ++i) {
    const auto half = static_cast<std::uint16_t>(convert(bitsOf(from[i])));
    std::memcpy(to + 2 * i, &half, sizeof half);
  }
}

VERTEXQ_INLINE bool widenBody(FloatType type, const unsigned char* from, std::size_t count, float* to) {
  switch (type) {
    case FloatType::Float64:
      return widenReal<double>(from, count, to);
    case FloatType::Float32:
      return widenReal<float>(from, count, to);
    case FloatType::Float16:
      return widen16<halfToFloat>(from, count, to);
    case FloatType::BFloat16:
      break;
  }
  return widen16<brainToFloat>(from, count, to);
}

VERTEXQ_INLINE void narrowBody(FloatType type, const float* from, std::size_t count, unsigned char* to) {
  switch (type) {
    case FloatType::Float64:
      for (std::size_t i = 0; i < count; ++i) {
        const double value = from[i];
        std::memcpy(to + 8 * i, &value, sizeof value);
      }
      return;
    case FloatType::Float32:
      if (count > 0) std::memcpy(to, from, 4 * count);  // of no numbers there may be no address
      return;
    case FloatType::Float16:
      return narrow16<floatToHalf>(from, count, to);
    case FloatType::BFloat16:
      return narrow16<floatToBrain>(from, count, to);
  }
}

using Widen = bool(FloatType, const unsigned char*, std::size_t, float*);
using Narrow = void(FloatType, const float*, std::size_t, unsigned char*);

bool widenPortable(FloatType type, const unsigned char* from, std::size_t count, float* to) {
  return widenBody(type, from, count, to);
}
VERTEXQ_AVX512 bool widenAvx512(FloatType type, const unsigned char* from, std::size_t count, float* to) {
  return widenBody(type, from, count, to);
}
VERTEXQ_AVX2 bool widenAvx2(FloatType type, const unsigned char* from, std::size_t count, float* to) {
  return widenBody(type, from, count, to);
}
void narrowPortable(FloatType type, const float* from, std::size_t count, unsigned char* to) {
  narrowBody(type, from, count, to);
}
VERTEXQ_AVX512 void narrowAvx512(FloatType type, const float* from, std::size_t count, unsigned char* to) {
  narrowBody(type, from, count, to);
}
VERTEXQ_AVX2 void narrowAvx2(FloatType type, const float* from, std::size_t count, unsigned char* to) {
  narrowBody(type, from, count, to);
}

// --- references

struct Layout {
  int exponentBits, fractionBits;
};

Layout layoutOf(FloatType type) { return type == FloatType::Float16 ? Layout{5, 10} : Layout{8, 7}; }

double valueOf(std::uint16_t bits, Layout layout) {
  const int bias = (1 << (layout.exponentBits - 1)) - 1;
  const int top = (1 << layout.exponentBits) - 1;
  const int exponent = (bits >> layout.fractionBits) & top;
  const int fraction = bits & ((1 << layout.fractionBits) - 1);
  const double sign = bits & 0x8000 ? -1 : 1;
  if (exponent == top)
    return fraction ? std::numeric_limits<double>::quiet_NaN() : sign * std::numeric_limits<double>::infinity();
  if (exponent == 0) return sign * std::ldexp(fraction, 1 - bias - layout.fractionBits);
  return sign * std::ldexp((1 << layout.fractionBits) + fraction, exponent - bias - layout.fractionBits);
}

std::uint16_t nearestBits(double value, Layout layout) {
  const std::uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  const std::uint16_t infinity = static_cast<std::uint16_t>(((1 << layout.exponentBits) - 1) << layout.fractionBits);
  if (std::isnan(value)) return static_cast<std::uint16_t>(sign | infinity | (1 << (layout.fractionBits - 1)));
  // Magnitudes are ordered as their bits: the largest one below, then the nearer of it and the next.
  const double magnitude = std::abs(value);
  std::uint16_t low = 0, high = infinity;
  while (high - low > 1) {
    const auto middle = static_cast<std::uint16_t>((low + high) / 2);
    (valueOf(middle, layout) <= magnitude ? low : high) = middle;
  }
  if (magnitude == std::numeric_limits<double>::infinity()) return sign | infinity;
  // Infinity counts as the number that would follow the largest.
  const double below = valueOf(low, layout);
  const double above = high == infinity ? 2 * below - valueOf(low - 1, layout) : valueOf(high, layout);
  const double down = magnitude - below, up = above - magnitude;
  return sign | (down < up || (down == up && low % 2 == 0) ? low : high);
}

}  // namespace

std::size_t bytesOf(FloatType type) { return type == FloatType::Float64 ? 8 : type == FloatType::Float32 ? 4 : 2; }

bool widen(FloatType type, const void* from, std::size_t count, float* to) {
  return linalg::forInstructionSet<Widen>(widenAvx512, widenAvx2, widenPortable)(
      type, static_cast<const unsigned char*>(from), count, to);
}

void narrow(FloatType type, const float* from, std::size_t count, void* to) {
  linalg::forInstructionSet<Narrow>(narrowAvx512, narrowAvx2, narrowPortable)(type, from, count,
                                                                              static_cast<unsigned char*>(to));
}

bool widenReference(FloatType type, const void* from, std::size_t count, float* to) {
  const auto* bytes = static_cast<const unsigned char*>(from);
  bool finite = true;
  for (std::size_t i = 0; i < count; ++i) {
    double value;
    if (type == FloatType::Float64) {
      std::memcpy(&value, bytes + 8 * i, 8);
    } else if (type == FloatType::Float32) {
      float single;
      std::memcpy(&single, bytes + 4 * i, 4);
      value = single;
    } else {
      std::uint16_t bits;
      std::memcpy(&bits, bytes + 2 * i, 2);
      value = valueOf(bits, layoutOf(type));
    }
    to[i] = static_cast<float>(value);
    finite = finite && std::isfinite(to[i]);
  }
  return finite;
}

void narrowReference(FloatType type, const float* from, std::size_t count, void* to) {
  auto* bytes = static_cast<unsigned char*>(to);
  for (std::size_t i = 0; i < count; ++i) {
    const double value = from[i];
    if (type == FloatType::Float64) {
      std::memcpy(bytes + 8 * i, &value, 8);
    } else if (type == FloatType::Float32) {
      std::memcpy(bytes + 4 * i, from + i, 4);
    } else {
      const std::uint16_t bits = nearestBits(value, layoutOf(type));
      std::memcpy(bytes + 2 * i, &bits, 2);
    }
  }
}

}  // namespace vertexq
