#include "walk/product_form.h"

#include <algorithm>
#include <string>

#include "error.h"
#include "linalg/real_blas.h"

namespace vertexq {

using linalg::kPlain;

template <typename Real>
ProductForm<Real>::ProductForm(const BasicMatrix<Real>& t, std::size_t pivots, std::size_t width)
    : t_(t),
      rank_(t.rows()),
      ld_(linalg::paddedRows<Real>(t.rows())),
      capacity_(pivots),
      slotOf_(t.rows(), -1),
      entered_(t.rows(), -1),
      y_(ld_ * pivots),
      l_(pivots * pivots),
      inverses_(pivots),
      triangles_((pivots + kTriangle - 1) / kTriangle * kTriangle * kTriangle),
      piece_(kTriangle * std::max(width, kPanel)),
      work_(std::max(pivots, std::min(t.rows(), t.cols())) * std::max(width, kPanel)),
      kernels_(walkKernels<Real>()) {
  places_.reserve(pivots);
  slots_.reserve(t.rows());
}

template <typename Real>
void ProductForm<Real>::reset() {
  for (const std::size_t place : slots_) slotOf_[place] = -1;
  slots_.clear();
  forgetPivots();
  std::fill(entered_.begin(), entered_.end(), -1);
}

template <typename Real>
void ProductForm<Real>::apply(Real* v, std::size_t count) {
  if (!slots_.empty()) {
    const std::size_t depth = slots_.size();
    for (std::size_t c = 0; c < count; ++c)
      for (std::size_t s = 0; s < depth; ++s) work_[s + c * depth] = v[slots_[s] + c * ld_];
    linalg::gemm(kPlain, kPlain, rank_, count, depth, Real(1), g_.data(), ld_, work_.data(), depth, Real(1), v, ld_);
  }
  if (places_.empty()) return;
  completeRows();
  const std::size_t depth = places_.size();
  for (std::size_t c = 0; c < count; ++c)
    for (std::size_t e = 0; e < depth; ++e) work_[e + c * depth] = v[places_[e] + c * ld_];
  solve(work_.data(), count);
  linalg::gemm(kPlain, kPlain, rank_, count, depth, Real(-1), y_.data(), ld_, work_.data(), depth, Real(1), v, ld_);
}

/** Those of the triangles on L's diagonal that were not inverted yet; one that may still grow, every time. */
template <typename Real>
void ProductForm<Real>::invertTriangles() {
  const std::size_t depth = places_.size();
  for (; inverted_ * kTriangle < depth; ++inverted_) {
    const std::size_t first = inverted_ * kTriangle, order = std::min(kTriangle, depth - first);
    Real* inverse = triangles_.data() + first * kTriangle;
    std::fill_n(inverse, order * kTriangle, Real(0));
    for (std::size_t c = 0; c < order; c += kPanel) {
      // Columns c, c + 1, ... of the inverse: zero above row c.
      Real* panel = piece_.data();
      const std::size_t rows = order - c, columns = std::min(kPanel, rows);
      std::fill_n(panel, rows * kPanel, Real(0));
      for (std::size_t k = 0; k < columns; ++k) panel[k * kPanel + k] = 1;
      kernels_.substitute(rows, row(first + c) + first + c, capacity_, inverses_.data() + first + c, panel);
      for (std::size_t e = 0; e < rows; ++e)
        std::copy_n(panel + e * kPanel, columns, inverse + (c + e) * kTriangle + c);
    }
    if (order < kTriangle) break;
  }
}

/** A ← L⁻¹ A for `count` columns of as many elements as there are pivots. */
template <typename Real>
void ProductForm<Real>::solve(Real* a, std::size_t count) {
  invertTriangles();
  const std::size_t depth = places_.size(), width = piece_.size() / kTriangle;
  for (std::size_t c = 0; c < count; c += width, a += width * depth) {
    const std::size_t columns = std::min(width, count - c);
    for (std::size_t first = 0; first < depth; first += kTriangle) {
      const std::size_t order = std::min(kTriangle, depth - first);
      if (first > 0)
        linalg::gemm(linalg::kTransposed, kPlain, order, columns, first, Real(-1), row(first), capacity_, a, depth,
                     Real(1), a + first, depth);
      for (std::size_t k = 0; k < columns; ++k)
        std::copy_n(a + first + k * depth, order, piece_.data() + k * kTriangle);
      linalg::gemm(linalg::kTransposed, kPlain, order, columns, order, Real(1), triangles_.data() + first * kTriangle,
                   kTriangle, piece_.data(), kTriangle, Real(0), a + first, depth);
    }
  }
}

template <typename Real>
void ProductForm<Real>::beginPanel(Real* v) {
  completeRows();
  panelStart_ = places_.size();
  const std::size_t depth = panelStart_ - blockStart_;
  if (depth == 0) return;
  Real* a = work_.data();
  for (std::size_t e = 0; e < depth; ++e)
    for (std::size_t c = 0; c < kPanel; ++c) a[e * kPanel + c] = v[places_[blockStart_ + e] + c * ld_];
  kernels_.substitute(depth, row(blockStart_) + blockStart_, capacity_, inverses_.data() + blockStart_, a);
  kernels_.panel(ld_, depth, kPanel, y_.data() + blockStart_ * ld_, ld_, a, kPanel, v, ld_);
}

template <typename Real>
void ProductForm<Real>::applyInPanel(Real* z) {
  const std::size_t depth = places_.size() - panelStart_;
  if (depth == 0) return;
  Real a[kPanel];
  for (std::size_t e = 0; e < depth; ++e) {
    const Real* l = row(panelStart_ + e) + panelStart_;
    Real value = z[places_[panelStart_ + e]];
    for (std::size_t f = 0; f < e; ++f) value -= l[f] * a[f];
    a[e] = value * inverses_[panelStart_ + e];
  }
  kernels_.panel(ld_, depth, 1, y_.data() + panelStart_ * ld_, ld_, a, 1, z, ld_);
}

template <typename Real>
void ProductForm<Real>::push(const Real* z, std::size_t place, std::ptrdiff_t entering) {
  const std::size_t pivot = places_.size();
  Real* y = y_.data() + pivot * ld_;
  std::copy_n(z, ld_, y);
  y[place] -= 1;
  Real* l = l_.data() + pivot * capacity_;
  for (std::size_t f = panelStart_; f < pivot; ++f) l[f] = y_[place + f * ld_];
  l[pivot] = z[place];
  inverses_[pivot] = 1 / z[place];
  places_.push_back(place);
  entered_[place] = entering;
}

/** The part of L that a panel did not need itself, along the columns of Y: its rows lie pages apart. */
template <typename Real>
void ProductForm<Real>::completeRows() {
  for (std::size_t f = 0; f < panelStart_; ++f) {
    const Real* y = y_.data() + f * ld_;
    for (std::size_t e = complete_; e < places_.size(); ++e) l_[e * capacity_ + f] = y[places_[e]];
  }
  complete_ = panelStart_ = places_.size();
}

template <typename Real>
void ProductForm<Real>::forgetPivots() {
  places_.clear();
  blockStart_ = panelStart_ = complete_ = inverted_ = 0;
}

template <typename Real>
void ProductForm<Real>::openSlots(std::size_t count) {
  // The one place that allocates after the constructor, once: many a walk in tableau form never folds.
  if (g_.size() == 0) g_ = linalg::AlignedBuffer<Real>(ld_ * std::min(rank_, t_.cols()));
  std::fill_n(g_.data() + slots_.size() * ld_, count * ld_, Real(0));
}

template <typename Real>
void ProductForm<Real>::fold() {
  if (places_.empty()) return;
  completeRows();
  const std::size_t depth = places_.size();
  std::size_t fresh = 0;
  for (const std::size_t place : places_)
    if (slotOf_[place] < 0) slotOf_[place] = static_cast<std::ptrdiff_t>(slots_.size() + fresh++);
  openSlots(fresh);
  slots_.resize(slots_.size() + fresh);
  for (const std::size_t place : places_) slots_[static_cast<std::size_t>(slotOf_[place])] = place;

  // G ← G - Y L⁻¹ (rows k of I + G), as many columns at a time as the workspace holds: mostly all.
  const std::size_t width = work_.size() / depth;
  for (std::size_t first = 0; first < slots_.size(); first += width) {
    const std::size_t count = std::min(width, slots_.size() - first);
    Real* g = g_.data() + first * ld_;
    for (std::size_t c = 0; c < count; ++c)
      for (std::size_t e = 0; e < depth; ++e)
        work_[e + c * depth] = g[places_[e] + c * ld_] + (places_[e] == slots_[first + c] ? Real(1) : Real(0));
    solve(work_.data(), count);
    linalg::gemm(kPlain, kPlain, rank_, count, depth, Real(-1), y_.data(), ld_, work_.data(), depth, Real(1), g, ld_);
  }
  forgetPivots();
}

/** B = I + (T(·, q) - E_K) E_Kᵀ, so with S = T(K, q): G = S⁻¹ - I in the rows K, and -T(·, q) S⁻¹ in the others. */
template <typename Real>
void ProductForm<Real>::refactor(const Matrix& exact) {
  forgetPivots();
  for (const std::size_t place : slots_) slotOf_[place] = -1;
  slots_.clear();
  for (std::size_t place = 0; place < rank_; ++place)
    if (entered_[place] >= 0) {
      slotOf_[place] = static_cast<std::ptrdiff_t>(slots_.size());
      slots_.push_back(place);
    }
  const std::size_t count = slots_.size();
  if (count == 0) return;
  Matrix columns(rank_, count), s(count, count);
  for (std::size_t c = 0; c < count; ++c) {
    const double* t = exact.column(static_cast<std::size_t>(entered_[slots_[c]]));
    std::copy_n(t, rank_, columns.column(c));
    for (std::size_t k = 0; k < count; ++k) s(k, c) = t[slots_[k]];
  }
  std::vector<lapack_int> swaps(count);
  const int order = linalg::dim(count);
  lapack_int info = LAPACKE_dgetrf(LAPACK_COL_MAJOR, order, order, s.data(), order, swaps.data());
  if (info == 0) info = LAPACKE_dgetri(LAPACK_COL_MAJOR, order, s.data(), order, swaps.data());
  if (info != 0)
    throw Error("ERR_VERTEXQ_NUMERIC",
                "the basis of a walk became singular (LAPACK info " + std::to_string(info) + ")");
  Matrix product(rank_, count);
  linalg::gemm(kPlain, kPlain, rank_, count, count, -1.0, columns.data(), rank_, s.data(), count, 0.0, product.data(),
               rank_);
  slots_.clear();
  openSlots(count);
  for (std::size_t place = 0; place < rank_; ++place)
    if (slotOf_[place] >= 0) slots_.push_back(place);
  for (std::size_t c = 0; c < count; ++c) {
    for (std::size_t k = 0; k < count; ++k) product(slots_[k], c) = s(k, c) - (k == c ? 1 : 0);
    std::copy_n(product.column(c), rank_, g_.data() + c * ld_);
  }
}

template <typename Real>
std::size_t ProductForm<Real>::bytes() const {
  return y_.bytes() + l_.bytes() + inverses_.bytes() + triangles_.bytes() + piece_.bytes() + g_.bytes() +
         work_.bytes() +
         (places_.capacity() + slots_.capacity() + slotOf_.size() + entered_.size()) * sizeof(std::size_t);
}

template class ProductForm<float>;
template class ProductForm<double>;

}  // namespace vertexq
