#include "method/targets.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "decode/cholesky.h"
#include "decode/damping.h"
#include "error.h"
#include "linalg/real_blas.h"
#include "parallel/thread_pool.h"

namespace vertexq {

namespace {

/** Neurons of a task; fixed, for GEMM's bits depend on it. */
constexpr std::size_t kBlock = 64;

/** The even exponent e for which the largest of the values times 2^-e is near 1, within what 2^-e can be. */
int evenExponent(const double* values, std::size_t count) {
  double largest = 0;
  for (std::size_t i = 0; i < count; ++i) largest = std::max(largest, std::abs(values[i]));
  return largest > 0 && std::isfinite(largest) ? std::max(std::ilogb(largest), -1000) / 2 * 2 : 0;
}

/** Runs task(first neuron, neurons) over blocks of neurons. */
template <typename Task>
void forNeurons(std::size_t neurons, unsigned threads, const JobControl& control, const Task& task) {
  ThreadPool::shared().parallelFor((neurons + kBlock - 1) / kBlock, threads, [&](std::size_t block, unsigned) {
    control.throwIfCancelled();
    const std::size_t first = block * kBlock;
    task(first, std::min(kBlock, neurons - first));
  });
}

/** (damped H)⁻¹(G - H)w for any damping: (G - H)w, which does not depend on it, is computed once. */
class Corrections {
 public:
  Corrections(const Weights& weights, const GramData& data, unsigned threads, const JobControl& control)
      : weights_(weights),
        scale_(std::ldexp(1.0, -evenExponent(data.h.data(), weights.inFeatures * weights.inFeatures))),
        weightUnit_(evenExponent(weights.data, weights.inFeatures * weights.outFeatures)),
        asked_(weights.inFeatures, weights.outFeatures) {
    // In units near 1, by even powers of two, which change no bit of the outcome but where a product would overflow.
    const std::size_t n = weights.inFeatures;
    Matrix difference(n, n);
    for (std::size_t i = 0; i < n * n; ++i)
      difference.data()[i] = data.cross.data()[i] * scale_ - data.h.data()[i] * scale_;
    forNeurons(weights.outFeatures, threads, control, [&](std::size_t first, std::size_t count) {
      std::vector<double> scaled(weights.neuron(first), weights.neuron(first) + n * count);
      linalg::timesPower(n * count, -weightUnit_, scaled.data());
      linalg::gemm(linalg::kPlain, linalg::kPlain, n, count, n, 1.0, difference.data(), n, scaled.data(), n, 0.0,
                   asked_.column(first), n);
    });
  }

  /** A neuron a column. Throws ERR_VERTEXQ_NUMERIC where `damped` is not positive definite. */
  Matrix steps(Matrix damped, unsigned threads, const JobControl& control) const {
    const std::size_t n = weights_.inFeatures;
    for (std::size_t i = 0; i < n * n; ++i) damped.data()[i] *= scale_;
    if (!choleskyLower(damped, threads, control))
      throw Error("ERR_VERTEXQ_NUMERIC",
                  "the damped Gram matrix of the inputs is not positive definite: raise the damping");
    Matrix steps = asked_;
    forNeurons(weights_.outFeatures, threads, control, [&](std::size_t first, std::size_t count) {
      double* own = steps.column(first);
      linalg::trsm(CblasLeft, CblasLower, linalg::kPlain, CblasNonUnit, n, count, damped.data(), n, own, n);
      linalg::trsm(CblasLeft, CblasLower, linalg::kTransposed, CblasNonUnit, n, count, damped.data(), n, own, n);
      linalg::timesPower(n * count, weightUnit_, own);
    });
    return steps;
  }

