// Conversions of numbers against their definition: every 16-bit number, every rounding boundary, and all pairs of types.
#include "tensors/convert.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

using namespace vertexq;

namespace {

constexpr NumberType kFloats[] = {NumberType::Float64, NumberType::Float32, NumberType::Float16, NumberType::BFloat16};
constexpr NumberType kIntegers[] = {NumberType::Int8,  NumberType::Int16,  NumberType::Int32,  NumberType::Int64,
                                    NumberType::UInt8, NumberType::UInt16, NumberType::UInt32, NumberType::UInt64};

// --- The definition, number by number.

struct Layout {
  int exponentBits, fractionBits;
};

Layout layoutOf(NumberType type) { return type == NumberType::Float16 ? Layout{5, 10} : Layout{8, 7}; }

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
  const auto infinity = static_cast<std::uint16_t>(((1 << layout.exponentBits) - 1) << layout.fractionBits);
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

template <typename Number>
Number read(const unsigned char* at) {
  Number number;
  std::memcpy(&number, at, sizeof number);
  return number;
}

double floatAt(NumberType type, const unsigned char* at) {
  if (type == NumberType::Float64) return read<double>(at);
  if (type == NumberType::Float32) return read<float>(at);
  return valueOf(read<std::uint16_t>(at), layoutOf(type));
}

/** As a number whose conversions C++ defines. */
template <typename Use>
void withInteger(NumberType type, const unsigned char* at, Use use) {
  switch (type) {
    case NumberType::Int8:
      return use(read<std::int8_t>(at));
    case NumberType::Int16:
      return use(read<std::int16_t>(at));
    case NumberType::Int32:
      return use(read<std::int32_t>(at));
    case NumberType::Int64:
      return use(read<std::int64_t>(at));
    case NumberType::UInt8:
      return use(read<std::uint8_t>(at));
    case NumberType::UInt16:
      return use(read<std::uint16_t>(at));
    case NumberType::UInt32:
      return use(read<std::uint32_t>(at));
    default:
      return use(read<std::uint64_t>(at));
  }
}

void put(NumberType type, double value, unsigned char* at) {
  const auto single = static_cast<float>(value);
  const std::uint16_t half = nearestBits(value, layoutOf(type));
  if (type == NumberType::Float64) std::memcpy(at, &value, 8);
  if (type == NumberType::Float32) std::memcpy(at, &single, 4);
  if (bytesOf(type) == 2) std::memcpy(at, &half, 2);
}

std::vector<unsigned char> plainly(NumberType from, const std::vector<unsigned char>& input, std::size_t count,
                                   NumberType to) {
  std::vector<unsigned char> output(count * bytesOf(to));
  for (std::size_t i = 0; i < count; ++i) {
    const unsigned char* at = input.data() + i * bytesOf(from);
    unsigned char* out = output.data() + i * bytesOf(to);
    if (from <= NumberType::BFloat16)
      put(to, floatAt(from, at), out);
    else
      withInteger(from, at, [&](auto integer) {
        const auto wide = static_cast<std::int64_t>(integer);
        const auto single = static_cast<float>(integer);
        const auto twice = static_cast<double>(integer);
        if (to == NumberType::Int64) std::memcpy(out, &wide, 8);
        if (to == NumberType::Float32) std::memcpy(out, &single, 4);
        if (to == NumberType::Float64) std::memcpy(out, &twice, 8);
      });
  }
  return output;
}

/** Equal bytes; a NaN is equal to any other one. */
bool same(NumberType type, const std::vector<unsigned char>& a, const std::vector<unsigned char>& b) {
  if (type > NumberType::BFloat16) return a == b;
  for (std::size_t i = 0; i < a.size(); i += bytesOf(type)) {
    if (std::memcmp(&a[i], &b[i], bytesOf(type)) == 0) continue;
    if (!std::isnan(floatAt(type, &a[i])) || !std::isnan(floatAt(type, &b[i]))) return false;
  }
  return true;
}

bool allFinite(NumberType type, const std::vector<unsigned char>& values) {
  if (type > NumberType::BFloat16) return true;
  for (std::size_t i = 0; i < values.size(); i += bytesOf(type))
    if (!std::isfinite(floatAt(type, &values[i]))) return false;
  return true;
}

/** Converts at an odd address, and looks at what lies beside the result. */
void compare(NumberType from, const std::vector<unsigned char>& input, NumberType to) {
  const std::size_t count = input.size() / bytesOf(from);
  std::vector<unsigned char> shifted(input.size() + 1), output(count * bytesOf(to) + 2, 0xaa);
  std::copy(input.begin(), input.end(), shifted.begin() + 1);
  const bool finite = convert(from, shifted.data() + 1, count, to, output.data() + 1);
  CHECK(output.front() == 0xaa);
  CHECK(output.back() == 0xaa);
  const std::vector<unsigned char> made(output.begin() + 1, output.end() - 1);
  const std::vector<unsigned char> expected = plainly(from, input, count, to);
  CHECK_MESSAGE(same(to, made, expected), "from type ", static_cast<int>(from), " to ", static_cast<int>(to));
  CHECK(finite == allFinite(to, expected));
}

template <typename Number>
std::vector<unsigned char> bytesOfAll(const std::vector<Number>& numbers) {
  std::vector<unsigned char> bytes(numbers.size() * sizeof(Number));
  if (!bytes.empty()) std::memcpy(bytes.data(), numbers.data(), bytes.size());
  return bytes;
}

/** Numbers at which roundings to 16 bits are decided, and their neighbours. */
std::vector<double> boundaries(NumberType type) {
  std::vector<double> values;
  const double infinity = std::numeric_limits<double>::infinity();
  const Layout layout = layoutOf(type);
  for (std::uint32_t bits = 0; bits + 1 < 0x8000; ++bits) {
    const double low = valueOf(static_cast<std::uint16_t>(bits), layout);
    const double high = valueOf(static_cast<std::uint16_t>(bits + 1), layout);
    const double middle =
        std::isfinite(high) ? low + (high - low) / 2 : low * (1 + std::ldexp(1, -2 - layout.fractionBits));
    for (const double v : {low, middle}) {
      const auto single = static_cast<float>(v);
      // Next to it among doubles, and among floats: what a rounding by way of float32 would lose.
      for (const double near : {v, std::nextafter(v, infinity), std::nextafter(v, -infinity),
                                double{std::nextafter(single, std::numeric_limits<float>::infinity())},
                                double{std::nextafter(single, 0.0F)}})
        values.insert(values.end(), {near, -near});
    }
  }
  for (const double v : {65519.0, 65520.0, 65521.0, 3.4e38, 3.5e38, 1e300, 5e-324, 1e-45, 1e-8, 2.98e-8, 2.99e-8, 0.0})
    values.insert(values.end(), {v, -v});
  return values;
}

std::vector<unsigned char> randomBytes(std::size_t count, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<unsigned char> bytes(count);
  for (unsigned char& byte : bytes) byte = static_cast<unsigned char>(random());
  return bytes;
}

TEST_CASE("every sixteen-bit number") {
  std::vector<std::uint16_t> bits(0x10000);
  for (std::size_t i = 0; i < bits.size(); ++i) bits[i] = static_cast<std::uint16_t>(i);
  for (const NumberType from : {NumberType::Float16, NumberType::BFloat16, NumberType::Int16, NumberType::UInt16})
    for (const NumberType to :
         {NumberType::Float64, NumberType::Float32, NumberType::Float16, NumberType::BFloat16, NumberType::Int64})
      if (converts(from, to)) compare(from, bytesOfAll(bits), to);
}

TEST_CASE("every rounding boundary") {
  for (const NumberType to : {NumberType::Float16, NumberType::BFloat16}) {
    const std::vector<double> values = boundaries(to);
    const std::vector<float> singles(values.begin(), values.end());
    compare(NumberType::Float64, bytesOfAll(values), to);
    compare(NumberType::Float32, bytesOfAll(singles), to);
    compare(NumberType::Float64, bytesOfAll(values), NumberType::Float32);
  }
}

TEST_CASE("random bits of every type at any place and of any length") {
  for (const auto& types : {std::vector<NumberType>(std::begin(kFloats), std::end(kFloats)),
                            std::vector<NumberType>(std::begin(kIntegers), std::end(kIntegers))})
    for (const NumberType from : types)
      for (const NumberType to :
           {NumberType::Float64, NumberType::Float32, NumberType::Float16, NumberType::BFloat16, NumberType::Int64}) {
        if (!converts(from, to)) continue;
        for (std::size_t count = 0; count < 70; ++count)
          compare(from, randomBytes(count * bytesOf(from), 100 * count + static_cast<std::size_t>(from)), to);
        compare(from, randomBytes(10000 * bytesOf(from), 7), to);
      }
}

TEST_CASE("the largest integers") {
  for (const NumberType from : kIntegers)
    for (const NumberType to : {NumberType::Float64, NumberType::Float32, NumberType::Int64}) {
      std::vector<unsigned char> bytes(3 * bytesOf(from), 0xff);
      for (std::size_t i = 0; i < bytesOf(from); ++i) bytes[i] = i + 1 == bytesOf(from) ? 0x7f : 0xff;
      for (std::size_t i = 0; i < bytesOf(from); ++i) bytes[bytesOf(from) + i] = i + 1 == bytesOf(from) ? 0x80 : 0;
      compare(from, bytes, to);
    }
  CHECK(!converts(NumberType::Float32, NumberType::Int64));
  CHECK(!converts(NumberType::Int32, NumberType::Float16));
  CHECK(!converts(NumberType::Float32, NumberType::Int8));
}

TEST_CASE("what is not finite, wherever it is") {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()})
    for (const NumberType type : kFloats)
      for (const std::size_t at : {0u, 15u, 16u, 40u}) {
        std::vector<float> values(41, 1.0F), back(41);
        values[at] = bad;
        std::vector<unsigned char> raw(41 * bytesOf(type));
        narrow(type, values.data(), 41, raw.data());
        CHECK(!widen(type, raw.data(), 41, back.data()));
        CHECK((std::isnan(bad) ? std::isnan(back[at]) : back[at] == bad));
      }
  const double large = 1e39;
  float out;
  CHECK(!widen(NumberType::Float64, &large, 1, &out));
  const float beyond = 65520;
  std::uint16_t half;
  CHECK(!convert(NumberType::Float32, &beyond, 1, NumberType::Float16, &half));
}

}  // namespace
