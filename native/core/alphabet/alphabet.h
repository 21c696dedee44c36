// Finite alphabets: the values a quantized weight may take.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace vertexq {

enum class Grid {
  Integer,     // {-K, ..., K}·step: symmetric, odd number of levels, holds 0
  Asymmetric,  // {0, ..., L-1} - z, times step, z an integer: covers [min(w, 0), max(w, 0)]
  ZeroFree,    // {±1/2, ±3/2, ...}·step: symmetric, even number of levels
  FullRange,   // {-L/2, ..., L/2 - 1}·step: all codes of a signed integer, even number of levels, holds 0
  Minimum,     // {0, ..., L-1}·step + m, m any number of the steps' precision: covers [min(w), max(w)], 0 or not
  Table,       // levels of one's own, times step
};

/** Levels in units of the step, rising, on both sides of 0. */
using LevelTable = std::vector<float>;

/** A grid of so many levels; `table`, which must outlive all alphabets of it, for Table alone. */
struct GridKind {
  Grid grid = Grid::ZeroFree;
  int levels = 16;
  const LevelTable* table = nullptr;
  /** Of FullRange and Table: steps may be negative, which are levels that are mirrored at 0. Of Table with the mirrored levels, rising. */
  bool eitherSign = false;
  const LevelTable* mirrored = nullptr;
};

/** Most levels of the grids whose codes are counted from 0: codes are kept as signed bytes. */
inline constexpr int kMostCounted = 128;

/** Whether there is an alphabet of the kind. */
bool hasAlphabet(const GridKind& kind);

/**
 * The precision in which the step is kept: that of the output's scales, float32 unless its format says otherwise; the paper's
 * step alone stays in float64.
 */
enum class ScalePrecision { Float16, BFloat16, Float32, Float64 };

/** The largest number of the precision that is at most `value` > 0; 0 below the least one, infinity above the largest. */
double roundedDown(double value, ScalePrecision precision);
/** The next larger one after `value`, a number of the precision, >= 0. */
double nextUp(double value, ScalePrecision precision);
/** The next smaller one before `value`, a number of the precision or infinite, > 0. */
double nextDown(double value, ScalePrecision precision);
/** The number of the precision nearest to `value`, of either sign; infinite beyond the largest by half a step or more. */
double roundedTo(double value, ScalePrecision precision);
/** The positive number of the precision nearest to `value` > 0: neither 0 nor infinite. */
double nearestStep(double value, ScalePrecision precision);

/** The whole part of a number within [least, most]; `least` of a NaN, which converted to an integer would be undefined. */
inline int clampedWhole(double value, int least, int most) {
  if (!(value > least)) return least;
  return value >= most ? most : static_cast<int>(value);
}

/**
 * An alphabet of levels for minCode <= code <= maxCode, evenly spaced, value = (code - zeroPoint)·step, or a table's, value =
 * table[code]·step. Of Minimum value = code·step + minimum, where zeroPoint is what puts that into the first form, but for a rounding.
 */
class Alphabet {
 public:
  /**
   * The smallest alphabet of the kind that covers [low, high] (the least and greatest of some weights), by a common
   * bound c = max(|low|, |high|) for the symmetric kinds, where with ScalePrecision::Float64 ±c are levels bit for bit.
   * `kind`: hasAlphabet. Where its step or a level were no finite numbers
   * of the precision, the step is the next smaller one, which clips by less than its last place. Throws ERR_VERTEXQ_SCALE_RANGE if
   * that does not help.
   */
  static Alphabet covering(const GridKind& kind, double low, double high, ScalePrecision precision);

  /**
   * The alphabet of the kind with this step (>= 0, finite) and, for Asymmetric, the code `zero` of the level 0, one of
   * its own codes: of n bits -2^(n-1) and up. For Minimum `zero` may be anything, and the minimum is -zero·step rounded to
   * `precision`. With eitherSign `zero` < -1/2 asks for the mirrored levels. The other kinds ignore it. For a float32 step every level is the exact product (of Minimum: and the sum), and
   * withStep(kind, a.step(), a.zeroPoint(), Float32) is `a` for each `a` that covers something with ScalePrecision::Float32.
   */
  static Alphabet withStep(const GridKind& kind, double step, double zero,
                           ScalePrecision precision = ScalePrecision::Float64);

  /** The alphabet with this step, with eitherSign of either sign, and of Minimum with this minimum, as they are. */
  static Alphabet of(const GridKind& kind, double step, double minimum);

  /** The alphabet of the same codes whose levels are 2^exponent times these: exact, but for levels that become denormal. */
  Alphabet scaledBy(int exponent) const;

  /** The zero point for a step of `factor` times this one: the same but of Minimum, whose middle stays. */
  double zeroAt(double factor) const {
    if (minimum_ == 0) return zeroPoint_;
    const double middle = maxCode_ / 2.0;
    return middle - (middle - zeroPoint_) / factor;
  }

  /** Whether every level, rounded to the precision, is finite. */
  bool heldIn(ScalePrecision precision) const;

  double step() const { return step_; }
  /** With eitherSign, Table too, -1 of the mirrored levels. */
  double zeroPoint() const { return zeroPoint_; }
  /** Whether its levels are those of a negative step, whose codes are counted from the other end: minCode() + maxCode() - code. */
  bool isMirrored() const { return mirrored_; }
  /** Of Minimum; 0 of all others. */
  double minimum() const { return minimum_; }
  /** The levels in units of the step; null where they are evenly spaced. */
  const float* table() const { return table_; }
  double lowest() const { return lowest_; }
  double highest() const { return highest_; }
  int minCode() const { return minCode_; }
  int maxCode() const { return maxCode_; }

  double level(int code) const {
    if (code == minCode_) return lowest_;
    if (code == maxCode_) return highest_;
    if (table_) return table_[code] * step_;
    return minimum_ == 0 ? (code - zeroPoint_) * step_ : code * step_ + minimum_;
  }

  /** The code with the nearest level; of two equally near ones the lower. */
  int nearest(double value) const;

  /** The two neighbouring levels low <= value <= high; equal where value is a level or lies outside the alphabet. */
  struct Cell {
    double low, high;
  };
  Cell cell(double value) const;

  bool contains(double value) const;

 private:
  int below(double value) const;
  void setCodes(const GridKind& kind);
  void mirror(const GridKind& kind);
  void setEnds();

  double step_ = 0;
  double zeroPoint_ = 0;
  double minimum_ = 0;
  const float* table_ = nullptr;
  bool mirrored_ = false;
  int minCode_ = 0;
  int maxCode_ = 0;
  double lowest_ = 0;
  double highest_ = 0;
};

}  // namespace vertexq
