// Layers with alphabets for the decoders' tests.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "alphabet/alphabet.h"
#include "decode/layer_alphabets.h"
#include "linalg/matrix.h"
#include "reference/decoders.h"
#include "test_data.h"

namespace vertexq::testing {

/** XᵀX by plain sums. */
inline Matrix gramOf(const Matrix& x) {
  Matrix h(x.cols(), x.cols());
  for (std::size_t j = 0; j < x.cols(); ++j)
    for (std::size_t i = 0; i < x.cols(); ++i)
      for (std::size_t s = 0; s < x.rows(); ++s) h(i, j) += x(s, i) * x(s, j);
  return h;
}

template <typename Real>
std::vector<Real> castTo(const std::vector<double>& from) {
  return std::vector<Real>(from.begin(), from.end());
}
template <typename Real>
BasicMatrix<Real> castTo(const Matrix& from) {
  BasicMatrix<Real> to(from.rows(), from.cols());
  std::transform(from.data(), from.data() + from.rows() * from.cols(), to.data(),
                 [](double v) { return static_cast<Real>(v); });
  return to;
}

using GridChoice = GridKind;

/** Every width of every grid, ternary and one bit among them. */
inline std::vector<GridChoice> gridChoices() {
  std::vector<GridChoice> choices = {{Grid::Integer, 3}, {Grid::Asymmetric, 3}};
  for (int bits = 1; bits <= 8; ++bits) {
    choices.push_back({Grid::ZeroFree, 1 << bits});
    if (bits > 1) choices.push_back({Grid::Asymmetric, 1 << bits});
    if (bits > 1) choices.push_back({Grid::Integer, (1 << bits) - 1});
    if (bits > 1) choices.push_back({Grid::FullRange, 1 << bits});
    if (bits < 8) choices.push_back({Grid::Minimum, 1 << bits});
  }
  choices.push_back({Grid::Table, 16, &kUnevenTable});
  choices.push_back({Grid::Table, 5, &kLopsidedTable});
  return choices;
}

/** Weights (float32 values) of a few neurons and alphabets that clip a little of them. */
struct TestLayer {
  std::size_t inputs;
  std::size_t neurons;
  std::vector<double> weights;
  std::vector<Alphabet> list;
  LayerAlphabets alphabets;

  TestLayer(std::mt19937_64& random, std::size_t in, std::size_t out, GridChoice choice, std::size_t groupSize,
            double scale = 1)
      : inputs(in), neurons(out), weights(normals(random, in * out)) {
    for (double& w : weights) w = static_cast<float>(w * scale);
    for (std::size_t k = 0; k < out; ++k) {
      double* w = &weights[k * in];
      // A neuron of zeros has no step; one of few values lies on levels and ties.
      if (k % 5 == 1) std::fill_n(w, in, 0.0);
      if (k % 5 == 2)
        for (std::size_t i = 0; i < in; ++i) w[i] = scale * std::round(2 * w[i] / scale) / 2;
      for (std::size_t first = 0; first < in; first += groupSize) {
        const auto [low, high] = std::minmax_element(w + first, w + std::min(first + groupSize, in));
        list.push_back(Alphabet::covering(choice, 0.8 * *low, 0.8 * *high, ScalePrecision::Float32));
      }
    }
    alphabets = {list.data(), in, groupSize};
  }
  TestLayer(const TestLayer&) = delete;

  reference::Neuron neuron(std::size_t k) const { return {&weights[k * inputs], alphabets, k}; }
  /** Each weight rounded by itself. */
  std::vector<double> rounded(std::size_t k) const {
    std::vector<double> q(inputs);
    for (std::size_t i = 0; i < inputs; ++i) {
      const Alphabet& a = alphabets.of(k, i);
      q[i] = a.level(a.nearest(weights[k * inputs + i]));
    }
    return q;
  }
};

/** Whether `level` is the nearest to `centre`, or nearly as near as the nearest: within `tolerance` steps. */
inline bool isNearest(const Alphabet& alphabet, double level, double centre, double tolerance) {
  const double best = alphabet.level(alphabet.nearest(centre));
  return std::abs(level - centre) <= std::abs(best - centre) + tolerance * (alphabet.step() + std::abs(centre));
}

}  // namespace vertexq::testing
