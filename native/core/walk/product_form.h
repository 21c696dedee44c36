// The inverse of a walk's basis, in blocks.
#pragma once

#include <cstddef>
#include <vector>

#include "linalg/aligned_buffer.h"
#include "linalg/matrix.h"
#include "linalg/strip_kernels.h"
#include "walk/kernels.h"

namespace vertexq {

/**
 * B⁻¹ as a walk changes B, one column at a time, from the identity:
 *
 *     B⁻¹ = (I - y_p e_{k_p}ᵀ/z_p) ... (I - y_1 e_{k_1}ᵀ/z_1) (I - H E_Kᵀ),      y_e = z_e - e_{k_e}, z_e = B⁻¹t when t entered.
 *
 * The factors on the left are the p pivots since the last fold, kept as Y = [y_1 ... y_p] (r × p), their places k and the
 * lower triangular L, L_ef = Y(k_e, f), L_ee = z_e(k_e), with which their product is I - Y L⁻¹ E_kᵀ. The factor on the right is
 * everything before: B differs from the identity in the places K alone, and so does its inverse; H is r × |K|.
 *
 * Never folding is the tableau form; folding at every block is the inverse form. Both apply B⁻¹ to a block of columns at the
 * speed of GEMM. A pivot costs nothing until then.
 *
 * A block of columns goes: beginBlock, load each, transform; then for each column finish, and push if it takes a place.
 */
template <typename Real>
class ProductForm {
 public:
  /**
   * Room for `pivots` pivots between folds, the columns of a block among them, and a vector more; at most `width` vectors are
   * transformed at once. `entering` columns are outside the first basis.
   */
  ProductForm(std::size_t rank, std::size_t entering, std::size_t pivots, std::size_t width);

  /** Back to B = I. */
  void reset();

  std::size_t strips() const { return y_.strips(); }
  /** Length of a vector: the rank, rounded up to whole strips. */
  std::size_t rows() const { return y_.paddedRows(); }
  std::size_t pivots() const { return places_.size(); }
  bool isIdentity() const { return places_.empty() && slots_.empty(); }

  /** v ← B⁻¹v, rows() numbers. */
  void apply(Real* v);

  /** From here on pivots count as the block's own: those before are left to transform(). */
  void beginBlock();

  /** Column c of the block is t, r numbers. It lies behind the y of the pivots so far. */
  void load(std::size_t c, const Real* t);

  /** Column c of the block as it is, rows() numbers. */
  void read(std::size_t c, Real* v) const;

  /** The block's columns 0, ..., count - 1 ← B⁻¹ of them. */
  void transform(std::size_t count);

  /** Columns that earlier pivots are solved for at once. */
  static constexpr std::size_t kPanel = kPanelColumns<Real>;

  /** Applies the block's own pivots so far to column c: z, until the next call. Columns come in their order. */
  linalg::Strips<const Real> finish(std::size_t c);

  /** Appends a pivot: the column finished last, column `entering` of T, takes place k. */
  void push(std::size_t place, std::ptrdiff_t entering);

  /** Folds all pivots into H. */
  void fold();

  /** Computes B⁻¹ afresh, in float64, from the columns of T in the basis. Throws ERR_VERTEXQ_NUMERIC if B is singular. */
  void refactor(const Matrix& exact);

  /** Which column of T is in a place; -1: still the first one, a unit vector. */
  std::ptrdiff_t enteredAt(std::size_t place) const { return entered_[place]; }

  std::size_t bytes() const;

 private:
  /** Columns that the kernels hold in registers. */
  static constexpr std::size_t kTile = 8;
  static_assert(kPanel % kTile == 0);

  void applyPivots(std::size_t from, std::size_t c, std::size_t count);
  void completeRows();
  void forgetPivots();
  void openSlots(std::size_t count);
  template <typename Value>
  void gather(std::size_t depth, std::size_t count, const Value& value);
  void substitute(std::size_t depth, std::size_t count);
  void substituteOne(std::size_t depth);
  void subtractProduct(const linalg::StripMatrix<Real>& left, std::size_t depth, linalg::StripMatrix<Real>& from,
                       std::size_t first, std::size_t count);

  std::size_t rank_;
  std::size_t mostSlots_;
  std::vector<std::size_t> places_;      // of the pivots since the last fold
  std::vector<std::size_t> slots_;       // K
  std::vector<std::ptrdiff_t> slotOf_;   // place -> its index in K, or -1
  std::vector<std::ptrdiff_t> entered_;  // place -> column of T
  std::size_t blockStart_ = 0;
  std::size_t panelStart_ = 0;
  std::size_t tileStart_ = 0;
  std::size_t complete_ = 0;     // rows of L that hold all their entries
  linalg::StripMatrix<Real> y_;  // and behind the pivots the columns of the block
  linalg::StripMatrix<Real> h_;  // room for all slots, made at the first fold
  linalg::StripMatrix<Real> l_;
  linalg::AlignedBuffer<Real> inverses_;  // 1 / L_ee
  linalg::AlignedBuffer<Real> work_;      // right-hand sides: panels of kPanel columns, each row-major without gaps
  const WalkKernels<Real>& kernels_;
  const linalg::StripKernels<Real>& strips_;
};

}  // namespace vertexq
