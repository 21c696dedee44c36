#include "walk/product_form.h"

#include <algorithm>
#include <string>

#include "error.h"
#include "linalg/real_blas.h"

namespace vertexq {

using linalg::kPlain;
using linalg::kStripDepth;
using linalg::StripMatrix;
using linalg::Strips;

namespace {

std::size_t roundedUp(std::size_t count, std::size_t unit) { return (count + unit - 1) / unit * unit; }

}  // namespace

template <typename Real>
ProductForm<Real>::ProductForm(std::size_t rank, std::size_t entering, std::size_t pivots, std::size_t width)
    : rank_(rank),
      mostSlots_(std::min(rank, entering)),
      slotOf_(rank, -1),
      entered_(rank, -1),
      y_(rank, pivots + 2 * kPanel),
      l_(pivots, pivots),
      inverses_(pivots),
      work_(linalg::paddedRows<Real>(std::max(pivots, mostSlots_)) * roundedUp(width + 1, kPanel)),
      kernels_(walkKernels<Real>()),
      strips_(linalg::stripKernels<Real>()) {
  places_.reserve(pivots);
  slots_.reserve(rank);
}

template <typename Real>
void ProductForm<Real>::reset() {
  for (const std::size_t place : slots_) slotOf_[place] = -1;
  slots_.clear();
  forgetPivots();
  std::fill(entered_.begin(), entered_.end(), -1);
}

template <typename Real>
void ProductForm<Real>::apply(Real* v) {
  const Strips<Real> vector{v, StripMatrix<Real>::kRows};
  const auto subtract = [&](const StripMatrix<Real>& left, std::size_t depth) {
    strips_.updateOne(y_.strips(), depth, left.columns(0), work_.data(), {v, vector.stride}, vector);
  };
  if (!slots_.empty()) {
    for (std::size_t s = 0; s < slots_.size(); ++s) work_[s] = v[slots_[s]];
    subtract(h_, slots_.size());
  }
  if (places_.empty()) return;
  completeRows();
  const std::size_t depth = places_.size();
  for (std::size_t e = 0; e < depth; ++e) work_[e] = v[places_[e]];
  substituteOne(depth);
  subtract(y_, depth);
}

template <typename Real>
void ProductForm<Real>::load(std::size_t c, const Real* t) {
  const std::size_t whole = rank_ / StripMatrix<Real>::kRows, rows = whole * StripMatrix<Real>::kRows;
  strips_.updateOne(whole, 0, {}, nullptr, {t, StripMatrix<Real>::kRows}, y_.columns(blockStart_ + c));
  if (rows < rank_) std::copy_n(t + rows, rank_ - rows, y_.columns(blockStart_ + c, whole).first);
}

template <typename Real>
void ProductForm<Real>::read(std::size_t c, Real* v) const {
  strips_.updateOne(y_.strips(), 0, {}, nullptr, y_.columns(blockStart_ + c), {v, StripMatrix<Real>::kRows});
}

/** The right-hand sides in work_: `depth` rows of `count` columns, value(e, c) each, and zeros in what a last panel lacks. */
template <typename Real>
template <typename Value>
void ProductForm<Real>::gather(std::size_t depth, std::size_t count, const Value& value) {
  for (std::size_t c = 0; c < roundedUp(count, kPanel); ++c) {
    Real* to = work_.data() + c / kPanel * kPanel * depth + c % kPanel;
    for (std::size_t e = 0; e < depth; ++e) to[e * kPanel] = c < count ? value(e, c) : Real(0);
  }
}

/** The right-hand sides in work_ ← L⁻¹ of them. */
template <typename Real>
void ProductForm<Real>::substitute(std::size_t depth, std::size_t count) {
  for (std::size_t c = 0; c < count; c += kPanel)
    kernels_.substitute(depth, 0, l_.columns(0), inverses_.data(), work_.data() + c * depth);
}

/** The first `depth` numbers of work_ ← L⁻¹ of them. */
template <typename Real>
void ProductForm<Real>::substituteOne(std::size_t depth) {
  constexpr std::size_t rows = StripMatrix<Real>::kRows;
  for (std::size_t first = 0; first < depth; first += rows) {
    const Strips<Real> part{work_.data() + first, rows};
    strips_.updateOne(1, first, l_.columns(0, first / rows), work_.data(), part, part);
    for (std::size_t e = first; e < std::min(first + rows, depth); ++e) {
      const Real solved = work_[e] *= inverses_[e];
      for (std::size_t k = e + 1; k < first + rows; ++k) work_[k] -= solved * l_(k, e);
    }
  }
}

/** Columns first, ..., first + count - 1 of `from`, or some more, -= the first `depth` columns of `left` times work_. */
template <typename Real>
void ProductForm<Real>::subtractProduct(const StripMatrix<Real>& left, std::size_t depth, StripMatrix<Real>& from,
                                        std::size_t first, std::size_t count) {
  for (std::size_t d = 0; d < depth; d += kStripDepth) {
    const std::size_t part = std::min(kStripDepth, depth - d);
    for (std::size_t s = 0; s < from.strips(); ++s)
      for (std::size_t c = 0; c < count; c += kPanel)
        strips_.update(1, part, kPanel, left.columns(d, s), work_.data() + c * depth + d * kPanel, kPanel,
                       from.columns(first + c, s));
  }
}

template <typename Real>
void ProductForm<Real>::transform(std::size_t count) {
  if (!slots_.empty()) {
    gather(slots_.size(), count, [&](std::size_t e, std::size_t c) { return y_(slots_[e], blockStart_ + c); });
    subtractProduct(h_, slots_.size(), y_, blockStart_, count);
  }
  if (blockStart_ == 0) return;
  gather(blockStart_, count, [&](std::size_t e, std::size_t c) { return y_(places_[e], blockStart_ + c); });
  substitute(blockStart_, count);
  subtractProduct(y_, blockStart_, y_, blockStart_, count);
}

template <typename Real>
void ProductForm<Real>::beginBlock() {
  completeRows();
  blockStart_ = places_.size();
}

/** Pivots `from`, ... applied to the block's columns c, ..., c + count - 1, at most a panel. */
template <typename Real>
void ProductForm<Real>::applyPivots(std::size_t from, std::size_t c, std::size_t count) {
  const std::size_t depth = places_.size() - from;
  if (depth == 0) return;
  Real* a = work_.data();
  for (std::size_t e = 0; e < depth; ++e)
    for (std::size_t k = 0; k < count; ++k) a[e * kPanel + k] = y_(places_[from + e], blockStart_ + c + k);
  kernels_.substitute(depth, from, l_.columns(from), inverses_.data() + from, a);
  strips_.update(y_.strips(), depth, count, y_.columns(from), a, kPanel, y_.columns(blockStart_ + c));
}

/** Earlier panels' pivots are applied to a panel, those of its earlier tiles to a tile, those of its tile to a column alone. */
template <typename Real>
Strips<const Real> ProductForm<Real>::finish(std::size_t c) {
  if (c % kPanel == 0) {
    completeRows();
    applyPivots(blockStart_, c, kPanel);
    panelStart_ = tileStart_ = places_.size();
  } else if (c % kTile == 0) {
    applyPivots(panelStart_, c, kTile);
    tileStart_ = places_.size();
  }
  const std::size_t depth = places_.size() - tileStart_, column = blockStart_ + c;
  Real a[kTile];
  for (std::size_t e = 0; e < depth; ++e) {
    Real value = y_(places_[tileStart_ + e], column);
    for (std::size_t f = 0; f < e; ++f) value -= l_(tileStart_ + e, tileStart_ + f) * a[f];
    a[e] = value * inverses_[tileStart_ + e];
  }
  // To where it stays if it takes a place: not beyond its own place in the block.
  const Strips<Real> z = y_.columns(places_.size());
  strips_.updateOne(y_.strips(), depth, y_.columns(tileStart_), a, y_.columns(column), z);
  return z;
}

template <typename Real>
void ProductForm<Real>::push(std::size_t place, std::ptrdiff_t entering) {
  const std::size_t pivot = places_.size();
  for (std::size_t f = panelStart_; f <= pivot; ++f) l_(pivot, f) = y_(place, f);
  inverses_[pivot] = 1 / l_(pivot, pivot);
  y_(place, pivot) -= 1;
  places_.push_back(place);
  entered_[place] = entering;
}

/** The part of L that a panel did not need itself. */
template <typename Real>
void ProductForm<Real>::completeRows() {
  constexpr std::size_t rows = StripMatrix<Real>::kRows;
  // A tile's rows at once, the last as often as it takes: some of the places share a line of the cache.
  for (std::size_t first = complete_; first < places_.size(); first += kTile) {
    const Real* y[kTile];
    Real* l[kTile];
    for (std::size_t e = 0; e < kTile; ++e) {
      const std::size_t pivot = std::min(first + e, places_.size() - 1);
      y[e] = &y_(places_[pivot], 0);
      l[e] = &l_(pivot, 0);
    }
    for (std::size_t f = 0; f < panelStart_; ++f)
      for (std::size_t e = 0; e < kTile; ++e) l[e][f * rows] = y[e][f * rows];
  }
  complete_ = panelStart_ = tileStart_ = places_.size();
}

template <typename Real>
void ProductForm<Real>::forgetPivots() {
  places_.clear();
  blockStart_ = panelStart_ = tileStart_ = complete_ = 0;
}

/** Columns of zeros in H for `count` more slots. */
template <typename Real>
void ProductForm<Real>::openSlots(std::size_t count) {
  // The one place that allocates after the constructor, once: many a walk in tableau form never folds.
  if (h_.bytes() == 0) h_ = StripMatrix<Real>(rank_, mostSlots_ + kPanel);
  for (std::size_t s = 0; s < h_.strips(); ++s)
    std::fill_n(h_.columns(slots_.size(), s).first, count * StripMatrix<Real>::kRows, Real(0));
}

/** H ← H + Y L⁻¹ (rows k of I - H). */
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

