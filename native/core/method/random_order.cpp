#include "method/random_order.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <string>

#include "decode/cholesky.h"
#include "error.h"

namespace vertexq {

namespace {

/** Answers in flight. */
constexpr std::size_t kAnswers = 2;
/** Neurons that go through the factor together, so that a column of it is read once for all of them. */
constexpr std::size_t kTogether = 16;
/** In the order, each H_ii counts as if times e^±kSpread at most: between 1 and 2.5 errors were the same. */
constexpr double kSpread = 1.7;

/** Ridges relative to the mean diagonal that the factorisation is tried with, after none. */
constexpr double kLeastRidge = 1e-12;
constexpr double kMostRidge = 1e3;

}  // namespace

RandomOrder::RandomOrder(const LayerFit& fit, std::size_t seed, unsigned threads, const JobControl& control)
    : places_(fit.inFeatures()), factor_(fit.inFeatures(), fit.inFeatures()) {
  const std::size_t n = fit.inFeatures();
  std::mt19937 random(static_cast<unsigned>(seed));
  std::vector<double> key(n);
  double trace = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const double uniform = random() / 4294967296.0;
    key[i] = std::log(fit.h(i, i)) + kSpread * (2 * uniform - 1);
    trace += fit.h(i, i);
  }
  std::iota(places_.begin(), places_.end(), std::size_t{0});
  std::stable_sort(places_.begin(), places_.end(), [&](std::size_t a, std::size_t b) { return key[a] < key[b]; });
  for (double ridge = 0; ridge < kMostRidge; ridge = std::max(10 * ridge, kLeastRidge)) {
    Matrix h(n, n);
    for (std::size_t j = 0; j < n; ++j) {
      const double* column = fit.h.column(places_[j]);
      for (std::size_t i = j; i < n; ++i) h(i, j) = column[places_[i]];
      h(j, j) += ridge * trace / static_cast<double>(n);
    }
    if (!choleskyLower(h, threads, control)) continue;
    for (std::size_t j = 0; j < n; ++j)
      for (std::size_t i = j; i < n; ++i) factor_(i, j) = static_cast<float>(h(i, j));
    return;
  }
  throw Error("ERR_VERTEXQ_NUMERIC", "the damped Gram matrix has no Cholesky factorisation in a random order");
}

OrderedDecoder::OrderedDecoder(const LayerFit& fit)
    : fit_(fit), searches_(kTogether, {fit.inFeatures(), kAnswers}), found_(fit.inFeatures()) {}

void OrderedDecoder::run(const RandomOrder& order, AnswerBlock& block, const JobControl& control) {
  const std::size_t n = fit_.inFeatures();
  for (std::size_t from = 0; from < block.count(); from += kTogether) {
    control.throwIfCancelled();
    const std::size_t together = std::min(kTogether, block.count() - from);
    for (std::size_t t = 0; t < together; ++t) searches_[t].start(n, kAnswers);
    for (std::size_t p = n; p-- > 0;) {
      const std::size_t input = order.places()[p];
      for (std::size_t t = 0; t < together; ++t) {
        const std::size_t neuron = block.first() + from + t;
        if (!searches_[t].step(p, order.factor().column(p) + p, fit_.weights(input, neuron),
                               fit_.alphabets.of(neuron, input)))
          throw Error("ERR_VERTEXQ_NUMERIC",
                      "input " + std::to_string(input) + ": the weights or the Gram matrix overflow");
      }
    }
    for (std::size_t t = 0; t < together; ++t) {
      searches_[t].finish(found_.data());
      for (std::size_t p = 0; p < n; ++p) block.codes(from + t)[order.places()[p]] = found_[p];
    }
  }
  block.dequantize();
}

}  // namespace vertexq
