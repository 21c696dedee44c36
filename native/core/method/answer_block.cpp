#include "method/answer_block.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "linalg/real_blas.h"

namespace vertexq {

namespace {

/** Rounds of recombination at most; more hardly ever find more (bench/quality). */
constexpr int kRecombinations = 4;
/** Answers in flight when entries that differ are decoded. */
constexpr std::size_t kRecombinationWidth = 8;

/** Below so many columns GEMM spends its time on packing H. */
constexpr std::size_t kLeastGemm = 4;

}  // namespace

AnswerBlock::AnswerBlock(const LayerFit& fit, const FreeEntrySystem<float>& system)
    : fit_(fit),
      descent_(fit.h),
      refit_(fit.h, fit.alphabets.groupSize),
      decoder_(system, fit.inFeatures(), kMostAnswers),
      byActivation_(fit.inFeatures()),
      values_(fit.inFeatures(), kWidth),
      gradient_(fit.inFeatures(), kWidth),
      difference_(fit.inFeatures(), kWidth),
      codes_(fit.inFeatures() * kWidth),
      tried_(fit.inFeatures()) {
  std::iota(byActivation_.begin(), byActivation_.end(), 0);
  const auto activation = [&](int i) { return fit.h(static_cast<std::size_t>(i), static_cast<std::size_t>(i)); };
  std::stable_sort(byActivation_.begin(), byActivation_.end(),
                   [&](int a, int b) { return activation(a) > activation(b); });
  differing_.reserve(fit.inFeatures());
}

void AnswerBlock::select(std::size_t first, std::size_t count) {
  first_ = first;
  count_ = count;
}

void AnswerBlock::load(const LayerCodes& best) {
  const std::size_t n = fit_.inFeatures();
  std::copy_n(best.codes.data() + first_ * n, n * count_, codes_.data());
  dequantize();
}

void AnswerBlock::dequantize() {
  for (std::size_t k = 0; k < count_; ++k)
    for (std::size_t i = 0; i < fit_.inFeatures(); ++i)
      values_(i, k) = fit_.alphabets.of(first_ + k, i).level(codes(k)[i]);
}

void AnswerBlock::updateGradients() {
  const std::size_t n = fit_.inFeatures();
  const double* w = fit_.weights.column(first_);
  for (std::size_t i = 0; i < n * count_; ++i) difference_.data()[i] = values_.data()[i] - w[i];
  if (count_ < kLeastGemm) {
    for (std::size_t k = 0; k < count_; ++k)
      linalg::gemv(linalg::kPlain, n, n, 1.0, fit_.h.data(), n, difference_.column(k), 0.0, gradient_.column(k));
    return;
  }
  linalg::gemm(linalg::kPlain, linalg::kPlain, n, count_, n, 1.0, fit_.h.data(), n, difference_.data(), n, 0.0,
               gradient_.data(), n);
}

/** Coordinate descent. Returns (q - w)ᵀH(q - w). */
double AnswerBlock::polish(std::size_t k) {
  const double* w = fit_.weights.column(first_ + k);
  const double* q = values_.column(k);
  double* g = gradient_.column(k);
  descent_.run(w, values_.column(k), g, codes(k), fit_.alphabets, first_ + k);
  double error = 0;
  for (std::size_t i = 0; i < fit_.inFeatures(); ++i) error += (q[i] - w[i]) * g[i];
  return error;
}

void AnswerBlock::keepBetter(LayerCodes& best, double slack, const JobControl& control) {
  const std::size_t n = fit_.inFeatures();
  updateGradients();
  for (std::size_t k = 0; k < count_; ++k) {
    control.throwIfCancelled();
    double& least = best.errors[first_ + k];
    const double before = least, limit = before * (1 + slack);
    least = limit;
    const double error = recombine(k, polish(k), best);
    if (error < least) {
      least = error;
      std::copy_n(codes(k), n, best.codes.data() + (first_ + k) * n);
    } else if (least == limit) {
      least = before;  // nothing was taken
    }
  }
}

/** With the polished answer k of the given error. Returns the error of what the block then holds. */
double AnswerBlock::recombine(std::size_t k, double error, LayerCodes& best) {
  const std::size_t n = fit_.inFeatures(), neuron = first_ + k;
  std::int8_t* answer = codes(k);
  std::int8_t* better = best.codes.data() + neuron * n;
  for (int round = 0; round < kRecombinations; ++round) {
    differing_.clear();
    for (const int i : byActivation_)
      if (answer[i] != better[i]) differing_.push_back(i);
    if (differing_.size() < 2) break;  // polished: no single change helps
    if (error < best.errors[neuron]) {
      best.errors[neuron] = error;
      std::copy_n(answer, n, better);
    }
    std::copy_n(answer, n, tried_.data());
    if (!decoder_.redecode(values_.column(k), gradient_.column(k), tried_.data(), differing_.data(), differing_.size(),
                           fit_.alphabets, neuron, kRecombinationWidth))
      break;
    if (std::equal(tried_.begin(), tried_.end(), answer) || std::equal(tried_.begin(), tried_.end(), better)) break;
    for (const int i : differing_) setCode(k, static_cast<std::size_t>(i), tried_[static_cast<std::size_t>(i)]);
    error = polish(k);
  }
  return error;
}

void AnswerBlock::setCode(std::size_t k, std::size_t input, int code) {
  if (codes(k)[input] == code) return;
  const double value = fit_.alphabets.of(first_ + k, input).level(code);
  linalg::axpy(fit_.inFeatures(), value - values_(input, k), fit_.h.column(input), gradient_.column(k));
  values_(input, k) = value;
  codes(k)[input] = static_cast<std::int8_t>(code);
}

void AnswerBlock::refit(const AlphabetOptions& kind, int exponent, std::vector<Alphabet>& alphabets, LayerCodes& best,
                        const JobControl& control) {
  control.throwIfCancelled();
  const std::size_t n = fit_.inFeatures(), groups = fit_.alphabets.groups();
  const auto firstAlphabet = alphabets.begin() + static_cast<std::ptrdiff_t>(first_ * groups);
  kept_.assign(firstAlphabet, firstAlphabet + static_cast<std::ptrdiff_t>(count_ * groups));
  load(best);
  updateGradients();
  for (std::size_t k = 0; k < count_; ++k) {
    Alphabet* own = &alphabets[(first_ + k) * groups];
    refit_.run(kind, values_.column(k), codes(k), gradient_.column(k), -exponent, own);
  }
  dequantize();
  updateGradients();
  for (std::size_t k = 0; k < count_; ++k) {
    const std::size_t neuron = first_ + k;
    const double error = polish(k);
    if (error < best.errors[neuron]) {
      best.errors[neuron] = error;
      std::copy_n(codes(k), n, best.codes.data() + neuron * n);
    } else {
      std::copy_n(kept_.begin() + static_cast<std::ptrdiff_t>(k * groups), groups,
                  alphabets.begin() + static_cast<std::ptrdiff_t>(neuron * groups));
    }
  }
}

}  // namespace vertexq
