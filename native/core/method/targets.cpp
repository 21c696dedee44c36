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

}  // namespace

Matrix fitTargets(const Weights& weights, const GramData& data, const Matrix& damped, unsigned threads,
                  const JobControl& control) {
  const std::size_t n = weights.inFeatures, neurons = weights.outFeatures;
  Matrix targets(n, neurons);
  std::copy_n(weights.data, n * neurons, targets.data());
  if (!data.paired()) return targets;

  // In units near 1, by even powers of two, which change no bit of the outcome but where a product would overflow.
  const int unit = evenExponent(damped.data(), n * n), weightUnit = evenExponent(weights.data, n * neurons);
  const double scale = std::ldexp(1.0, -unit);
  Matrix difference(n, n);
  for (std::size_t i = 0; i < n * n; ++i)
    difference.data()[i] = data.cross.data()[i] * scale - data.h.data()[i] * scale;
  Matrix factor = damped;
  for (std::size_t i = 0; i < n * n; ++i) factor.data()[i] *= scale;
  if (!choleskyLower(factor, threads, control))
    throw Error("ERR_VERTEXQ_NUMERIC",
                "the damped Gram matrix of the inputs is not positive definite: raise the damping");
  ThreadPool::shared().parallelFor((neurons + kBlock - 1) / kBlock, threads, [&](std::size_t block, unsigned) {
    control.checkpoint();
    const std::size_t first = block * kBlock, count = std::min(kBlock, neurons - first);
    Matrix step(n, count);
    std::vector<double> scaled(weights.neuron(first), weights.neuron(first) + n * count);
    for (double& w : scaled) w = std::ldexp(w, -weightUnit);
    linalg::gemm(linalg::kPlain, linalg::kPlain, n, count, n, 1.0, difference.data(), n, scaled.data(), n, 0.0,
                 step.data(), n);
    linalg::trsm(CblasLeft, CblasLower, linalg::kPlain, CblasNonUnit, n, count, factor.data(), n, step.data(), n);
    linalg::trsm(CblasLeft, CblasLower, linalg::kTransposed, CblasNonUnit, n, count, factor.data(), n, step.data(), n);
    for (std::size_t i = 0; i < n * count; ++i) step.data()[i] = std::ldexp(step.data()[i], weightUnit);
    linalg::axpy(n * count, 1.0, step.data(), targets.column(first));
    for (std::size_t i = 0; i < n * count; ++i)
      if (!std::isfinite(targets.column(first)[i]))
        throw Error("ERR_VERTEXQ_NUMERIC",
                    "neuron " + std::to_string(first + i / n) + ": what error correction asks of the weight of input " +
                        std::to_string(i % n) +
                        " overflows float64: the weights or the products of activations with target activations are "
                        "too large");
  });
  return targets;
}

namespace {

/** ‖X̃V - XWᵀ‖² - ‖XWᵀ‖² on other data: Σ vᵀHv - 2vᵀGw. */
double outputDistance(const Matrix& v, const Weights& weights, const GramData& data, unsigned threads,
                      const JobControl& control) {
  const std::size_t n = v.rows(), neurons = v.cols();
  std::vector<double> sums(neurons);
  ThreadPool::shared().parallelFor((neurons + kBlock - 1) / kBlock, threads, [&](std::size_t block, unsigned) {
    control.checkpoint();
    const std::size_t first = block * kBlock, count = std::min(kBlock, neurons - first);
    Matrix product(n, count);
    linalg::gemm(linalg::kPlain, linalg::kPlain, n, count, n, 1.0, data.h.data(), n, v.column(first), n, 0.0,
                 product.data(), n);
    linalg::gemm(linalg::kPlain, linalg::kPlain, n, count, n, -2.0, data.cross.data(), n, weights.neuron(first), n, 1.0,
                 product.data(), n);
    for (std::size_t k = 0; k < count; ++k) sums[first + k] = linalg::dot(n, v.column(first + k), product.column(k));
  });
  double total = 0;
  for (const double sum : sums) total += sum;
  return total;
}

}  // namespace

Correction correctedTargets(const Weights& weights, const GramData& data, const GramData* holdout, double strength,
                            unsigned threads, const JobControl& control) {
  const auto stepped = [&](double damping) {
    Matrix targets = fitTargets(weights, data, damped(data.h, damping), threads, control);
    const std::size_t count = weights.inFeatures * weights.outFeatures;
    for (std::size_t i = 0; strength != 1 && i < count; ++i)
      targets.data()[i] = weights.data[i] + strength * (targets.data()[i] - weights.data[i]);
    return targets;
  };
  if (!holdout || !holdout->paired()) return {stepped(kCorrectionDamping), kCorrectionDamping};
  Correction best{Matrix(weights.inFeatures, weights.outFeatures), std::numeric_limits<double>::infinity()};
  std::copy_n(weights.data, weights.inFeatures * weights.outFeatures, best.targets.data());
  double least = outputDistance(best.targets, weights, *holdout, threads, control);
  for (const double damping : kCorrectionDampings) {
    Matrix targets = stepped(damping);
    const double distance = outputDistance(targets, weights, *holdout, threads, control);
    if (!(distance < least)) continue;
    least = distance;
    best = {std::move(targets), damping};
  }
  return best;
}

}  // namespace vertexq