 private:
  const Weights& weights_;
  double scale_;
  int weightUnit_;
  Matrix asked_;
};

Matrix weightsOf(const Weights& weights) {
  Matrix columns(weights.inFeatures, weights.outFeatures);
  std::copy_n(weights.data, weights.inFeatures * weights.outFeatures, columns.data());
  return columns;
}

/** w and a part of the step from it. */
Matrix corrected(const Weights& weights, Matrix steps, double strength) {
  const std::size_t n = weights.inFeatures;
  for (std::size_t i = 0; i < n * weights.outFeatures; ++i) {
    const double w = weights.data[i];
    double target = w + steps.data()[i];
    if (!std::isfinite(target))
      throw Error("ERR_VERTEXQ_NUMERIC",
                  "neuron " + std::to_string(i / n) + ": what error correction asks of the weight of input " +
                      std::to_string(i % n) +
                      " overflows float64: the weights or the products of activations with target activations are "
                      "too large");
    if (strength != 1) target = w + strength * (target - w);
    steps.data()[i] = target;
  }
  return steps;
}

/** What steps s from w change of ‖X̃v - Xw‖² on other data: Σ 2s'ᵀ(H - G)w + s'ᵀHs', s' = strength·s. */
class HeldOutChange {
 public:
  HeldOutChange(const Weights& weights, const GramData& data, unsigned threads, const JobControl& control)
      : h_(data.h), gradient_(weights.inFeatures, weights.outFeatures) {
    const std::size_t n = weights.inFeatures;
    Matrix difference = data.h;
    for (std::size_t i = 0; i < n * n; ++i) difference.data()[i] -= data.cross.data()[i];
    forNeurons(weights.outFeatures, threads, control, [&](std::size_t first, std::size_t count) {
      linalg::gemm(linalg::kPlain, linalg::kPlain, n, count, n, 1.0, difference.data(), n, weights.neuron(first), n,
                   0.0, gradient_.column(first), n);
    });
  }

  double of(const Matrix& steps, double strength, unsigned threads, const JobControl& control) const {
    const std::size_t n = steps.rows();
    std::vector<double> changes(steps.cols());
    forNeurons(steps.cols(), threads, control, [&](std::size_t first, std::size_t count) {
      Matrix product(n, count);
      linalg::gemm(linalg::kPlain, linalg::kPlain, n, count, n, 1.0, h_.data(), n, steps.column(first), n, 0.0,
                   product.data(), n);
      for (std::size_t k = 0; k < count; ++k) {
        const double* s = steps.column(first + k);
        changes[first + k] = 2 * strength * linalg::dot(n, s, gradient_.column(first + k)) +
                             strength * strength * linalg::dot(n, s, product.column(k));
      }
    });
    double total = 0;
    for (const double change : changes) total += change;
    return total;
  }

 private:
  const Matrix& h_;
  Matrix gradient_;
};

}  // namespace

Matrix fitTargets(const Weights& weights, const GramData& data, const Matrix& damped, unsigned threads,
                  const JobControl& control) {
  if (!data.paired()) return weightsOf(weights);
  return corrected(weights, Corrections(weights, data, threads, control).steps(damped, threads, control), 1);
}

Correction correctedTargets(const Weights& weights, const GramData& data, const GramData* holdout, double strength,
                            unsigned threads, const JobControl& control) {
  const Corrections corrections(weights, data, threads, control);
  const auto stepsFor = [&](double damping) { return corrections.steps(damped(data.h, damping), threads, control); };
  if (!holdout || !holdout->paired())
    return {corrected(weights, stepsFor(kCorrectionDamping), strength), kCorrectionDamping};
  const HeldOutChange change(weights, *holdout, threads, control);
  Correction best{Matrix(), std::numeric_limits<double>::infinity()};
  double least = 0;
  for (const double damping : kCorrectionDampings) {
    Matrix steps = stepsFor(damping);
    const double found = change.of(steps, strength, threads, control);
    if (!(found < least)) continue;
    least = found;
    best = {std::move(steps), damping};
  }
  best.targets = std::isinf(best.damping) ? weightsOf(weights) : corrected(weights, std::move(best.targets), strength);
  return best;
}

}  // namespace vertexq
