// A layer to be fitted, for the tests of the vertex method and its parts.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

#include "decode/damping.h"
#include "decode_test_data.h"
#include "method/answer_block.h"

namespace vertexq::testing {

/** A layer to fit, with each weight rounded by itself as the answer to start from. */
struct Problem {
  AlphabetOptions kind;
  Matrix h, weights;
  std::vector<Alphabet> alphabets;
  LayerCodes best;

  /** Alphabets that cover `cover` of the range of the weights. */
  Problem(std::mt19937_64& random, const Matrix& x, std::size_t neurons, GridChoice choice, std::size_t groupSize,
          double damping, double cover = 0.8)
      : kind{choice.grid, choice.levels, std::min(groupSize, x.cols()), ScalePrecision::Float32, choice.table},
        h(damped(gramOf(x), damping)),
        weights(gaussian(random, x.cols(), neurons)) {
    const double unit = unitScale(h);
    for (std::size_t i = 0; i < inputs() * inputs(); ++i) h.data()[i] *= unit;
    for (std::size_t k = 0; k < neurons; ++k) {
      double* w = weights.column(k);
      if (k % 7 == 3) std::fill_n(w, inputs(), 0.0);
      for (std::size_t first = 0; first < inputs(); first += kind.groupSize) {
        const auto [low, high] = std::minmax_element(w + first, w + std::min(first + kind.groupSize, inputs()));
        alphabets.push_back(Alphabet::covering(kind.kind(), cover * *low, cover * *high, ScalePrecision::Float32));
      }
    }
    best.codes.resize(inputs() * neurons);
    best.errors.resize(neurons);
    for (std::size_t k = 0; k < neurons; ++k) {
      for (std::size_t i = 0; i < inputs(); ++i)
        codes(k)[i] = static_cast<std::int8_t>(view().of(k, i).nearest(weights(i, k)));
      best.errors[k] = error(k, codes(k));
    }
  }

  std::size_t inputs() const { return h.cols(); }
  std::size_t neurons() const { return weights.cols(); }
  LayerAlphabets view() const { return {alphabets.data(), inputs(), kind.groupSize}; }
  LayerFit fit() const { return {h, weights, view()}; }
  std::int8_t* codes(std::size_t k) { return best.codes.data() + k * inputs(); }

  std::vector<double> values(std::size_t k, const std::int8_t* from) const {
    std::vector<double> q(inputs());
    for (std::size_t i = 0; i < inputs(); ++i) {
      const Alphabet& a = view().of(k, i);
      CHECK((from[i] >= a.minCode() && from[i] <= a.maxCode()));
      q[i] = a.level(from[i]);
    }
    return q;
  }
  /** (q - w)ᵀH(q - w), anew. */
  double error(std::size_t k, const std::int8_t* from) const {
    return reference::outputError(h, weights.column(k), values(k, from).data());
  }

  /** That the errors are those of the codes, up to `floor`, and none above `before`. */
  void check(const std::vector<double>& before, double floor = 0) {
    for (std::size_t k = 0; k < neurons(); ++k) {
      const double anew = error(k, codes(k));
      CHECK_LE(std::abs(best.errors[k] - anew), 1e-9 * anew + floor * before[k]);
      CHECK_LE(best.errors[k], before[k]);
      CHECK_LE(anew, before[k] * (1 + 1e-9 + floor));
    }
  }
};

inline double sum(const std::vector<double>& values) { return std::accumulate(values.begin(), values.end(), 0.0); }

inline FloatMatrix single(const Matrix& h) { return castTo<float>(h); }

}  // namespace vertexq::testing