  // As many columns at a time as the workspace holds: mostly all.
  const std::size_t width = work_.size() / depth / kPanel * kPanel;
  for (std::size_t first = 0; first < slots_.size(); first += width) {
    const std::size_t count = std::min(width, slots_.size() - first);
    gather(depth, count, [&](std::size_t e, std::size_t c) {
      return h_(places_[e], first + c) - (places_[e] == slots_[first + c] ? Real(1) : Real(0));
    });
    substitute(depth, count);
    subtractProduct(y_, depth, h_, first, count);
  }
  forgetPivots();
}

/** B = I + (T(·, q) - E_K) E_Kᵀ, so with S = T(K, q): H = I - S⁻¹ in the rows K, and T(·, q) S⁻¹ in the others. */
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
  linalg::gemm(kPlain, kPlain, rank_, count, count, 1.0, columns.data(), rank_, s.data(), count, 0.0, product.data(),
               rank_);
  slots_.clear();
  openSlots(count);
  for (std::size_t place = 0; place < rank_; ++place)
    if (slotOf_[place] >= 0) slots_.push_back(place);
  for (std::size_t c = 0; c < count; ++c) {
    for (std::size_t k = 0; k < count; ++k) product(slots_[k], c) = (k == c ? 1 : 0) - s(k, c);
    for (std::size_t k = 0; k < rank_; ++k) h_(k, c) = static_cast<Real>(product(k, c));
  }
}

template <typename Real>
std::size_t ProductForm<Real>::bytes() const {
  return y_.bytes() + h_.bytes() + l_.bytes() + inverses_.bytes() + work_.bytes() +
         (places_.capacity() + slots_.capacity() + slotOf_.size() + entered_.size()) * sizeof(std::size_t);
}

template class ProductForm<float>;
template class ProductForm<double>;

}  // namespace vertexq
