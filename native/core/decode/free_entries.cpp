#include "decode/free_entries.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <type_traits>

#include "decode/cholesky.h"
#include "decode/coefficients.h"
#include "decode/column_sums.h"
#include "decode/damping.h"
#include "error.h"
#include "linalg/real_blas.h"
#include "linalg/simd.h"

namespace vertexq {

namespace {

/**
 * Steps of refinement after a solution with the float32 factor of a float64 system: one leaves less than 1e-8 of the
 * gradient, on all data that the tests know.
 */
constexpr int kRefinements = 1;

/** A correction that is not this much smaller than the one before it says that float32 is not enough. */
constexpr double kContraction = 0.5;

/** As in coefficients.cpp: beyond this any finite matrix has a factor. */
constexpr double kMostDamping = 1e10;

/** Columns a multiple of 4096 bytes apart would all fall into the same places of the cache. */
std::size_t strideFor(std::size_t rows) { return rows % 64 == 0 ? rows + 16 : rows; }

}  // namespace

template <typename Real>
FreeEntrySystem<Real>::FreeEntrySystem(const BasicMatrix<Real>& h) : h_(h) {
  if constexpr (std::is_same_v<Real, double>) {
    scale_ = unitScale(h);
    copy_ = FloatMatrix(h.rows(), h.cols());
    for (std::size_t i = 0; i < h.rows() * h.cols(); ++i) copy_.data()[i] = static_cast<float>(h.data()[i] * scale_);
  }
}

template <typename Real>
const FloatMatrix& FreeEntrySystem<Real>::single() const {
  if constexpr (std::is_same_v<Real, float>)
    return h_;
  else
    return copy_;
}

template <typename Real>
FreeEntryDecoder<Real>::FreeEntryDecoder(const FreeEntrySystem<Real>& system, std::size_t maxFree, std::size_t maxWidth)
    : system_(system),
      maxFree_(maxFree),
      factor_(maxFree * (maxFree + 16)),
      cholesky_(maxFree),
      vector_(maxFree),
      wideVector_(maxFree),
      error_(system.size()),
      gradient_(system.size()),
      search_(maxWidth > 1 ? maxFree : 0, maxWidth),
      targets_(maxWidth > 1 ? maxFree : 0),
      alphabets_(targets_.size()),
      found_(targets_.size()) {
  places_.reserve(maxFree);
  nonzero_.reserve(system.size());
}

/** L of H_TT back to front, `shift` added to its diagonal. False as choleskyLower's. */
template <typename Real>
template <typename Work, typename Entry>
bool FreeEntryDecoder<Real>::factorise(const BasicMatrix<Entry>& h, std::vector<Work>& factor, double shift) {
  const std::size_t r = places_.size();
  const std::uint32_t* VERTEXQ_RESTRICT places = places_.data();
  for (std::size_t j = 0; j < r; ++j) {
    const Entry* VERTEXQ_RESTRICT from = h.column(places[j]);
    Work* VERTEXQ_RESTRICT to = &factor[j * stride_];
    for (std::size_t i = j; i < r; ++i) to[i] = static_cast<Work>(from[places[i]]);
    to[j] += static_cast<Work>(shift);
  }
  if constexpr (std::is_same_v<Work, float>) {
    if (!cholesky_.factor(r, factor.data(), stride_)) return false;
  } else {
    if (linalg::potrf('L', r, factor.data(), stride_) != 0) return false;
  }
  const double least = kLeastPivot * static_cast<double>(std::numeric_limits<Work>::epsilon());
  for (std::size_t j = 0; j < r; ++j) {
    const double pivot = factor[j * stride_ + j];
    if (!(pivot * pivot > least * h(places[j], places[j]))) return false;
  }
  return true;
}

template <typename Real>
void FreeEntryDecoder<Real>::updateGradient() {
  nonzero_.clear();
  for (std::size_t i = 0; i < error_.size(); ++i)
    if (error_[i] != 0) nonzero_.push_back(i);
  std::fill(gradient_.begin(), gradient_.end(), Real(0));
  addColumns(system_.h(), nonzero_.data(), nonzero_.size(), error_.data(), gradient_.data());
}

/** Sets error_ on T to c - w. `factor` is that of scale·H_TT. Returns whether refinement converged. */
template <typename Real>
template <typename Work>
bool FreeEntryDecoder<Real>::leastSquares(const std::vector<Work>& factor, std::vector<Work>& x, double scale,
                                          int refinements) {
  const std::size_t r = places_.size();
  double last = std::numeric_limits<double>::infinity();
  for (int round = 0; round <= refinements; ++round) {
    updateGradient();
    // A float32 solution wants a right-hand side near 1: the gradient of float64 may be out of its range.
    double largest = 0;
    for (std::size_t p = 0; p < r; ++p)
      largest = std::max(largest, std::abs(static_cast<double>(gradient_[places_[p]])));
    if (!std::isfinite(largest)) throw Error("ERR_VERTEXQ_NUMERIC", "the weights or the Gram matrix overflow");
    if (largest == 0) return true;
    for (std::size_t p = 0; p < r; ++p) x[p] = static_cast<Work>(gradient_[places_[p]] / largest);
    linalg::trsv(CblasLower, linalg::kPlain, CblasNonUnit, r, factor.data(), stride_, x.data());
    linalg::trsv(CblasLower, linalg::kTransposed, CblasNonUnit, r, factor.data(), stride_, x.data());
    double square = 0;
    for (std::size_t p = 0; p < r; ++p) square += static_cast<double>(x[p]) * x[p];
    const double length = std::sqrt(square) * scale * largest;
    if (!(length < kContraction * last)) return false;
    last = length;
    for (std::size_t p = 0; p < r; ++p) error_[places_[p]] -= static_cast<Real>(x[p] * (scale * largest));
  }
  return true;
}

template <typename Real>
template <typename Work>
void FreeEntryDecoder<Real>::roundAlong(const std::vector<Work>& factor, std::vector<Work>& errors,
                                        const LayerAlphabets& alphabets, std::size_t neuron, const Real* w, Real* q,
                                        std::int8_t* codes) const {
  const std::size_t r = places_.size();
  for (std::size_t p = r; p-- > 0;) {
    const std::size_t input = places_[p];
    const Work* column = &factor[p * stride_];
    const Work sum = linalg::dot(r - 1 - p, column + p + 1, &errors[p + 1]);
    const Real target = w[input] + error_[input];
    const Real centre = target - static_cast<Real>(sum / column[p]);
    if (std::isnan(centre))
      throw Error("ERR_VERTEXQ_NUMERIC",
                  "input " + std::to_string(input) + ": the weights or the Gram matrix overflow");
    const Alphabet& alphabet = alphabets.of(neuron, input);
    const int code = alphabet.nearest(centre);
    const double level = alphabet.level(code);
    codes[input] = static_cast<std::int8_t>(code);
    q[input] = static_cast<Real>(level);
    errors[p] = static_cast<Work>(level - target);
  }
}

/** roundAlong with several answers in flight. False, and nothing done, where a centre is NaN. */
template <typename Real>
bool FreeEntryDecoder<Real>::searchAlong(const LayerAlphabets& alphabets, std::size_t neuron, std::size_t width,
                                         const Real* w, Real* q, std::int8_t* codes) {
  const std::size_t r = places_.size();
  for (std::size_t p = 0; p < r; ++p) {
    targets_[p] = static_cast<double>(w[places_[p]]) + static_cast<double>(error_[places_[p]]);
    alphabets_[p] = &alphabets.of(neuron, places_[p]);
  }
  if (!search_.run(r, width, factor_.data(), stride_, targets_.data(), alphabets_.data(), found_.data())) return false;
  for (std::size_t p = 0; p < r; ++p) {
    codes[places_[p]] = found_[p];
    q[places_[p]] = static_cast<Real>(alphabets_[p]->level(found_[p]));
  }
  return true;
}

/** The factor in float64, with as much damping as that takes. */
template <typename Real>
FreeEntryOutcome FreeEntryDecoder<Real>::factoriseWide() {
  if (wideFactor_.empty()) wideFactor_.resize(maxFree_ * (maxFree_ + 16));
  double mean = 0;
  for (const std::uint32_t place : places_)
    mean += static_cast<double>(system_.h()(place, place)) / static_cast<double>(places_.size());
  FreeEntryOutcome outcome{true, 0};
  while (!factorise(system_.h(), wideFactor_, outcome.damping * mean)) {
    outcome.damping = std::max(10 * outcome.damping, kLeastDamping);
    if (!(outcome.damping < kMostDamping))
      throw Error("ERR_VERTEXQ_NUMERIC", "the Gram matrix has no Cholesky factorisation, whatever its damping");
  }
  return outcome;
}

template <typename Real>
FreeEntryOutcome FreeEntryDecoder<Real>::decode(const Real* w, Real* q, std::int8_t* codes, const int* free,
                                                std::size_t count, const LayerAlphabets& alphabets, std::size_t neuron,
                                                std::size_t width) {
  places_.resize(count);
  for (std::size_t p = 0; p < count; ++p) places_[p] = static_cast<std::uint32_t>(free[count - 1 - p]);
  stride_ = strideFor(count);
  const auto holdFixed = [&] {
    for (std::size_t i = 0; i < error_.size(); ++i) error_[i] = q[i] - w[i];
    for (const std::uint32_t place : places_) error_[place] = 0;
  };
  if (count == 0) return {};

  holdFixed();
  const int refinements = std::is_same_v<Real, double> ? kRefinements : 0;
  if (factorise(system_.single(), factor_, 0) && leastSquares(factor_, vector_, system_.scale(), refinements)) {
    if (width < 2 || !searchAlong(alphabets, neuron, width, w, q, codes))
      roundAlong(factor_, vector_, alphabets, neuron, w, q, codes);
    return {};
  }
  holdFixed();
  const FreeEntryOutcome outcome = factoriseWide();
  leastSquares(wideFactor_, wideVector_, 1, 0);
  roundAlong(wideFactor_, wideVector_, alphabets, neuron, w, q, codes);
  return outcome;
}

template <typename Real>
bool FreeEntryDecoder<Real>::redecode(const double* q, const double* gradient, std::int8_t* codes, const int* inputs,
                                      std::size_t count, const LayerAlphabets& alphabets, std::size_t neuron,
                                      std::size_t width) {
  places_.resize(count);
  for (std::size_t p = 0; p < count; ++p) places_[p] = static_cast<std::uint32_t>(inputs[count - 1 - p]);
  stride_ = strideFor(count);
  double largest = 0;
  for (const std::uint32_t place : places_) largest = std::max(largest, std::abs(gradient[place]));
  if (!std::isfinite(largest) || !factorise(system_.single(), factor_, 0)) return false;
  if (largest > 0) {
    for (std::size_t p = 0; p < count; ++p) vector_[p] = static_cast<float>(gradient[places_[p]] / largest);
    linalg::trsv(CblasLower, linalg::kPlain, CblasNonUnit, count, factor_.data(), stride_, vector_.data());
    linalg::trsv(CblasLower, linalg::kTransposed, CblasNonUnit, count, factor_.data(), stride_, vector_.data());
  } else {
    std::fill_n(vector_.begin(), count, 0.0f);
  }
  for (std::size_t p = 0; p < count; ++p) {
    targets_[p] = q[places_[p]] - static_cast<double>(vector_[p]) * system_.scale() * largest;
    alphabets_[p] = &alphabets.of(neuron, places_[p]);
  }
  if (!search_.run(count, width, factor_.data(), stride_, targets_.data(), alphabets_.data(), found_.data()))
    return false;
  for (std::size_t p = 0; p < count; ++p) codes[places_[p]] = found_[p];
  return true;
}

template class FreeEntrySystem<float>;
template class FreeEntrySystem<double>;
template class FreeEntryDecoder<float>;
template class FreeEntryDecoder<double>;

}  // namespace vertexq
