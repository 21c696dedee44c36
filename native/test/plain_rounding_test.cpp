// Fast plain rounding against the search it stands for: equal alphabets, equal codes.
#include "packing/plain_rounding.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include "error.h"
#include "packing/checksum.h"
#include "tensors/bit_packing.h"
#include "tensors/convert.h"
#include "test_data.h"

using namespace vertexq;

namespace {

using Kind = GridKind;

const Kind kinds[] = {{Grid::Integer, 3},      {Grid::Integer, 15},   {Grid::Integer, 255},
                      {Grid::Asymmetric, 3},   {Grid::Asymmetric, 4}, {Grid::Asymmetric, 16},
                      {Grid::Asymmetric, 256}, {Grid::ZeroFree, 2},   {Grid::ZeroFree, 4},
                      {Grid::ZeroFree, 16},    {Grid::FullRange, 4},  {Grid::FullRange, 16},
                      {Grid::FullRange, 256},  {Grid::Minimum, 16},   {Grid::Table, 16, &testing::kUnevenTable}};

/** Weights as they come, and as they make trouble: on a grid, symmetric, one sign, outliers, huge and tiny ones. */
std::vector<float> weights(std::mt19937_64& random, int kind, std::size_t count) {
  std::normal_distribution<float> normal;
  std::vector<float> w(count);
  for (float& v : w) v = normal(random);
  std::vector<std::uint16_t> brain(count);
  switch (kind) {
    case 0:  // bfloat16, as most checkpoints
      for (float& v : w) v *= 0.02F;
      narrow(NumberType::BFloat16, w.data(), count, brain.data());
      widen(NumberType::BFloat16, brain.data(), count, w.data());
      break;
    case 1:  // multiples of a step: exact levels and ties
      for (float& v : w) v = std::round(v * 4) / 8;
      break;
    case 2:  // equal on either side of 0
      w[0] = 3;
      w[count - 1] = -3;
      break;
    case 3:
      for (float& v : w) v = std::abs(v);
      break;
    case 4:
      w[count / 2] = 50;
      break;
    case 5:
      for (float& v : w) v *= 1e-36F;
      break;
    case 6:
      for (float& v : w) v *= 1e36F;
      break;
    case 7:
      for (float& v : w) v = 0;
      break;
    case 8:
      for (float& v : w) v = -0.7F;
      break;
    case 9:  // a few denormals
      for (float& v : w) v = std::round(v) * std::numeric_limits<float>::denorm_min();
      break;
    case 10:  // -6 to 8: two zero points with the same step
      for (float& v : w) v = std::fmod(v, 1.0F);
      w[0] = -6;
      w[count - 1] = 8;
      break;
    default:
      break;
  }
  return w;
}
constexpr int kWeightKinds = 12;

void equalToTheSearch() {
  std::mt19937_64 random(4);
  for (const Kind& kind : kinds)
    for (const ScaleRule rule : {ScaleRule::Search, ScaleRule::Max})
      for (const ScalePrecision precision :
           {ScalePrecision::Float16, ScalePrecision::BFloat16, ScalePrecision::Float32}) {
        PlainRounding rounding(kind, rule, precision);
        for (int data = 0; data < kWeightKinds; ++data)
          for (const std::size_t count : {1u, 7u, 32u, 128u, 300u, 5000u}) {
            if (data == 6 && precision == ScalePrecision::Float16) continue;
            for (int repeat = 0; repeat < (count == 128 ? 20 : 1); ++repeat) {
              const std::vector<float> w = weights(random, data, count);
              std::vector<std::int8_t> fast(count), plain(count);
              const RoundedGroup a = rounding.round(w.data(), count, fast.data());
              const RoundedGroup b = rounding.roundReference(w.data(), count, plain.data());
              CHECK((a.alphabet.step() == b.alphabet.step() && a.alphabet.zeroPoint() == b.alphabet.zeroPoint()));
              CHECK((a.alphabet.lowest() == b.alphabet.lowest() && a.alphabet.highest() == b.alphabet.highest()));
              CHECK(fast == plain);
              CHECK_LE(std::abs(std::sqrt(a.error) - std::sqrt(b.error)),
                       1e-3 * std::sqrt(b.error) + 1e-5 * std::sqrt(b.signal));
              CHECK_LE(std::abs(a.signal - b.signal), 1e-5 * b.signal);
            }
          }
      }
}

/** Sixteen groups at once, of all kinds of weights beside each other: what the search by itself gives of each. */
void lanesEqualToTheSearch() {
  std::mt19937_64 random(11);
  std::size_t inLanes = 0, all = 0;
  for (const Kind& kind : kinds)
    for (const ScaleRule rule : {ScaleRule::Search, ScaleRule::Max})
      for (const ScalePrecision precision :
           {ScalePrecision::Float16, ScalePrecision::BFloat16, ScalePrecision::Float32})
        for (const std::size_t count : {1u, 3u, 16u, 31u, 32u, 128u, 256u}) {
          PlainRounding rounding(kind, rule, precision);
          const std::size_t groups = 21;
          std::vector<float> w;
          for (std::size_t g = 0; g < groups; ++g) {
            int data = static_cast<int>(g % kWeightKinds);
            if (data == 6 && precision == ScalePrecision::Float16) data = 0;
            const std::vector<float> own = weights(random, data, count);
            w.insert(w.end(), own.begin(), own.end());
          }
          std::vector<std::int8_t> fast(w.size()), plain(w.size());
          std::vector<Alphabet> alphabets(groups);
          rounding.roundGroups(w.data(), groups, count, fast.data(), alphabets.data());
          for (std::size_t g = 0; g < groups; ++g) {
            const Alphabet b = rounding.roundReference(&w[g * count], count, &plain[g * count]).alphabet;
            CHECK((alphabets[g].step() == b.step() && alphabets[g].zeroPoint() == b.zeroPoint()));
            CHECK((alphabets[g].lowest() == b.lowest() && alphabets[g].highest() == b.highest()));
          }
          CHECK(fast == plain);
          if (!rounding.hasLanes(count)) continue;
          RoundedLanes some;
          rounding.roundLanes(w.data(), kGroupLanes, count, some);
          for (std::size_t g = 0; g < kGroupLanes; ++g) {
            const Alphabet a = Alphabet::withStep(kind, some.steps[g], some.zeroPoints[g]);
            double error = 0, signal = 0, off = 0;
            for (std::size_t i = g * count; i < (g + 1) * count; ++i) {
              const double value = w[i], rest = value - a.level(plain[i]);
              error += rest * rest;
              signal += value * value;
              off += rest == 0 ? 0 : 1;
            }
            CHECK_LE(std::abs(some.errors[g] - error), 1e-12 * error);
            CHECK_LE(std::abs(some.signals[g] - signal), 1e-12 * signal);
            CHECK(some.offAlphabet[g] == off);
            inLanes += some.isDone[g] != 0 ? 1 : 0;
            ++all;
          }
        }
  // Of these, made to make trouble, a good part.
  CHECK(inLanes > all / 3);
}

void stepsThatCannotBe() {
  std::mt19937_64 random(5);
  std::vector<float> w = weights(random, 6, 64);
  std::vector<std::int8_t> codes(64);
  PlainRounding half({Grid::Asymmetric, 16}, ScaleRule::Search, ScalePrecision::Float16);
  CHECK_THROWS_AS([&] { half.round(w.data(), w.size(), codes.data()); }(), Error);
  // The step is a number of the type, its levels are none.
  for (float& v : w) v = v > 0 ? 3.4e38F : -3.4e38F;
  PlainRounding brain({Grid::Asymmetric, 16}, ScaleRule::Search, ScalePrecision::BFloat16);
  CHECK_THROWS_AS([&] { brain.round(w.data(), w.size(), codes.data()); }(), Error);
  for (float& v : w) v = v > 0 ? 2.5e38F : -2.5e38F;
  brain.round(w.data(), w.size(), codes.data());
  for (float& v : w) v = v > 0 ? 3.4e38F : -3.4e38F;
  PlainRounding binary({Grid::ZeroFree, 2}, ScaleRule::Max, ScalePrecision::BFloat16);
  CHECK_THROWS_AS([&] { binary.round(w.data(), w.size(), codes.data()); }(), Error);
}

/** Near the ends of the types' ranges both ways agree: on levels that the type holds, or on refusing. */
void largestWeights() {
  std::vector<std::int8_t> fast(64), plain(64);
  int held = 0, refused = 0;
  for (const Kind& kind : kinds)
    for (const auto& [precision, most] : {std::pair{ScalePrecision::Float16, 65504.0F},
                                          {ScalePrecision::BFloat16, 0x1.fep127F},
                                          {ScalePrecision::Float32, std::numeric_limits<float>::max()}})
      for (const ScaleRule rule : {ScaleRule::Max, ScaleRule::Search})
        for (const float part : {1.0F, 0.9999F, 0.75F, 0.5F, 0.49999F, 0.3F, 0.25F}) {
          std::vector<float> w(64);
          for (std::size_t i = 0; i < w.size(); ++i) w[i] = part * (i % 3 == 0 ? most : -most / (i % 2 + 1.0F));
          const auto stepOf = [&](auto round) {
            PlainRounding rounding(kind, rule, precision);
            try {
              const Alphabet a = round(rounding).alphabet;
              CHECK(a.heldIn(precision));
              ++held;
              return a.step();
            } catch (const Error&) {
              ++refused;
              return 0.0;
            }
          };
          CHECK(stepOf([&](PlainRounding& r) { return r.round(w.data(), w.size(), fast.data()); }) ==
                stepOf([&](PlainRounding& r) { return r.roundReference(w.data(), w.size(), plain.data()); }));
          CHECK(fast == plain);
          if (kind.grid == Grid::Integer) CHECK(refused == 0);
        }
  CHECK((held > 0 && refused > 0));
}

void packing() {
  std::mt19937_64 random(6);
  for (int bits = 1; bits <= 8; ++bits)
    for (std::size_t count = 0; count < 70; ++count) {
      const int offset = 1 << (bits - 1);
      std::vector<std::int8_t> codes(count);
      for (auto& code : codes) code = static_cast<std::int8_t>(static_cast<int>(random() % (2u * offset)) - offset);
      const std::size_t bytes = 4 * wordsFor(count, bits);
      std::vector<unsigned char> packed(bytes + 2, 0xaa), expected(bytes);
      packCodes(codes.data(), count, bits, offset, packed.data() + 1);
      for (std::size_t i = 0; i < count * bits; ++i)
        if ((codes[i / bits] + offset) >> (i % bits) & 1) expected[i / 8] |= static_cast<unsigned char>(1 << (i % 8));
      CHECK((bytes == 0 || std::memcmp(packed.data() + 1, expected.data(), bytes) == 0));
      CHECK((packed[0] == 0xaa && packed[bytes + 1] == 0xaa));
    }
}

/** Values of the specification's own implementation. */
void checksums() {
  const auto of = [](const std::string& text) { return checksum(text.data(), text.size()); };
  CHECK(of("") == 0xef46db3751d8e999u);
  CHECK(of("a") == 0xd24ec4f1a98c6e5bu);
  CHECK(of("abc") == 0x44bc2cf5ad770999u);
  CHECK(of("Nobody inspects the spammish repetition") == 0xfbcea83c8a378bf1u);
}

}  // namespace

TEST_CASE("equal to the search") { equalToTheSearch(); }
TEST_CASE("lanes equal to the search") { lanesEqualToTheSearch(); }
TEST_CASE("steps that cannot be") { stepsThatCannotBe(); }
TEST_CASE("trust 21: largest weights") { largestWeights(); }
TEST_CASE("packing") { packing(); }
TEST_CASE("checksums") { checksums(); }
