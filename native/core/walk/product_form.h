// The inverse of a walk's basis, in blocks.
#pragma once

#include <cstddef>
#include <vector>

#include "linalg/aligned_buffer.h"
#include "linalg/matrix.h"
#include "walk/kernels.h"

namespace vertexq {

/**
 * B⁻¹ as a walk changes B, one column at a time, from the identity:
 *
 *     B⁻¹ = (I - y_p e_{k_p}ᵀ/z_p) ... (I - y_1 e_{k_1}ᵀ/z_1) (I + G E_Kᵀ),      y_e = z_e - e_{k_e}, z_e = B⁻¹t when t entered.
 *
 * The factors on the left are the p pivots since the last fold, kept as Y = [y_1 ... y_p] (r × p), their places k and the
 * lower triangular L, L_ef = Y(k_e, f), L_ee = z_e(k_e), with which their product is I - Y L⁻¹ E_kᵀ. The factor on the right is
 * everything before: B differs from the identity in the places K alone, and so does its inverse; G is r × |K|.
 *
 * Never folding is the tableau form; folding at every block is the inverse form. Both apply B⁻¹ to a block of columns by
 * GEMM. A pivot costs nothing until then.
 */
template <typename Real>
class ProductForm {
 public:
  /** Room for `pivots` pivots between folds and `width` vectors at once. `t` is T's columns outside the first basis. */
  ProductForm(const BasicMatrix<Real>& t, std::size_t pivots, std::size_t width);

  /** Back to B = I. */
  void reset();

  /** V ← B⁻¹ V, `count` vectors of r elements. Rows beyond r are left alone. */
  void apply(Real* v, std::size_t count);

  std::size_t rows() const { return ld_; }  // distance between the columns of V and Y
  std::size_t pivots() const { return places_.size(); }
  std::size_t capacity() const { return capacity_; }
  bool isIdentity() const { return places_.empty() && slots_.empty(); }

  /** Columns that applyPanel takes at once. */
  static constexpr std::size_t kPanel = kPanelColumns;

  /** From here on pivots count as the block's own: apply() has dealt with all before. */
  void beginBlock() { blockStart_ = panelStart_ = places_.size(); }

  /** Applies the block's own pivots so far to kPanel columns of V, and begins a panel of them. */
  void beginPanel(Real* v);

  /** Applies the panel's own pivots so far to one column. */
  void applyInPanel(Real* z);

  /** Appends a pivot: column `entering` of T, whose z this is, takes place k. */
  void push(const Real* z, std::size_t place, std::ptrdiff_t entering);

  /** Folds all pivots into G. */
  void fold();

  /** Computes B⁻¹ afresh, in float64, from the columns of T in the basis. Throws ERR_VERTEXQ_NUMERIC if B is singular. */
  void refactor(const Matrix& exact);

  /** Which column of T is in a place; -1: still the first one, a unit vector. */
  std::ptrdiff_t enteredAt(std::size_t place) const { return entered_[place]; }

  std::size_t bytes() const;

 private:
  void completeRows();
  void invertTriangles();
  void solve(Real* a, std::size_t count);
  void forgetPivots();
  /**
   * Order of the triangles that are inverted, so that solving with L is GEMM: BLAS' TRSM runs at a fifth of its rate. Float32 walks
   * have to factor their basis anew about as often as with TRSM then; with 16 twice, with 64 five times as often.
   */
  static constexpr std::size_t kTriangle = 8;
  const Real* row(std::size_t pivot) const { return l_.data() + pivot * capacity_; }
  void openSlots(std::size_t count);

  const BasicMatrix<Real>& t_;
  std::size_t rank_;
  std::size_t ld_;
  std::size_t capacity_;
  std::vector<std::size_t> places_;      // of the pivots since the last fold
  std::vector<std::size_t> slots_;       // K
  std::vector<std::ptrdiff_t> slotOf_;   // place -> its index in K, or -1
  std::vector<std::ptrdiff_t> entered_;  // place -> column of T
  std::size_t blockStart_ = 0;
  std::size_t panelStart_ = 0;
  std::size_t complete_ = 0;  // rows of L that hold all their entries
  std::size_t inverted_ = 0;  // of the triangles on L's diagonal
  linalg::AlignedBuffer<Real> y_;
  linalg::AlignedBuffer<Real> l_;          // L, row-major
  linalg::AlignedBuffer<Real> inverses_;   // 1 / L_ee
  linalg::AlignedBuffer<Real> triangles_;  // inverses of the triangles of order kTriangle on L's diagonal, row-major
  linalg::AlignedBuffer<Real> piece_;      // kTriangle rows of what is solved for
  linalg::AlignedBuffer<Real> g_, work_;
  const WalkKernels<Real>& kernels_;
};

}  // namespace vertexq
