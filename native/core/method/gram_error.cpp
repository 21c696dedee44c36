#include "method/gram_error.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "decode/damping.h"
#include "error.h"
#include "linalg/real_blas.h"
#include "method/layer_values.h"
#include "method/quadratic_forms.h"
#include "method/targets.h"

namespace vertexq {

namespace {

double sum(const std::vector<double>& values) {
  double total = 0;
  for (const double v : values) total += v;
  return total;
}

/** A power of two's exponent, of matrices and weights in units near 1: a square that underflows would be an error of 0 that no one has measured. */
struct Units {
  int weights = 0;
  int half = 0;  // matrices are times 2^(2·half)

  double matrices() const { return std::ldexp(1.0, 2 * half); }
  /** Of squares in these units. */
  Norms norms(double error, double signal) const {
    if (!std::isfinite(error) || !std::isfinite(signal))
      throw Error("ERR_VERTEXQ_NUMERIC",
                  "the squares of the layer's outputs overflow float64: the data does not belong to these weights");
    const auto norm = [&](double square) { return std::ldexp(std::sqrt(std::max(square, 0.0)), weights - half); };
    return {norm(error), norm(signal)};
  }
};

int exponentOf(const Weights& weights) { return layerExponent(weights.data, weights.inFeatures * weights.outFeatures); }

/** ‖X̃(q - t)‖ and ‖X̃t‖. */
Norms errorAgainst(const Matrix& targets, const Weights& weights, const Rounded& rounded,
                   const LayerAlphabets& alphabets, const Matrix& gram, unsigned threads, const JobControl& control) {
  const std::size_t n = weights.inFeatures, neurons = weights.outFeatures;
  const Units units{std::max(exponentOf(weights), layerExponent(targets.data(), n * neurons)),
                    std::ilogb(unitScale(gram)) / 2};
  const Matrix h = matrixTimes(gram, units.matrices());
  const auto scaled = [&](double* v) { linalg::timesPower(n, -units.weights, v); };
  const double error = sum(quadraticForms(h, neurons, threads, control, [&](std::size_t neuron, double* v) {
    storedLevels(rounded, alphabets, neuron, v);
    for (std::size_t i = 0; i < n; ++i) v[i] -= targets(i, neuron);
    scaled(v);
  }));
  const double signal = sum(quadraticForms(h, neurons, threads, control, [&](std::size_t neuron, double* v) {
    std::copy_n(targets.column(neuron), n, v);
    scaled(v);
  }));
  return units.norms(error, signal);
}

}  // namespace

Norms ownError(const Weights& weights, const Rounded& rounded, std::size_t groupSize, const Matrix& gram,
               unsigned threads, const JobControl& control) {
  Matrix targets(weights.inFeatures, weights.outFeatures);
  std::copy_n(weights.data, weights.inFeatures * weights.outFeatures, targets.data());
  return errorAgainst(targets, weights, rounded, layerView(rounded.alphabets, weights.inFeatures, groupSize), gram,
                      threads, control);
}

Norms gramError(const Weights& weights, const Rounded& rounded, std::size_t groupSize, const GramData& data,
                double damping, unsigned threads, const JobControl& control) {
  if (!data.paired()) return ownError(weights, rounded, groupSize, data.h, threads, control);
  const std::size_t n = weights.inFeatures, neurons = weights.outFeatures;
  const LayerAlphabets alphabets = layerView(rounded.alphabets, n, groupSize);
  // Without XᵀX: X̃w* stands for Xw.
  if (data.target.cols() == 0)
    return errorAgainst(fitTargets(weights, data, damped(data.h, damping), threads, control), weights, rounded,
                        alphabets, data.h, threads, control);
  const Units units{exponentOf(weights), std::ilogb(std::min(unitScale(data.h), unitScale(data.target))) / 2};
  const double unit = units.matrices();
  const auto scaled = [&](double* v) { linalg::timesPower(n, -units.weights, v); };
  const auto codes = [&](std::size_t neuron, double* v) {
    storedLevels(rounded, alphabets, neuron, v);
    scaled(v);
  };
  const auto floats = [&](std::size_t neuron, double* v) {
    std::copy_n(weights.neuron(neuron), n, v);
    scaled(v);
  };
  // ‖X̃q - Xw‖² = qᵀHq - 2qᵀGw + wᵀFw
  const double output = sum(quadraticForms(matrixTimes(data.h, unit), neurons, threads, control, codes));
  const double signal = sum(quadraticForms(matrixTimes(data.target, unit), neurons, threads, control, floats));
  std::vector<double> mixed(neurons);
  withProducts(matrixTimes(data.cross, unit), neurons, threads, control, floats,
               [&](std::size_t neuron, const double*, const double* product) {
                 std::vector<double> q(n);
                 codes(neuron, q.data());
                 mixed[neuron] = linalg::dot(n, q.data(), product);
               });
  return units.norms(output - 2 * sum(mixed) + signal, signal);
}

}  // namespace vertexq
