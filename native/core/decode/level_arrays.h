// Alphabets as arrays, so that many values are rounded at once.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include "alphabet/alphabet.h"
#include "linalg/simd.h"

namespace vertexq {

/** How near to the middle between two levels, in steps, a rounding by arithmetic in Real is not trusted. */
template <typename Real>
inline constexpr Real kTieMargin = Real(0x1p-40);
/** Values are up to 255 steps from zero and take three roundings: 255·3·2⁻²⁴ = 4.6e-5 < 2⁻¹³. */
template <>
inline constexpr float kTieMargin<float> = 0x1p-13F;

/** How far from 0 a minimum may be, in steps, where its alphabet's places are computed in Real: as above. */
inline constexpr double kFarMinimum = 512;
inline constexpr double kMostOffset = 1e30;

/**
 * One alphabet a lane. With t = clamp(value, low, high)·inverse - offset, the distance from the lowest level in steps,
 * the place of the nearest level is k = round(t), its code base + k and its value clamp((k + offset)·step, low, high):
 * the ends of an alphabet are exact, whatever its step (alphabet.h). Of Grid::Minimum the value may be some
 * roundings away from the level as Alphabet has it. Places of a table are Alphabet::nearest's to find.
 */
template <typename Real>
class LevelArrays {
 public:
  /** `isRough`: of two levels that are nearly as near either will do. */
  explicit LevelArrays(std::size_t lanes, bool isRough = false)
      : lanes_(lanes), isRough_(isRough), data_(kFields * lanes) {}

  std::size_t lanes() const { return lanes_; }

  void set(std::size_t lane, const Alphabet& alphabet) { set(lane, 1, alphabet); }

  /** The same alphabet for `count` lanes from `first`. */
  void set(std::size_t first, std::size_t count, const Alphabet& alphabet) {
    const bool degenerate = !(alphabet.step() > 0);
    const int base = alphabet.nearest(alphabet.lowest());
    const Real step = static_cast<Real>(alphabet.step());
    const Real inverse = static_cast<Real>(1 / alphabet.step());
    // Where the step or its inverse leaves the normal numbers of Real, NaN sends every value to Alphabet::nearest.
    const bool isFar = !isRough_ && alphabet.minimum() != 0 && std::abs(alphabet.zeroPoint()) > kFarMinimum;
    const bool regular = std::isnormal(step) && std::isnormal(inverse) && !alphabet.table() && !isFar;
    const auto put = [&](std::size_t f, Real value) { std::fill_n(&data_[f * lanes_ + first], count, value); };
    put(kInverse, degenerate ? 0 : regular ? inverse : std::numeric_limits<Real>::quiet_NaN());
    const bool hasNoScan = alphabet.table() && !std::isnormal(step);
    // Of a mirrored table that of the table as it was: one table does for all lanes (coordinate_descent.cpp).
    const Real signedStep = alphabet.table() && alphabet.isMirrored() ? -step : step;
    put(kStep, degenerate ? 0 : hasNoScan ? std::numeric_limits<Real>::quiet_NaN() : signedStep);
    // A minimum may be more steps away than float32 has numbers for.
    const double offset = std::clamp(base - alphabet.zeroPoint(), -kMostOffset, kMostOffset);
    put(kOffset, degenerate ? 0 : static_cast<Real>(offset));
    put(kLow, static_cast<Real>(alphabet.lowest()));
    put(kHigh, static_cast<Real>(alphabet.highest()));
    put(kBase, static_cast<Real>(base));
  }

  /** The one level 0, for lanes that stand for nothing. */
  void clear(std::size_t lane) {
    for (std::size_t f = 0; f < kFields; ++f) data_[f * lanes_ + lane] = 0;
  }

  const Real* inverse() const { return field(kInverse); }
  const Real* step() const { return field(kStep); }
  const Real* offset() const { return field(kOffset); }
  const Real* low() const { return field(kLow); }
  const Real* high() const { return field(kHigh); }
  const Real* base() const { return field(kBase); }

 private:
  static constexpr std::size_t kInverse = 0, kStep = 1, kOffset = 2, kLow = 3, kHigh = 4, kBase = 5;
  static constexpr std::size_t kFields = 6;

  const Real* field(std::size_t f) const { return data_.data() + f * lanes_; }

  std::size_t lanes_;
  bool isRough_;
  std::vector<Real> data_;
};

/** The nearest integer to t, |t| < 2²², without a library call that would keep a loop from being vectorised. */
VERTEXQ_INLINE float nearestInteger(float t) { return (t + 0x1.8p23F) - 0x1.8p23F; }
VERTEXQ_INLINE double nearestInteger(double t) { return (t + 0x1.8p52) - 0x1.8p52; }

/** An integer as wide as Real, so that flags fill a vector as the numbers do. */
template <typename Real>
using FlagOf = std::conditional_t<sizeof(Real) == sizeof(std::int32_t), std::int32_t, std::int64_t>;

/** `value`, or the end of [low, high] that it lies beyond; NaN stays NaN. */
template <typename Real>
VERTEXQ_INLINE Real clampTo(Real value, Real low, Real high) {
  value = value < low ? low : value;
  return value > high ? high : value;
}

/**
 * Place k of the level nearest to `value` and, in `unsafe`, whether Alphabet::nearest should be asked instead. (Values
 * are clamped, not places: constant bounds would let the compiler split a loop into cases that it cannot vectorise.)
 */
template <typename Real>
VERTEXQ_INLINE Real nearestPlace(Real value, Real low, Real high, Real inverse, Real offset, FlagOf<Real>& unsafe) {
  const Real t = clampTo(value, low, high) * inverse - offset;
  const Real k = nearestInteger(t);
  unsafe |= std::abs(t - k) < Real(0.5) - kTieMargin<Real> ? 0 : 1;
  return k;
}

template <typename Real>
VERTEXQ_INLINE Real levelAt(Real k, Real offset, Real step, Real low, Real high) {
  return clampTo((k + offset) * step, low, high);
}

}  // namespace vertexq
