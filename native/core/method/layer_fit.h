// What every method that fits codes to data works on.
#pragma once

#include <cstdint>
#include <vector>

#include "decode/layer_alphabets.h"
#include "linalg/matrix.h"

namespace vertexq {

/**
 * A layer whose weights are to lie on given alphabets with the least (q - w)ᵀH(q - w), neuron by neuron. H is the damped Gram
 * matrix of the inputs (decode/damping.h), N × N; w a column of `weights`, N × neurons.
 */
struct LayerFit {
  const Matrix& h;
  const Matrix& weights;
  LayerAlphabets alphabets;

  std::size_t inFeatures() const { return weights.rows(); }
  std::size_t neurons() const { return weights.cols(); }
};

/** An answer: codes by neuron (neurons × N) and, per neuron, (q - w)ᵀH(q - w). */
struct LayerCodes {
  std::vector<std::int8_t> codes;
  std::vector<double> errors;
};

}  // namespace vertexq
