// What fits and their errors ask of a layer's values: levels, and units that keep squares in range.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "decode/layer_alphabets.h"
#include "layer.h"
#include "linalg/matrix.h"

namespace vertexq {

/** `alphabets`, of outFeatures × groups. */
inline LayerAlphabets layerView(const std::vector<Alphabet>& alphabets, std::size_t inFeatures, std::size_t groupSize) {
  return {alphabets.data(), inFeatures, groupSize};
}

/** A neuron's weights as they are stored. */
inline void storedLevels(const Rounded& rounded, const LayerAlphabets& alphabets, std::size_t neuron, double* values) {
  const std::size_t n = alphabets.inFeatures;
  for (std::size_t i = 0; i < n; ++i) values[i] = rounded.stored(alphabets.of(neuron, i), neuron * n + i);
}

inline double largestMagnitude(const double* weights, std::size_t count) {
  double largest = 0;
  for (std::size_t i = 0; i < count; ++i) largest = std::max(largest, std::abs(weights[i]));
  return largest;
}

/** A layer of `count` weights times a power of two: 2^-exponent brings its largest weight to about 1. */
inline int layerExponent(const double* weights, std::size_t count) {
  const double largest = largestMagnitude(weights, count);
  return largest > 0 ? std::ilogb(largest) : 0;
}

inline Matrix matrixTimes(Matrix matrix, double factor) {
  for (std::size_t i = 0; i < matrix.rows() * matrix.cols(); ++i) matrix.data()[i] *= factor;
  return matrix;
}

}  // namespace vertexq
