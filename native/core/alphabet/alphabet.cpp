#include "alphabet/alphabet.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <string>

#include "error.h"

namespace vertexq {

namespace {

/** Bits of the smallest signed integer that holds the codes of an asymmetric alphabet. */
int bitsFor(int levels) {
  int bits = 1;
  while ((1 << bits) < levels) ++bits;
  return bits;
}

const char* nameOf(ScalePrecision precision) {
  switch (precision) {
    case ScalePrecision::Float16:
      return "float16";
    case ScalePrecision::BFloat16:
      return "bfloat16";
    case ScalePrecision::Float32:
      return "float32";
    case ScalePrecision::Float64:
      break;
  }
  return "float64";
}

/** A binary format: bits of its fractions, its least normal number and its least and its largest number. */
struct Format {
  int fractionBits;
  double leastNormal, least, largest;
};

constexpr Format kFormats[] = {
    {10, 0x1p-14, 0x1p-24, 65504},
    {7, 0x1p-126, 0x1p-133, 0x1.fep127},
    {23, 0x1p-126, 0x1p-149, std::numeric_limits<float>::max()},
    {52, 0x1p-1022, std::numeric_limits<double>::denorm_min(), std::numeric_limits<double>::max()},
};

const Format& formatOf(ScalePrecision precision) { return kFormats[static_cast<int>(precision)]; }

/** The bits of a float64 number, changed. */
template <typename Change>
double withBits(double value, Change change) {
  std::uint64_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  bits = change(bits);
  std::memcpy(&value, &bits, sizeof bits);
  return value;
}

/**
 * `step` rounded to the precision, and upwards until `covers` it: rounding must not push the largest weight out. Where that step or
 * reach(step), the largest magnitude of a level, is no number of the precision, the one below it, which clips by less than its last place.
 */
template <typename Covers, typename Reach>
double roundStep(double step, ScalePrecision precision, Covers covers, Reach reach) {
  // float32 and float64 may have rounded to above; the narrow ones begin below.
  double least = precision == ScalePrecision::Float64   ? step
                 : precision == ScalePrecision::Float32 ? static_cast<float>(step)
                                                        : roundedDown(step, precision);
  while (std::isfinite(least) && !covers(least)) least = nextUp(least, precision);
  const auto isHeld = [&](double s) { return std::isfinite(s) && std::isfinite(roundedTo(reach(s), precision)); };
  if (isHeld(least)) return least;
  const double below = nextDown(least, precision), unit = below - nextDown(below, precision);
  if (isHeld(below) && (std::isfinite(least) || step < below + unit)) return below;
  throw Error("ERR_VERTEXQ_SCALE_RANGE", std::string("the weights are too large: their quantization ") +
                                             (std::isfinite(least) ? "levels overflow " : "step overflows ") +
                                             nameOf(precision));
}

/** The largest number of the precision that is at most `value`, of either sign. */
double lower(double value, ScalePrecision precision) {
  if (!(value < 0)) return roundedDown(value, precision);
  const double size = roundedDown(-value, precision);
  return -(size == -value ? size : nextUp(size, precision));
}

/** The least step for which codes 0..top, shifted by the zero point, cover [low, high], low <= 0 <= high. */
double asymmetricStep(int zeroPoint, int top, double low, double high) {
  const double infinity = std::numeric_limits<double>::infinity();
  const double below = low == 0 ? 0 : zeroPoint == 0 ? infinity : -low / zeroPoint;
  const double above = high == 0 ? 0 : zeroPoint == top ? infinity : high / (top - zeroPoint);
  return std::max(below, above);
}

}  // namespace

double roundedDown(double value, ScalePrecision precision) {
  if (precision == ScalePrecision::Float64 || !(value > 0)) return value;
  const Format& format = formatOf(precision);
  if (value > format.largest) return std::numeric_limits<double>::infinity();
  if (value < format.leastNormal) return std::floor(value / format.least) * format.least;
  const std::uint64_t unit = std::uint64_t{1} << (52 - format.fractionBits);
  return withBits(value, [&](std::uint64_t bits) { return bits & ~(unit - 1); });
}

double nextUp(double value, ScalePrecision precision) {
  const Format& format = formatOf(precision);
  if (value >= format.largest) return std::numeric_limits<double>::infinity();
  if (value < format.leastNormal) return value + format.least;
  const std::uint64_t unit = std::uint64_t{1} << (52 - format.fractionBits);
  return withBits(value, [&](std::uint64_t bits) { return bits + unit; });
}

double nextDown(double value, ScalePrecision precision) {
  const Format& format = formatOf(precision);
  if (value > format.largest) return format.largest;
  if (value <= format.leastNormal) return std::max(value - format.least, 0.0);
  const std::uint64_t unit = std::uint64_t{1} << (52 - format.fractionBits);
  return withBits(value, [&](std::uint64_t bits) { return bits - unit; });
}

double roundedTo(double value, ScalePrecision precision) {
  if (precision == ScalePrecision::Float64 || value == 0 || !std::isfinite(value)) return value;
  const double size = std::abs(value);
  if (precision == ScalePrecision::Float32) return static_cast<double>(static_cast<float>(value));
  const Format& format = formatOf(precision);
  // A scale of the last place; dividing by a power of two is exact, and nearbyint rounds ties to even.
  const int exponent = std::max(std::ilogb(size), std::ilogb(format.leastNormal)) - format.fractionBits;
  const double rounded = std::ldexp(std::nearbyint(std::ldexp(size, -exponent)), exponent);
  return std::copysign(rounded > format.largest ? std::numeric_limits<double>::infinity() : rounded, value);
}

double nearestStep(double value, ScalePrecision precision) {
  const Format& format = formatOf(precision);
  return roundedTo(std::clamp(value, format.least, format.largest), precision);
}

bool hasAlphabet(const GridKind& kind) {
  const int levels = kind.levels;
  if (levels < 2 || levels > 256) return false;
  switch (kind.grid) {
    case Grid::Integer:
      return levels % 2 == 1;
    case Grid::ZeroFree:
      return levels % 2 == 0;
    case Grid::Asymmetric:  // with two levels it could not cover both signs
      return levels > 2;
    case Grid::FullRange:
      return levels > 2 && levels % 2 == 0;
    case Grid::Minimum:
      return levels <= kMostCounted;
    case Grid::Table: {
      if (!kind.table || levels > kMostCounted || kind.table->size() != static_cast<std::size_t>(levels)) return false;
      const LevelTable& table = *kind.table;
      return std::all_of(table.begin(), table.end(), [](float level) { return std::isfinite(level); }) &&
             std::adjacent_find(table.begin(), table.end(), std::greater_equal<>()) == table.end() &&
             table.front() < 0 && table.back() > 0;
    }
  }
  return false;
}

Alphabet Alphabet::covering(const GridKind& kind, double low, double high, ScalePrecision precision) {
  const auto& [grid, levels, givenTable, eitherSign, mirrored] = kind;
  Alphabet a;
  const LevelTable* table = givenTable;
  const double bound = std::max(std::abs(low), std::abs(high));
  a.setCodes(kind);
  if (eitherSign) {
    const double below = table ? -table->front() : levels / 2.0, above = table ? table->back() : levels / 2.0 - 1;
    if (std::max(-low / above, high / below) < std::max(-low / below, high / above)) {
      a.mirror(kind);
      table = mirrored;
    }
  }
  if (grid == Grid::Minimum) {
    a.minimum_ = lower(low, precision);
    const double top = levels - 1, width = high - a.minimum_;
    a.step_ = roundStep(
        std::isfinite(width) ? width / top : high / top - a.minimum_ / top, precision,
        [&](double s) { return top * s + a.minimum_ >= high; },
        [&](double s) { return std::max(std::abs(a.minimum_), std::abs(top * s + a.minimum_)); });
    a.setEnds();
    return a;
  }
  if (grid == Grid::Table) {
    const double below = table->front(), above = table->back();
    a.step_ = roundStep(
        std::max({low / below, high / above, 0.0}), precision,
        [&](double s) { return below * s <= low && above * s >= high; },
        [&](double s) { return std::max(-below, above) * s; });
    a.setEnds();
    return a;
  }
  if (grid == Grid::Asymmetric || grid == Grid::FullRange) {
    low = std::min(low, 0.0);
    high = std::max(high, 0.0);
    const int top = levels - 1;
    // The distance of two finite numbers may be infinite; that of their halves is not.
    const double half = std::isfinite(high - low) ? 1 : 0.5;
    const double ideal = high == low ? 0 : top * (-low * half / (high * half - low * half));
    // With next to nothing above 0, `ideal` rounds to the top, from where no step reaches `high`.
    const int down = clampedWhole(ideal, 0, top - 1);
    const int up = down + 1;
    const int best = asymmetricStep(down, top, low, high) <= asymmetricStep(up, top, low, high) ? down : up;
    const int zero = grid == Grid::FullRange ? -a.minCode_ + (a.mirrored_ ? -1 : 0) : best;
    a.step_ = roundStep(
        asymmetricStep(zero, top, low, high), precision,
        [&](double s) { return -zero * s <= low && (top - zero) * s >= high; },
        [&](double s) { return std::max(zero, top - zero) * s; });
    a.zeroPoint_ = a.minCode_ + zero;
    a.lowest_ = -zero * a.step_;
    a.highest_ = (top - zero) * a.step_;
    return a;
  }
  const double top = a.maxCode_ - a.zeroPoint_;
  const auto reach = [&](double s) { return precision == ScalePrecision::Float64 ? bound : top * s; };
  a.step_ = roundStep(
      bound / top, precision, [&](double s) { return top * s >= bound; }, reach);
  a.highest_ = reach(a.step_);
  a.lowest_ = -a.highest_;
  return a;
}

Alphabet Alphabet::scaledBy(int exponent) const {
  Alphabet a = *this;
  a.step_ = std::ldexp(a.step_, exponent);
  a.minimum_ = std::ldexp(a.minimum_, exponent);
  a.lowest_ = std::ldexp(a.lowest_, exponent);
  a.highest_ = std::ldexp(a.highest_, exponent);
  return a;
}

bool Alphabet::heldIn(ScalePrecision precision) const {
  return std::isfinite(roundedTo(lowest_, precision)) && std::isfinite(roundedTo(highest_, precision));
}

Alphabet Alphabet::withStep(const GridKind& kind, double step, double zero, ScalePrecision precision) {
  Alphabet a;
  a.setCodes(kind);
  if (kind.grid == Grid::Asymmetric) a.zeroPoint_ = clampedWhole(std::floor(zero), a.minCode_, a.maxCode_);
  if (kind.grid == Grid::Minimum) a.minimum_ = roundedTo(-zero * step, precision);
  if (kind.eitherSign && zero < -0.5) a.mirror(kind);
  a.step_ = step;
  a.setEnds();
  return a;
}

Alphabet Alphabet::of(const GridKind& kind, double step, double minimum) {
  Alphabet a;
  a.setCodes(kind);
  if (step < 0) a.mirror(kind);
  a.step_ = std::abs(step);
  a.minimum_ = minimum;
  a.setEnds();
  return a;
}

/** The levels of a negative step. */
void Alphabet::mirror(const GridKind& kind) {
  mirrored_ = true;
  zeroPoint_ = -1;
  if (kind.mirrored) table_ = kind.mirrored->data();
}

/** The ends, and the zero point where the minimum tells it. */
void Alphabet::setEnds() {
  if (table_) {
    lowest_ = table_[minCode_] * step_;
    highest_ = table_[maxCode_] * step_;
  } else if (minimum_ != 0) {
    zeroPoint_ = step_ > 0 ? -minimum_ / step_ : 0;
    lowest_ = minimum_;
    highest_ = maxCode_ * step_ + minimum_;
  } else {
    lowest_ = (minCode_ - zeroPoint_) * step_;
    highest_ = (maxCode_ - zeroPoint_) * step_;
  }
}

/** The codes of the kind, and its zero point where it has no choice. */
void Alphabet::setCodes(const GridKind& kind) {
  const int levels = kind.levels;
  switch (kind.grid) {
    case Grid::Asymmetric:
      // Codes are kept as signed bytes, whatever the alphabet: the middle of the container is code 0.
      minCode_ = -(1 << (bitsFor(levels) - 1));
      maxCode_ = minCode_ + levels - 1;
      return;
    case Grid::ZeroFree:
      zeroPoint_ = -0.5;
      maxCode_ = levels / 2 - 1;
      minCode_ = -levels / 2;
      return;
    case Grid::FullRange:
      maxCode_ = levels / 2 - 1;
      minCode_ = -levels / 2;
      return;
    case Grid::Integer:
      maxCode_ = (levels - 1) / 2;
      minCode_ = -maxCode_;
      return;
    case Grid::Table:
      table_ = kind.table->data();
      [[fallthrough]];
    case Grid::Minimum:
      maxCode_ = levels - 1;
  }
}

int Alphabet::below(double value) const {
  if (!(step_ > 0)) return std::clamp(0, minCode_, maxCode_);
  if (table_) {
    int least = minCode_, most = maxCode_;  // level(least) <= value where any is, and level(most + 1) > value
    while (least < most) {
      const int middle = (least + most + 1) / 2;
      if (level(middle) <= value)
        least = middle;
      else
        most = middle - 1;
    }
    return least;
  }
  int code = clampedWhole(std::floor(value / step_ + zeroPoint_), minCode_, maxCode_);
  // The quotient may be off by a rounding; the levels themselves decide.
  while (code > minCode_ && level(code) > value) --code;
  while (code < maxCode_ && level(code + 1) <= value) ++code;
  return code;
}

int Alphabet::nearest(double value) const {
  const int code = below(value);
  if (code == maxCode_ || !(step_ > 0)) return code;
  return std::abs(level(code + 1) - value) < std::abs(value - level(code)) ? code + 1 : code;
}

Alphabet::Cell Alphabet::cell(double value) const {
  const int code = below(value);
  const double low = level(code);
  if (low >= value || code == maxCode_) return {low, low};
  return {low, level(code + 1)};
}

bool Alphabet::contains(double value) const { return level(below(value)) == value; }

}  // namespace vertexq
