// Products with matrices in strips, in registers, for what the CPU has.
#pragma once

#include <cstddef>

#include "linalg/strip_matrix.h"

namespace vertexq::linalg {

template <typename Real>
struct StripKernels {
  /**
   * V ← V - Y·A: `columns` columns of V, `depth` of Y; A depth × columns, row-major (lda). At GEMM's rate while the part of Y in a
   * strip and A stay in the first-level cache: depths of kStripDepth.
   */
  void (*update)(std::size_t strips, std::size_t depth, std::size_t columns, Strips<const Real> y, const Real* a,
                 std::size_t lda, Strips<Real> v);
  /** z ← v - Y·a, one column. z may be v; with depth 0 it is a copy. */
  void (*updateOne)(std::size_t strips, std::size_t depth, Strips<const Real> y, const Real* a, Strips<const Real> v,
                    Strips<Real> z);
  /**
   * L in place of the lower triangle of a tile, kStripRows × kStripRows, column-major without gaps. False at a pivot that is not
   * positive. What is above the diagonal is scratch.
   */
  bool (*factorTile)(Real* tile);
  /** V ← V·L⁻ᵀ, both such tiles. */
  void (*solveTile)(const Real* l, Real* v);
};

/** Columns of a strip that are multiplied at once: with a vector's width of right-hand sides they fit a first-level cache of 32 KiB. */
inline constexpr std::size_t kStripDepth = 128;

/** The kernels for this CPU. They differ in the last bits of what they compute. */
template <typename Real>
const StripKernels<Real>& stripKernels();

}  // namespace vertexq::linalg
