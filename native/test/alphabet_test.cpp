// Alphabets: what they cover, and rounding against a search of all levels.
#include "alphabet/alphabet.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "alphabet/scale_search.h"
#include "error.h"
#include "test_data.h"

using namespace vertexq;

namespace {

using Kind = GridKind;

const Kind kinds[] = {{Grid::Integer, 3},
                      {Grid::Integer, 7},
                      {Grid::Integer, 15},
                      {Grid::Integer, 255},
                      {Grid::Asymmetric, 3},
                      {Grid::Asymmetric, 4},
                      {Grid::Asymmetric, 5},
                      {Grid::Asymmetric, 16},
                      {Grid::Asymmetric, 256},
                      {Grid::ZeroFree, 2},
                      {Grid::ZeroFree, 4},
                      {Grid::ZeroFree, 8},
                      {Grid::ZeroFree, 256},
                      {Grid::FullRange, 4},
                      {Grid::FullRange, 6},
                      {Grid::FullRange, 16},
                      {Grid::FullRange, 256},
                      {Grid::Minimum, 2},
                      {Grid::Minimum, 5},
                      {Grid::Minimum, 16},
                      {Grid::Minimum, 128},
                      {Grid::Table, 16, &testing::kUnevenTable},
                      {Grid::Table, 5, &testing::kLopsidedTable}};

/** The widest distance of two levels, in steps. */
double widest(const Kind& kind) {
  double most = kind.table ? 0 : 1;
  for (std::size_t i = 1; kind.table && i < kind.table->size(); ++i)
    most = std::max<double>(most, (*kind.table)[i] - (*kind.table)[i - 1]);
  return most;
}

void rangesAndRounding() {
  std::mt19937_64 random(1);
  std::normal_distribution<double> normal;
  for (const Kind& kind : kinds)
    for (int trial = 0; trial < 200; ++trial) {
      const double scale = std::pow(10.0, trial % 13 - 6);
      const double a = scale * normal(random), b = scale * normal(random);
      const double low = std::min(a, b), high = std::max(a, b);
      for (const ScalePrecision precision : {ScalePrecision::Float32, ScalePrecision::Float64}) {
        const Alphabet alphabet = Alphabet::covering(kind, low, high, precision);
        CHECK((alphabet.lowest() <= low && alphabet.highest() >= high));
        if (precision == ScalePrecision::Float64 && (kind.grid == Grid::Integer || kind.grid == Grid::ZeroFree))
          CHECK((alphabet.highest() == std::max(std::abs(low), std::abs(high)) &&
                 alphabet.lowest() == -alphabet.highest()));
        if (precision == ScalePrecision::Float32)
          CHECK(static_cast<double>(static_cast<float>(alphabet.step())) == alphabet.step());
        // Every value in range lies in a cell one step wide, and no level is nearer than the nearest.
        for (double value :
             {low, high, 0.3 * low + 0.7 * high, 0.5 * (low + high), alphabet.level(alphabet.nearest(low))}) {
          const Alphabet::Cell cell = alphabet.cell(value);
          CHECK((cell.low <= value && value <= cell.high));
          CHECK((alphabet.contains(cell.low) && alphabet.contains(cell.high)));
          CHECK_LE(cell.high - cell.low, widest(kind) * alphabet.step() * (1 + 1e-12) + 1e-12 * std::abs(value));
          const double nearest = alphabet.level(alphabet.nearest(value));
          CHECK(alphabet.contains(nearest));
          CHECK_LE(std::abs(nearest - value), std::min(value - cell.low, cell.high - value));
          // The definition: no level is nearer, of two the lower.
          int least = alphabet.minCode();
          for (int code = least; code <= alphabet.maxCode(); ++code)
            if (std::abs(alphabet.level(code) - value) < std::abs(alphabet.level(least) - value)) least = code;
          CHECK(alphabet.nearest(value) == least);
        }
      }
    }
}

void codesFitSignedBytes() {
  for (const Kind& kind : kinds) {
    const Alphabet a = Alphabet::covering(kind, -1, 2, ScalePrecision::Float32);
    const int least = a.nearest(-1e9), most = a.nearest(1e9);
    CHECK(most - least == kind.levels - 1);
    CHECK((least >= -128 && most <= 127));
    CHECK((kind.grid != Grid::ZeroFree || a.zeroPoint() == -0.5));
    CHECK((kind.grid != Grid::Integer || a.zeroPoint() == 0));
    CHECK((kind.grid != Grid::FullRange || (a.zeroPoint() == 0 && least == -kind.levels / 2)));
    CHECK((kind.grid != Grid::Asymmetric || (a.zeroPoint() == std::floor(a.zeroPoint()) && a.contains(0))));
  }
}

void extremes() {
  for (const Kind& kind : kinds)
    for (const ScalePrecision precision : {ScalePrecision::Float32, ScalePrecision::Float64}) {
      const Alphabet zero = Alphabet::covering(kind, 0, 0, precision);
      CHECK((zero.level(zero.nearest(0)) == 0 && zero.contains(0) && zero.step() == 0));
      const double tiny = precision == ScalePrecision::Float32 ? std::numeric_limits<float>::denorm_min()
                                                               : std::numeric_limits<double>::denorm_min();
      const Alphabet denormal = Alphabet::covering(kind, -tiny, tiny, precision);
      CHECK((denormal.step() > 0 && denormal.lowest() <= -tiny && denormal.highest() >= tiny));
      CHECK((denormal.cell(tiny).low <= tiny && denormal.cell(tiny).high >= tiny));
      for (const double much : {1.0, 1e-8, 1e30})
        for (const bool up : {false, true}) {
          const double low = up ? -tiny : -much, high = up ? much : tiny;
          const Alphabet lopsided = Alphabet::covering(kind, low, high, precision);
          CHECK((lopsided.lowest() <= low && lopsided.highest() >= high));
          CHECK_LE(lopsided.step(), (kind.table == &testing::kLopsidedTable ? 3 : 2.001) * much);
        }
    }
  // A minimum far from 0, in steps: all levels are where they belong, and what lies on them is known.
  for (const ScalePrecision precision : {ScalePrecision::Float16, ScalePrecision::Float32, ScalePrecision::Float64})
    for (const double far : {-3e4, 1e-3, 3e4, 1.0}) {
      const Alphabet a = Alphabet::covering({Grid::Minimum, 16}, far, far + 1e-6, precision);
      CHECK((a.lowest() == roundedTo(a.lowest(), precision) && a.minimum() == a.lowest()));
      CHECK((a.lowest() <= far && a.highest() >= far + 1e-6));
      for (int code = 0; code < 16; ++code) CHECK((a.level(code) == code * a.step() + a.minimum()));
      const Alphabet one = Alphabet::covering({Grid::Minimum, 16}, far, far, ScalePrecision::Float64);
      CHECK((one.step() == 0 && one.level(one.nearest(far)) == far && one.contains(far)));
    }
  CHECK_THROWS_AS([] { Alphabet::covering({Grid::Minimum, 4}, -1e5, 1, ScalePrecision::Float16); }(), Error);
  CHECK_THROWS_AS([] { Alphabet::covering({Grid::Minimum, 4}, 1e5, 2e5, ScalePrecision::Float16); }(), Error);
  CHECK_THROWS_AS(
      [] {
        Alphabet::covering({Grid::Table, 5, &testing::kLopsidedTable}, -1, 3e38, ScalePrecision::Float16);
      }(),
      Error);
  const LevelTable falling = {1, -1}, twice = {-1, -1, 1}, above = {0, 1}, infinite = {-1, INFINITY};
  for (const LevelTable* table : {&falling, &twice, &above, &infinite})
    CHECK(!hasAlphabet({Grid::Table, static_cast<int>(table->size()), table}));
  CHECK((!hasAlphabet({Grid::Table, 4, &testing::kLopsidedTable}) && !hasAlphabet({Grid::Table, 5}) &&
         !hasAlphabet({Grid::Minimum, 129}) && !hasAlphabet({Grid::Minimum, 1})));
  for (const Kind& kind : kinds) CHECK(hasAlphabet(kind));
  CHECK_THROWS_AS([] { Alphabet::covering({Grid::ZeroFree, 2}, 0, 3e38, ScalePrecision::Float32); }(), Error);
  CHECK_NOTHROW([] { Alphabet::covering({Grid::ZeroFree, 4}, -3.4e38, 3.4e38, ScalePrecision::Float32); }());
}

void searchedScalesRoundBetter() {
  std::mt19937_64 random(2);
  const std::vector<double> w = testing::normals(random, 256);
  const auto error = [&](const Alphabet& a) {
    double sum = 0;
    for (double v : w) sum += std::pow(v - a.level(a.nearest(v)), 2);
    return sum;
  };
  for (const Kind& kind : kinds) {
    const double plain = error(coveringAlphabet(kind, w.data(), w.size(), ScalePrecision::Float32));
    const double searched = error(searchAlphabet(kind, w.data(), nullptr, w.size()));
    CHECK_LE(searched, plain);
    if (kind.levels <= 4) CHECK_LE(searched, 0.75 * plain);
  }
  // By definition: the best of all steps and minima of a fine net is hardly better than what is found.
  const LevelTable few = {-2, -0.5F, 0.25F, 1};
  for (const Kind& kind : {Kind{Grid::Minimum, 4}, Kind{Grid::Table, 4, &few}}) {
    double best = 1e9;
    for (double step = 0.2; step < 3; step *= 1.01)
      for (double zero = 0; zero < (kind.table ? 0.01 : 3); zero += 0.05)
        best = std::min(best, error(Alphabet::withStep(kind, step, zero)));
    CHECK_LE(error(searchAlphabet(kind, w.data(), nullptr, w.size())), 1.03 * best);
  }
}

void roundsToNarrowNumbers() {
  // Every float16 and bfloat16, the middles between neighbours, and a little on either side of those.
  for (const ScalePrecision precision : {ScalePrecision::Float16, ScalePrecision::BFloat16}) {
    int odd = 1;  // of the least number's last bit
    for (double value = nextUp(0, precision); std::isfinite(nextUp(value, precision));) {
      const double next = nextUp(value, precision), middle = value + (next - value) / 2;
      CHECK((roundedTo(value, precision) == value && roundedTo(-value, precision) == -value));
      CHECK(roundedTo(std::nextafter(middle, 0), precision) == value);
      CHECK(roundedTo(std::nextafter(middle, next), precision) == next);
      CHECK(roundedTo(middle, precision) == (odd ? next : value));
      odd ^= 1;
      value = next;
    }
    CHECK((std::isinf(roundedTo(1e39, precision)) && roundedTo(0, precision) == 0));
    CHECK(nearestStep(1e-300, precision) == nextUp(0, precision));
    CHECK(std::isfinite(nearestStep(1e300, precision)));
  }
  CHECK((roundedTo(65519, ScalePrecision::Float16) == 65504 && std::isinf(roundedTo(65520, ScalePrecision::Float16))));
  CHECK((roundedTo(0.1, ScalePrecision::Float32) == static_cast<double>(0.1F) &&
         roundedTo(0.1, ScalePrecision::Float64) == 0.1));
}

/** No number is converted to an integer that has none: NaN and infinities end at an end of the codes, at once. */
void withoutNumbers() {
  const double infinity = std::numeric_limits<double>::infinity(), nan = std::nan("");
  for (const Kind& kind : kinds)
    for (const double step : {0.0, 5e-324, 1.0, 1e308, infinity, nan}) {
      const Alphabet a = Alphabet::withStep(kind, step, kind.grid == Grid::Minimum ? 0.7 : 0);
      for (const double value : {0.0, 5e-324, -1.0, 1e308, infinity, -infinity, nan}) {
        const int code = a.nearest(value);
        CHECK((code >= a.minCode() && code <= a.maxCode()));
        a.cell(value);
        a.contains(value);
      }
    }
  CHECK((clampedWhole(nan, -3, 4) == -3 && clampedWhole(infinity, -3, 4) == 4 && clampedWhole(-1e300, -3, 4) == -3));
  CHECK((clampedWhole(2.9, -3, 4) == 2 && clampedWhole(1e300, -3, 4) == 4));
}

/** Weights up to the largest number that its grid can reach have levels, whatever the last place of their step. */
void largestWeights() {
  for (const auto& [precision, most] : {std::pair{ScalePrecision::Float16, 65504.0},
                                        {ScalePrecision::BFloat16, 0x1.fep127},
                                        {ScalePrecision::Float32, 0x1.fffffep127},
                                        {ScalePrecision::Float64, std::numeric_limits<double>::max()}}) {
    const double unit = most - nextDown(most, precision);
    CHECK((nextDown(nextUp(1, precision), precision) == 1 && nextUp(nextDown(1, precision), precision) == 1));
    CHECK((nextDown(nextUp(0, precision), precision) == 0));
    CHECK(nextDown(std::numeric_limits<double>::infinity(), precision) == most);
    for (int levels = 2; levels <= 256; ++levels)
      for (const Grid grid : {Grid::Integer, Grid::Asymmetric, Grid::ZeroFree, Grid::FullRange}) {
        if (!hasAlphabet({grid, levels})) continue;
        const Alphabet any = Alphabet::withStep({grid, levels}, 1, 0);
        // What lies as far out as the levels do: weights on both sides, on one, and a large one beside a small one.
        const double highest = grid == Grid::Asymmetric
                                   ? most
                                   : most * std::min(std::min(1.0, any.highest()), any.highest() / -any.lowest());
        const double lowest = std::max(-most, any.lowest() * most);
        for (const auto& [low, high] : {std::pair{lowest, highest}, {-highest, 0.0}, {0.0, highest}}) {
          if (grid == Grid::Asymmetric && low < 0 && high > 0) continue;
          const Alphabet a = Alphabet::covering({grid, levels}, low, high, precision);
          CHECK((std::isfinite(a.step()) && a.step() == roundedTo(a.step(), precision) && a.heldIn(precision)));
          CHECK_LE(std::max(high - a.highest(), a.lowest() - low), 2 * unit);
        }
      }
    // A step that is too large by more than its last place is none.
    const double beyond = most / 2 + unit;
    CHECK_THROWS_AS(Alphabet::covering({Grid::ZeroFree, 2}, -beyond, beyond, precision), Error);
    CHECK_THROWS_AS(Alphabet::covering({Grid::Integer, 3}, -most - 1.5 * unit, 0, precision), Error);
  }
}

/** Levels, not steps alone, are numbers of the precision. */
void heldLevels() {
  const double most = std::numeric_limits<float>::max();
  for (const Grid grid : {Grid::Integer, Grid::Asymmetric, Grid::ZeroFree, Grid::FullRange})
    for (const int bits : {2, 4, 8})
      for (double bound = most / 1.2; bound < 3 * most; bound *= 1.003) {
        const int levels = (1 << bits) - (grid == Grid::Integer ? 1 : 0);
        try {
          const Alphabet a = Alphabet::covering({grid, levels}, -bound, bound / 2, ScalePrecision::Float32);
          for (int code = a.minCode(); code <= a.maxCode(); ++code)
            CHECK(std::isfinite(static_cast<float>(a.level(code))));
        } catch (const Error& error) {
          CHECK((error.code() == "ERR_VERTEXQ_SCALE_RANGE" && bound > most / 1.2));
        }
      }
  // All of float64's range in one alphabet.
  const double whole = std::numeric_limits<double>::max();
  try {
    const Alphabet all = Alphabet::covering({Grid::Asymmetric, 16}, -whole, whole, ScalePrecision::Float64);
    CHECK(all.heldIn(ScalePrecision::Float64));
  } catch (const Error& error) {
    CHECK(error.code() == "ERR_VERTEXQ_SCALE_RANGE");
  }
  const Alphabet a = Alphabet::withStep({Grid::Asymmetric, 16}, 0.75, 3);
  CHECK((a.scaledBy(1000).scaledBy(-1000).level(5) == a.level(5) && a.scaledBy(1).step() == 1.5));
}

}  // namespace

TEST_CASE("without numbers") { withoutNumbers(); }
TEST_CASE("trust 21: largest weights") { largestWeights(); }
TEST_CASE("held levels") { heldLevels(); }
TEST_CASE("ranges and rounding") { rangesAndRounding(); }
TEST_CASE("codes fit signed bytes") { codesFitSignedBytes(); }
TEST_CASE("extremes") { extremes(); }
TEST_CASE("searched scales round better") { searchedScalesRoundBetter(); }
TEST_CASE("rounds to narrow numbers") { roundsToNarrowNumbers(); }
