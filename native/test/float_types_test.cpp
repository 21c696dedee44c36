// Conversions of checkpoints' numbers against their definition, for every 16-bit number and at every rounding boundary.
#include "tensors/float_types.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

using namespace vertexq;

namespace {

constexpr FloatType kTypes[] = {FloatType::Float64, FloatType::Float32, FloatType::Float16, FloatType::BFloat16};

bool same(float a, float b) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  return std::memcmp(&a, &b, sizeof a) == 0;
}

void everySixteenBitNumber() {
  for (const FloatType type : {FloatType::Float16, FloatType::BFloat16}) {
    std::vector<std::uint16_t> bits(0x10000);
    for (std::size_t i = 0; i < bits.size(); ++i) bits[i] = static_cast<std::uint16_t>(i);
    std::vector<float> fast(bits.size()), plain(bits.size());
    CHECK(!widen(type, bits.data(), bits.size(), fast.data()));
    CHECK(!widenReference(type, bits.data(), bits.size(), plain.data()));
    for (std::size_t i = 0; i < bits.size(); ++i) CHECK(same(fast[i], plain[i]));
    // And back: what was read is written again, and so are the midpoints between neighbours and what lies beside those.
    std::vector<float> values;
    for (const float value : plain) {
      const float next = std::nextafter(value, std::numeric_limits<float>::infinity());
      values.insert(values.end(), {value, next, -next});
    }
    for (std::size_t i = 0; i + 1 < 0x8000; ++i) {
      const float middle = plain[i] + (plain[i + 1] - plain[i]) / 2;
      for (const float v : {middle, std::nextafter(middle, 0.0F), std::nextafter(middle, 1e30F)})
        values.insert(values.end(), {v, -v});
    }
    for (const float v : {65519.0F, 65520.0F, 65521.0F, 3.4e38F, 1e-45F, 1e-8F, 2.98e-8F, 2.99e-8F})
      values.insert(values.end(), {v, -v});
    std::vector<std::uint16_t> narrowed(values.size()), expected(values.size());
    narrow(type, values.data(), values.size(), narrowed.data());
    narrowReference(type, values.data(), values.size(), expected.data());
    for (std::size_t i = 0; i < values.size(); ++i)
      if (!std::isnan(values[i])) CHECK(narrowed[i] == expected[i]);
    std::vector<float> again(values.size());
    widen(type, narrowed.data(), values.size(), again.data());
    for (std::size_t i = 0; i < values.size(); ++i) CHECK(std::isnan(values[i]) == std::isnan(again[i]));
  }
}

void anyLengthAtAnyPlace() {
  std::mt19937_64 random(3);
  std::normal_distribution<float> normal;
  for (const FloatType type : kTypes)
    for (std::size_t count = 0; count < 70; ++count) {
      std::vector<float> values(count), back(count + 1, 7.0F), plain(count);
      for (float& v : values) v = normal(random);
      const std::size_t bytes = count * bytesOf(type);
      std::vector<unsigned char> raw(bytes + 2, 0xaa), reference(bytes);
      narrow(type, values.data(), count, raw.data() + 1);
      narrowReference(type, values.data(), count, reference.data());
      CHECK((bytes == 0 || std::memcmp(raw.data() + 1, reference.data(), bytes) == 0));
      CHECK((raw[0] == 0xaa && raw[bytes + 1] == 0xaa));
      CHECK(widen(type, raw.data() + 1, count, back.data()));
      CHECK(widenReference(type, raw.data() + 1, count, plain.data()));
      for (std::size_t i = 0; i < count; ++i) CHECK(same(back[i], plain[i]));
      CHECK(back[count] == 7.0F);
    }
}

void whatIsNotFinite() {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()})
    for (const FloatType type : kTypes)
      for (std::size_t at : {0u, 15u, 16u, 40u}) {
        std::vector<float> values(41, 1.0F), back(41);
        values[at] = bad;
        std::vector<unsigned char> raw(41 * bytesOf(type));
        narrow(type, values.data(), 41, raw.data());
        CHECK(!widen(type, raw.data(), 41, back.data()));
        CHECK(same(back[at], bad));
      }
  const double large = 1e39;
  float out;
  CHECK(!widen(FloatType::Float64, &large, 1, &out));
}

}  // namespace

TEST_CASE("every sixteen bit number") { everySixteenBitNumber(); }
TEST_CASE("any length at any place") { anyLengthAtAnyPlace(); }
TEST_CASE("what is not finite") { whatIsNotFinite(); }
