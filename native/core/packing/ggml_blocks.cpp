#include <algorithm>
#include <cmath>
#include <cstring>

#include "error.h"
#include "linalg/simd.h"
#include "packing/ggml_types.h"
#include "tensors/convert.h"

namespace vertexq {

namespace {

using Byte = unsigned char;

float halfAt(const Byte* from) {
  float value;
  widen(NumberType::Float16, from, 1, &value);
  return value;
}

void putHalf(float value, Byte* to) { narrow(NumberType::Float16, &value, 1, to); }

/** The fields of a block: what its bits say, before anything is made of it. */
struct Fields {
  Byte codes[kMostBlock];
  float d = 0, dmin = 0;
  std::int16_t scales[kMostGroups];  // s, signed as they count
  Byte minima[kMostGroups];          // μ
};

// Two ways over one layout each: `Way` reads fields from bytes or adds them to zeroed bytes, so that a layout is written down once.

struct Reading {
  static constexpr bool reads = true;
  using Bytes = const Byte*;
  static void bits(Bytes at, int shift, int width, Byte& field, int upper = 0) {
    field = static_cast<Byte>(field | ((*at >> shift) & ((1 << width) - 1)) << upper);
  }
  static void half(Bytes at, float& value) { value = halfAt(at); }
};

struct Writing {
  static constexpr bool reads = false;
  using Bytes = Byte*;
  static void bits(Bytes at, int shift, int width, const Byte& field, int upper = 0) {
    *at = static_cast<Byte>(*at | ((field >> upper) & ((1 << width) - 1)) << shift);
  }
  static void half(Bytes at, const float& value) { putHalf(value, at); }
};

/** `count` bytes whose low nibbles are the codes from `low` on, and whose high ones those from `high` on. */
template <typename Way, typename Codes>
void nibbles(typename Way::Bytes VERTEXQ_RESTRICT at, std::size_t count, Codes* VERTEXQ_RESTRICT low,
             Codes* VERTEXQ_RESTRICT high) {
  for (std::size_t i = 0; i < count; ++i) Way::bits(at + i, 0, 4, low[i]);
  for (std::size_t i = 0; i < count; ++i) Way::bits(at + i, 4, 4, high[i]);
}

/** The fifth bits of 32 codes, in four bytes. */
template <typename Way, typename Codes>
void fifthBits(typename Way::Bytes at, Codes* codes) {
  for (int i = 0; i < 32; ++i) Way::bits(at + i / 8, i % 8, 1, codes[i], 4);
}

/** Two bits of each of 256 codes: four of a byte's, 32 codes apart. */
template <typename Way, typename Codes>
void pairs(typename Way::Bytes at, Codes* codes, int upper = 0) {
  for (int half = 0; half < 2; ++half)
    for (int part = 0; part < 4; ++part)
      for (int i = 0; i < 32; ++i) Way::bits(at + 32 * half + i, 2 * part, 2, codes[128 * half + 32 * part + i], upper);
}

/** One bit of each of 256 codes in 32 bytes: a byte's eight, 32 codes apart. */
template <typename Way, typename Codes>
void singles(typename Way::Bytes at, Codes* codes, int upper) {
  for (int part = 0; part < 8; ++part)
    for (int i = 0; i < 32; ++i) Way::bits(at + i, part, 1, codes[32 * part + i], upper);
}

/** The eight scales and minima of six bits of Q4_K and Q5_K, in twelve bytes. */
template <typename Way, typename Codes>
void sixBits(typename Way::Bytes at, Codes* scales, Codes* minima) {
  for (int j = 0; j < 4; ++j) {
    Way::bits(at + j, 0, 6, scales[j]);
    Way::bits(at + 4 + j, 0, 6, minima[j]);
    Way::bits(at + 8 + j, 0, 4, scales[4 + j]);
    Way::bits(at + 8 + j, 4, 4, minima[4 + j]);
    Way::bits(at + j, 6, 2, scales[4 + j], 4);
    Way::bits(at + 4 + j, 6, 2, minima[4 + j], 4);
  }
}

/** Everything in a block but what scales count from: `s` as the bits have them. */
template <typename Way, typename F, typename S>
void layOut(const GgmlType& type, typename Way::Bytes at, F& f, S* s) {
  switch (type.bytes) {
    case 18:  // Q4_0, IQ4_NL
      Way::half(at, f.d);
      return nibbles<Way>(at + 2, 16, f.codes, f.codes + 16);
    case 20:  // Q4_1
      Way::half(at, f.d);
      Way::half(at + 2, f.dmin);
      return nibbles<Way>(at + 4, 16, f.codes, f.codes + 16);
    case 22:  // Q5_0
      Way::half(at, f.d);
      fifthBits<Way>(at + 2, f.codes);
      return nibbles<Way>(at + 6, 16, f.codes, f.codes + 16);
    case 24:  // Q5_1
      Way::half(at, f.d);
      Way::half(at + 2, f.dmin);
      fifthBits<Way>(at + 4, f.codes);
      return nibbles<Way>(at + 8, 16, f.codes, f.codes + 16);
    case 34:  // Q8_0
      Way::half(at, f.d);
      for (int i = 0; i < 32; ++i) Way::bits(at + 2 + i, 0, 8, f.codes[i]);
      return;
    case 84:  // Q2_K
      nibbles<Way>(at, 16, s, f.minima);
      pairs<Way>(at + 16, f.codes);
      Way::half(at + 80, f.d);
      return Way::half(at + 82, f.dmin);
    case 110:  // Q3_K
      singles<Way>(at, f.codes, 2);
      pairs<Way>(at + 32, f.codes);
      nibbles<Way>(at + 96, 8, s, s + 8);
      for (int k = 0; k < 16; ++k) Way::bits(at + 104 + k % 4, 2 * (k / 4), 2, s[k], 4);
      return Way::half(at + 108, f.d);
    case 144:  // Q4_K
      Way::half(at, f.d);
      Way::half(at + 2, f.dmin);
      sixBits<Way>(at + 4, s, f.minima);
      for (int c = 0; c < 4; ++c) nibbles<Way>(at + 16 + 32 * c, 32, f.codes + 64 * c, f.codes + 64 * c + 32);
      return;
    case 176:  // Q5_K
      Way::half(at, f.d);
      Way::half(at + 2, f.dmin);
      sixBits<Way>(at + 4, s, f.minima);
      singles<Way>(at + 16, f.codes, 4);
      for (int c = 0; c < 4; ++c) nibbles<Way>(at + 48 + 32 * c, 32, f.codes + 64 * c, f.codes + 64 * c + 32);
      return;
    case 210:  // Q6_K
      for (int c = 0; c < 2; ++c) nibbles<Way>(at + 64 * c, 64, f.codes + 128 * c, f.codes + 128 * c + 64);
      pairs<Way>(at + 128, f.codes, 4);
      for (int k = 0; k < 16; ++k) Way::bits(at + 192 + k, 0, 8, s[k]);
      return Way::half(at + 208, f.d);
    default:  // IQ4_XS
      Way::half(at, f.d);
      for (int k = 0; k < 8; ++k) {
        Way::bits(at + 2 + k / 4, 2 * (k % 4), 2, s[k], 4);
        Way::bits(at + 4 + k / 2, 4 * (k % 2), 4, s[k]);
      }
      for (int c = 0; c < 8; ++c) nibbles<Way>(at + 8 + 16 * c, 16, f.codes + 32 * c, f.codes + 32 * c + 16);
  }
}

/** What the bits of a scale are more than it: Q6_K's are a signed byte. */
int biasOf(const GgmlType& type) { return type.bytes == 210 ? 0 : type.factors.leastScale; }

/** Whether a number > 0 is one of float16. */
bool isHalf(double value) {
  if (value > 65504) return false;
  if (value < 0x1p-14) return value * 0x1p24 == std::floor(value * 0x1p24);
  std::uint64_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return (bits & ((std::uint64_t{1} << 42) - 1)) == 0;
}

/** d, a number of float16 or 0, with value = d·factor for whole factors in [least, most]. False where there is none. */
bool factored(const float* values, std::size_t count, int least, int most, float& d, std::int16_t* factors) {
  const float* largest =
      std::max_element(values, values + count, [](float a, float b) { return std::abs(a) < std::abs(b); });
  d = 0;
  std::fill_n(factors, count, std::int16_t{0});
  if (!std::all_of(values, values + count, [](float v) { return std::isfinite(v); })) return false;
  if (*largest == 0) return true;
  const int reach = std::max(-least, most);
  for (int whole = 1; whole <= reach; ++whole) {
    const double unit = std::abs(static_cast<double>(*largest)) / whole;
    if (!isHalf(unit)) continue;
    for (const int sign : {1, -1}) {
      std::size_t k = 0;
      for (; k < count; ++k) {
        const double factor = sign * static_cast<double>(values[k]) / unit;
        if (factor != std::nearbyint(factor) || factor < least || factor > most) break;
        factors[k] = static_cast<std::int16_t>(factor);
      }
      if (k < count) continue;
      d = static_cast<float>(sign * unit);
      return true;
    }
  }
  return false;
}

[[noreturn]] void refuse(const GgmlType& type, const char* what) {
  throw Error("ERR_VERTEXQ_SCALE_RANGE", std::string("a block of ") + type.name + " cannot hold its " + what);
}

void requireHalf(const GgmlType& type, float value, const char* what) {
  if (value != 0 && !(std::isfinite(value) && isHalf(std::abs(static_cast<double>(value))))) refuse(type, what);
}

}  // namespace

void unpackBlock(const GgmlType& type, const unsigned char* from, GgmlBlock& block) {
  Fields f{};
  Byte s[kMostGroups] = {};
  layOut<Reading>(type, from, f, s);
  const int offset = type.offset();
  for (std::size_t i = 0; i < type.weights; ++i) block.codes[i] = static_cast<std::int8_t>(f.codes[i] + offset);
  if (type.bytes == 34) std::memcpy(block.codes, f.codes, type.weights);  // int8 as they are
  if (type.factors.groups == 0) {
    block.scales[0] = f.d;
    block.minima[0] = f.dmin;
    return;
  }
  const int bias = biasOf(type);
  for (std::size_t g = 0; g < type.groups(); ++g) {
    const int factor = bias == 0 && type.factors.leastScale < 0 ? static_cast<std::int8_t>(s[g]) : s[g] + bias;
    block.scales[g] = f.d * static_cast<float>(factor);
    block.minima[g] = -(f.dmin * f.minima[g]);  // -0 too: what ggml takes away from 0 may be told apart
  }
}

void packBlock(const GgmlType& type, const GgmlBlock& block, unsigned char* to) {
  Fields f{};
  Byte s[kMostGroups] = {};
  const int offset = type.offset();
  // Of every type the number of levels is a power of 2: what is none of them has a bit that no level has.
  unsigned bits = 0;
  for (std::size_t i = 0; i < type.weights; ++i) {
    f.codes[i] = static_cast<Byte>(block.codes[i] - offset);
    bits |= f.codes[i];
  }
  if (bits >= static_cast<unsigned>(type.levels)) refuse(type, "codes");
  if (type.bytes == 34) std::memcpy(f.codes, block.codes, type.weights);
  if (type.factors.groups == 0) {
    requireHalf(type, block.scales[0], "scale");
    f.d = block.scales[0];
    if (type.grid == Grid::Minimum) {
      requireHalf(type, block.minima[0], "minimum");
      f.dmin = block.minima[0];
    }
  } else {
    const auto [groups, leastScale, mostScale, mostMinimum] = type.factors;
    if (!factored(block.scales, groups, leastScale, mostScale, f.d, f.scales)) refuse(type, "scales");
    const int bias = biasOf(type);
    for (std::size_t g = 0; g < groups; ++g) s[g] = static_cast<Byte>(f.scales[g] - bias);
    if (mostMinimum > 0) {
      std::int16_t minima[kMostGroups];
      float negative[kMostGroups];
      std::transform(block.minima, block.minima + groups, negative, [](float m) { return -m; });
      if (!factored(negative, groups, 0, mostMinimum, f.dmin, minima)) refuse(type, "minima");
      for (std::size_t g = 0; g < groups; ++g) f.minima[g] = static_cast<Byte>(minima[g]);
    }
  }
  std::memset(to, 0, type.bytes);
  layOut<Writing>(type, to, f, s);
}

void blockValues(const GgmlType& type, const GgmlBlock& block, float* values) {
  const std::size_t group = type.group;
  const float* table = ggmlTable().data();
  for (std::size_t g = 0; g < type.groups(); ++g) {
    const std::int8_t* codes = block.codes + g * group;
    const float scale = block.scales[g], minimum = block.minima[g];
    float* to = values + g * group;
    if (type.grid == Grid::Table)
      for (std::size_t i = 0; i < group; ++i) to[i] = scale * table[codes[i]];
    else if (type.grid == Grid::Minimum)
      for (std::size_t i = 0; i < group; ++i) to[i] = scale * static_cast<float>(codes[i]) + minimum;
    else
      for (std::size_t i = 0; i < group; ++i) to[i] = scale * static_cast<float>(codes[i]);
  }
}

}  // namespace vertexq
