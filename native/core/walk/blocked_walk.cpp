#include "walk/blocked_walk.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <type_traits>

#include "linalg/real_blas.h"

namespace vertexq {

namespace {

/** Basic columns summed up in a check: enough to notice, too few to cost. */
constexpr std::size_t kChecked = 16;

/** Random combinations of the rows of T that a correction is checked with. That all of them miss a tenth of the error: 1e-9. */
constexpr std::size_t kWitnesses = 8;

/** Refinements at the end that bring T ŵ back to T w, and the errors, relative to the largest move, where they stop. */
constexpr int kRestorations = 6;
template <typename Real>
constexpr double kRounding = sizeof(Real) == sizeof(double) ? 1e-15 : 1e-8;
constexpr double kAcceptable = 1e-12;
/** A walk in float32 with more error than this left, relative to the largest move, is walked again in float64. */
constexpr double kTooMuch = 1e-6;

/** So that a unit and its inverse are normal numbers. */
constexpr int kLargestExponent = 1022;

/** The largest |v_i|. */
double largestOf(std::size_t n, const double* v) {
  return n == 0 ? 0 : std::abs(v[cblas_idamax(linalg::dim(n), v, 1)]);
}

double signOf(std::size_t index) { return index % 2 == 0 ? 1 : -1; }

}  // namespace

template <typename Real>
BlockedWalk<Real>::BlockedWalk(const Tableau& tableau, const BasicMatrix<Real>& t, WalkForm form)
    : tableau_(tableau),
      t_(t),
      plan_(planWalk(form, tableau.rank(), tableau.entering())),
      form_(tableau.rank(), tableau.entering(), std::min(plan_.foldEvery + plan_.block, tableau.entering()),
            plan_.block),
      kernels_(walkKernels<Real>()),
      basis_(tableau.rank()),
      vector_(form_.rows()),
      offset_(form_.rows()),
      half_(form_.rows()),
      original_(tableau.size()),
      moved_(tableau.entering()),
      probe_(tableau.rank()),
      signs_(kWitnesses, tableau.rank()),
      witnesses_(kWitnesses, tableau.entering()) {
  block_.reserve(plan_.block);
  checked_.reserve(kChecked);
  std::mt19937_64 random(kWitnesses);
  for (std::size_t i = 0; i < kWitnesses * tableau.rank(); ++i) signs_.data()[i] = signOf(random() >> 63);
  if (tableau.rank() == 0) return;
  linalg::gemm(linalg::kPlain, linalg::kPlain, kWitnesses, tableau.entering(), tableau.rank(), 1.0, signs_.data(),
               kWitnesses, tableau.t.data(), tableau.rank(), 0.0, witnesses_.data(), kWitnesses);
}

template <typename Real>
void BlockedWalk<Real>::run(double* w, const double* low, const double* high, const JobControl& control) {
  begin(w, low, high);
  for (std::size_t next = 0; next < tableau_.entering();) {
    control.throwIfCancelled();
    next = nextBlock(next, w, low, high);
    if (block_.empty()) break;
    form_.beginBlock();
    // Columns of T that nothing has to be done to yet come panel by panel, so as to stay in the cache.
    const bool fresh = form_.isIdentity();
    if (!fresh) transformBlock();
    for (std::size_t c = 0; c < block_.size(); ++c) {
      if (fresh && c % form_.kPanel == 0) fill(c, std::min(c + form_.kPanel, block_.size()));
      walkColumn(block_[c], form_.finish(c), w, low, high);
    }
    if (form_.pivots() >= plan_.foldEvery) form_.fold();
  }
  for (std::size_t k = 0; k < basis_.size(); ++k) {
    const int i = basis_[k];
    w[i] = std::clamp((middleOf(i, low, high) + static_cast<double>(offset_[k])) * unit_, low[i], high[i]);
  }
  control.throwIfCancelled();
  if (!restore(w, low, high)) walkInDouble(w, low, high, control);
}

/** The box kept float32's rounding from being undone, which takes many small pivots: so small that float64 is needed. */
template <typename Real>
void BlockedWalk<Real>::walkInDouble(double* w, const double* low, const double* high, const JobControl& control) {
  if constexpr (std::is_same_v<Real, float>) {
    if (!exact_) exact_ = std::make_unique<BlockedWalk<double>>(tableau_, tableau_.t);
    std::copy(original_.begin(), original_.end(), w);
    exact_->run(w, low, high, control);
    ++walkedInDouble_;
  }
}

template <typename Real>
void BlockedWalk<Real>::begin(const double* w, const double* low, const double* high) {
  form_.reset();
  checkFrom_ = 0;
  std::copy_n(w, tableau_.size(), original_.begin());
  const double largest = std::max(largestOf(tableau_.size(), low), largestOf(tableau_.size(), high));
  const int exponent = largest > 0 ? std::clamp(std::ilogb(largest), -kLargestExponent, kLargestExponent) : 0;
  unit_ = std::ldexp(1.0, exponent);
  inverseUnit_ = std::ldexp(1.0, -exponent);
  for (std::size_t k = 0; k < basis_.size(); ++k) {
    const int i = basis_[k] = tableau_.columns[k];
    offset_[k] = offsetOf(i, w, low, high);
    half_[k] = halfOf(i, low, high);
  }
}

template <typename Real>
double BlockedWalk<Real>::middleOf(int input, const double* low, const double* high) const {
  return 0.5 * (low[input] * inverseUnit_ + high[input] * inverseUnit_);
}

template <typename Real>
Real BlockedWalk<Real>::offsetOf(int input, const double* w, const double* low, const double* high) const {
  return static_cast<Real>(w[input] * inverseUnit_ - middleOf(input, low, high));
}

template <typename Real>
Real BlockedWalk<Real>::halfOf(int input, const double* low, const double* high) const {
  return static_cast<Real>(0.5 * (high[input] * inverseUnit_ - low[input] * inverseUnit_));
}

/** Fills block_ with the next columns that are not on a bound already, and leaves one place for the check column. */
template <typename Real>
std::size_t BlockedWalk<Real>::nextBlock(std::size_t from, const double* w, const double* low, const double* high) {
  block_.clear();
  for (; from < tableau_.entering() && block_.size() + 1 < plan_.block; ++from) {
    const int i = tableau_.columns[tableau_.rank() + from];
    if (w[i] != low[i] && w[i] != high[i]) block_.push_back({from, offsetOf(i, w, low, high), halfOf(i, low, high)});
  }
  return from;
}

/** Columns from, ..., end - 1 of the block from T. */
template <typename Real>
void BlockedWalk<Real>::fill(std::size_t from, std::size_t end) {
  for (std::size_t c = from; c < end; ++c) form_.load(c, t_.column(block_[c].column));
}

template <typename Real>
void BlockedWalk<Real>::transformBlock() {
  const std::size_t size = block_.size(), extra = addCheck(vector_.data());
  fill(0, size);
  if (extra) form_.load(size, vector_.data());
  form_.transform(size + extra);
  if (extra == 0) return;
  form_.read(size, vector_.data());
  if (!checkFails(vector_.data())) return;
  refactor();
  fill(0, size);
  form_.transform(size);
}

/** v ← B u, u = ±1 in a few places, others at every block. Returns the number of vectors added, 0 or 1. */
template <typename Real>
std::size_t BlockedWalk<Real>::addCheck(Real* v) {
  checked_.clear();
  std::fill_n(v, form_.rows(), Real(0));
  const std::size_t rank = tableau_.rank();
  std::size_t place = checkFrom_ % rank;
  for (std::size_t seen = 0; seen < rank && checked_.size() < kChecked; ++seen, place = (place + 1) % rank) {
    if (form_.enteredAt(place) < 0) continue;
    linalg::axpy(rank, static_cast<Real>(signOf(checked_.size())),
                 t_.column(static_cast<std::size_t>(form_.enteredAt(place))), v);
    checked_.push_back(place);
  }
  checkFrom_ = place;
  return checked_.empty() ? 0 : 1;
}

/** Whether v = B⁻¹(B u) is not u. Leaves the difference in v. */
template <typename Real>
bool BlockedWalk<Real>::checkFails(Real* v) const {
  for (std::size_t k = 0; k < checked_.size(); ++k) v[checked_[k]] -= static_cast<Real>(signOf(k));
  Real worst = 0;
  for (std::size_t place = 0; place < tableau_.rank(); ++place) {
    if (std::isnan(v[place])) return true;
    worst = std::max(worst, std::abs(v[place]));
  }
  return worst > WalkTolerances<Real>::drift;
}

template <typename Real>
void BlockedWalk<Real>::refactor() {
  ++refactorings_;
  form_.refactor(tableau_.t);
}

template <typename Real>
void BlockedWalk<Real>::walkColumn(const Entering& entering, linalg::Strips<const Real> z, double* w, const double* low,
                                   const double* high) {
  const int column = tableau_.columns[tableau_.rank() + entering.column];
  const RatioArrays<Real> arrays{form_.strips(), z, offset_.data(), half_.data()};
  const StepLimits<Real> limits = kernels_.limits(arrays);
  // Of the ways up, [0], and down, [1]: how far they are open, and whether it is a basic entry that ends them.
  const Real limit[] = {limits.up, limits.down};
  const Real room[] = {entering.half - entering.offset, entering.half + entering.offset};
  const bool stops[] = {room[0] > limit[0], room[1] > limit[1]};
  const auto signOfWay = [](std::size_t way) { return static_cast<Real>(1 - 2 * static_cast<int>(way)); };
  const auto pivotOf = [&](std::size_t way) {
    return stops[way] ? kernels_.choose(arrays, signOfWay(way), limit[way]) : Pivot<Real>{0, -1};
  };
  std::size_t way = std::min(room[1], limit[1]) < std::min(room[0], limit[0]) ? 1 : 0;
  Pivot<Real> pivot = pivotOf(way);
  if (stops[way] && pivot.size <= WalkTolerances<Real>::safePivot) {
    // The other way is better if it needs no pivot or a sound one.
    const std::size_t other = 1 - way;
    const Pivot<Real> otherPivot = pivotOf(other);
    if (!stops[other] || otherPivot.size > WalkTolerances<Real>::safePivot) {
      way = other;
      pivot = otherPivot;
    }
  }

  const Real sign = signOfWay(way);
  if (pivot.place < 0) {
    kernels_.move(arrays.strips, sign * room[way], z, offset_.data());
    w[column] = way == 1 ? low[column] : high[column];
    return;
  }
  const auto place = static_cast<std::size_t>(pivot.place);
  const Real direction = sign * std::copysign(Real(1), z.row(place));
  const Real open = half_[place] + direction * offset_[place];
  const Real step = sign * (std::max(open, Real(0)) / pivot.size);
  kernels_.move(arrays.strips, step, z, offset_.data());
  const int leaving = basis_[place];
  w[leaving] = (direction > 0 ? low : high)[leaving];
  form_.push(place, static_cast<std::ptrdiff_t>(entering.column));
  basis_[place] = column;
  offset_[place] = entering.offset + step;
  half_[place] = entering.half;
}

/**
 * ŵ_F += B⁻¹ T(w - ŵ): iterative refinement, until it gains no more, then into the box again, which it hardly leaves. If that
 * does not bring the error down to rounding, the inverse was at fault and is computed afresh. Returns whether it came down.
 */
template <typename Real>
bool BlockedWalk<Real>::restore(double* w, const double* low, const double* high) {
  const std::size_t rank = tableau_.rank();
  if (rank == 0 || form_.isIdentity()) return true;
  double previous = std::numeric_limits<double>::infinity();
  for (int attempt = 0; attempt < kRestorations; ++attempt) {
    double scale;
    const double error = imbalance(w, scale);
    if (error <= kRounding<Real> * scale) return true;
    if (error > 0.5 * previous) {
      if (error <= kAcceptable * scale) return true;
      refactor();
    }
    previous = error;
    Real* correction = vector_.data();
    std::fill_n(correction, form_.rows(), Real(0));
    for (std::size_t k = 0; k < rank; ++k) correction[k] = static_cast<Real>(probe_[k] / error);
    form_.apply(correction);
    bool clipped = false;
    for (std::size_t k = 0; k < rank; ++k) {
      const auto i = static_cast<std::size_t>(basis_[k]);
      const double wanted = w[i] + static_cast<double>(correction[k]) * error;
      w[i] = std::clamp(wanted, low[i], high[i]);
      clipped = clipped || w[i] != wanted;
    }
    // B⁻¹ is right to `drift`: what this correction leaves is known to be nothing, unless the box took part of it.
    if (!clipped && error * WalkTolerances<Real>::drift <= kRounding<Real> * scale) return true;
    if (seemsBalanced(w, kRounding<Real> * scale)) return true;
  }
  double scale;
  const double error = imbalance(w, scale);
  return error <= kTooMuch * scale;
}

/** Whether random combinations of the entries of T(w₀ - w) are all within `limit`. At a fraction of the cost of all entries. */
template <typename Real>
bool BlockedWalk<Real>::seemsBalanced(const double* w, double limit) const {
  double sums[kWitnesses] = {};
  const auto add = [&](std::size_t k, const double* column) {
    const auto i = static_cast<std::size_t>(tableau_.columns[k]);
    const double change = original_[i] - w[i];
    for (std::size_t s = 0; s < kWitnesses; ++s) sums[s] += change * column[s];
  };
  const std::size_t rank = tableau_.rank();
  for (std::size_t k = 0; k < rank; ++k) add(k, signs_.column(k));
  for (std::size_t k = 0; k < moved_.size(); ++k) add(rank + k, witnesses_.column(k));
  return std::all_of(sums, sums + kWitnesses, [&](double sum) { return std::abs(sum) <= limit; });
}

/** probe_ ← T(w₀ - w), w₀ the weights before the walk. Returns its largest entry, and in `scale` the largest of w₀ - w. */
template <typename Real>
double BlockedWalk<Real>::imbalance(const double* w, double& scale) {
  const std::size_t rank = tableau_.rank();
  const auto move = [&](std::size_t k) {
    const auto i = static_cast<std::size_t>(tableau_.columns[k]);
    return original_[i] - w[i];
  };
  for (std::size_t k = 0; k < rank; ++k) probe_[k] = move(k);
  for (std::size_t k = 0; k < moved_.size(); ++k) moved_[k] = move(rank + k);
  scale = std::max(largestOf(rank, probe_.data()), largestOf(moved_.size(), moved_.data()));
  linalg::gemv(linalg::kPlain, rank, moved_.size(), 1.0, tableau_.t.data(), rank, moved_.data(), 1.0, probe_.data());
  return largestOf(rank, probe_.data());
}

template <typename Real>
std::size_t BlockedWalk<Real>::bytes() const {
  return form_.bytes() + vector_.bytes() + offset_.bytes() + half_.bytes() +
         (original_.size() + moved_.size() + probe_.size() + kWitnesses * original_.size()) * sizeof(double) +
         (basis_.size()) * sizeof(int);
}

template class BlockedWalk<float>;
template class BlockedWalk<double>;

}  // namespace vertexq
