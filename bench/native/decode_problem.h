// A layer to decode: data with a falling spectrum, as peers' tools were measured on (their problems B and C).
#pragma once

#include <lapacke.h>

#include <algorithm>
#include <cmath>

#include "alphabet/scale_search.h"
#include "bench.h"
#include "decode/layer_alphabets.h"

namespace vertexq::bench {

/** Columns of an orthonormal basis of a random subspace: rows × cols, rows >= cols. */
inline Matrix orthonormal(std::size_t rows, std::size_t cols, unsigned seed) {
  Matrix q = randomMatrix<double>(rows, cols, seed);
  std::vector<double> tau(cols);
  LAPACKE_dgeqrf(LAPACK_COL_MAJOR, linalg::dim(rows), linalg::dim(cols), q.data(), linalg::dim(rows), tau.data());
  LAPACKE_dorgqr(LAPACK_COL_MAJOR, linalg::dim(rows), linalg::dim(cols), linalg::dim(cols), q.data(), linalg::dim(rows),
                 tau.data());
  return q;
}

/**
 * X, samples × inFeatures, with singular values √samples/k in random orthonormal bases and noise of 1e-3 on every entry (the
 * scale at which GPTQ has the errors that were measured of its own code); Gaussian W.
 * Float32 and row-major, as a user's data comes.
 */
struct DecodeProblem {
  DecodeProblem(std::size_t samples, std::size_t inFeatures, std::size_t outFeatures, int levels)
      : rows(samples),
        columns(inFeatures),
        neurons(outFeatures),
        x(samples * inFeatures),
        weights(randomMatrix<float>(inFeatures, outFeatures, 12)) {
    const std::size_t rank = std::min(samples, inFeatures);
    Matrix left = orthonormal(samples, rank, 10);
    const Matrix right = orthonormal(inFeatures, rank, 11);
    const double size = std::sqrt(static_cast<double>(samples));  // columns of norm √samples, as those of Gaussian data
    for (std::size_t k = 0; k < rank; ++k)
      for (std::size_t i = 0; i < samples; ++i) left(i, k) *= size / static_cast<double>(k + 1);
    Matrix transposed = randomMatrix<double>(inFeatures, samples, 13);
    linalg::gemm(linalg::kPlain, linalg::kTransposed, inFeatures, samples, rank, 1.0, right.data(), inFeatures,
                 left.data(), samples, 1e-3, transposed.data(), inFeatures);
    std::copy_n(transposed.data(), x.size(), x.begin());
    std::vector<double> w(inFeatures);
    for (std::size_t n = 0; n < outFeatures; ++n) {
      std::copy_n(weights.column(n), inFeatures, w.begin());
      alphabets.push_back(coveringAlphabet({Grid::Asymmetric, levels}, w.data(), inFeatures, ScalePrecision::Float32));
    }
  }

  LayerAlphabets layerAlphabets() const { return {alphabets.data(), columns, columns}; }

  std::size_t rows, columns, neurons;
  std::vector<float> x;
  FloatMatrix weights;  // a neuron a column
  std::vector<Alphabet> alphabets;
};

}  // namespace vertexq::bench
