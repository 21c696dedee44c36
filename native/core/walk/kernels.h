// The inner steps of a walk, vectorised for what the CPU has.
#pragma once

#include <cstddef>

#include "linalg/strip_matrix.h"

namespace vertexq {

/** What an inexact zero is, for a precision. The columns of a tableau are of order one, and widths of a box are its unit. */
template <typename Real>
struct WalkTolerances;

template <>
struct WalkTolerances<double> {
  /** By how much of the width of its box an entry may overstep a bound in a ratio test; it is put back at the end. */
  static constexpr double feasibility = 1e-12;
  /** Entries of z no larger than this neither stop a step nor become pivots. */
  static constexpr double pivot = 1e-11;
  /** A smaller pivot is taken only if the other way from the column needs one as small: small pivots cost digits. */
  static constexpr double safePivot = 0.3;
  /** The basis is factored afresh if B⁻¹B u differs from u by more than this. */
  static constexpr double drift = 1e-10;
};

template <>
struct WalkTolerances<float> {
  static constexpr float feasibility = 1e-6F;
  static constexpr float pivot = 1e-5F;
  static constexpr float safePivot = 3e-1F;
  static constexpr float drift = 3e-3F;
};

/**
 * Arrays in the order of the basis: z = B⁻¹t of the entering column, and each basic entry's distance from the middle of its box
 * and half the width of that. What is beyond the rank has z = 0.
 */
template <typename Real>
struct RatioArrays {
  std::size_t strips;
  linalg::Strips<const Real> z;
  const Real* offset;
  const Real* half;
};

/** The longest steps up and down that leave every basic entry within its bounds, give or take the feasibility tolerance. */
template <typename Real>
struct StepLimits {
  Real up, down;
};

/** The largest |z_k| among entries that reach their bound within a step; the lowest k of equal ones; -1 if there is none. */
template <typename Real>
struct Pivot {
  Real size;
  std::ptrdiff_t place;
};

/** Columns of a panel, which are solved for at once: a vector of the widest kind. */
template <typename Real>
inline constexpr std::size_t kPanelColumns = 64 / sizeof(Real);

template <typename Real>
struct WalkKernels {
  /** Harris' first pass, for both signs at once. */
  StepLimits<Real> (*limits)(const RatioArrays<Real>&);
  /** Harris' second pass: the pivot for a step of sign `sign`, no longer than `limit`. */
  Pivot<Real> (*choose)(const RatioArrays<Real>&, Real sign, Real limit);
  /** x ← x - s·z. */
  void (*move)(std::size_t strips, Real s, linalg::Strips<const Real> z, Real* x);
  /**
   * A ← L⁻¹ A: A depth × kPanelColumns, row-major without gaps; L the lower triangle from row `from` of `l` on, whose first column
   * is that of the triangle; `inverses` are 1 / L_ee.
   */
  void (*substitute)(std::size_t depth, std::size_t from, linalg::Strips<const Real> l, const Real* inverses, Real* a);
};

/** The kernels for this CPU. They differ in the last bits of what they compute. */
template <typename Real>
const WalkKernels<Real>& walkKernels();

}  // namespace vertexq
