// A layer to walk: Gaussian data, Gaussian weights, 3-bit cells.
#pragma once

#include <algorithm>

#include "alphabet/scale_search.h"
#include "bench.h"
#include "parallel/job_control.h"
#include "walk/blocked_walk.h"

namespace vertexq::bench {

struct WalkProblem {
  WalkProblem(std::size_t inFeatures, std::size_t rank, std::size_t neurons)
      : tableau(tableauOf(randomMatrix<double>(rank, inFeatures, 3))),
        single(tableau.t.rows(), tableau.t.cols()),
        weights(randomMatrix<double>(inFeatures, neurons, 4)),
        low(inFeatures, neurons),
        high(inFeatures, neurons) {
    std::copy_n(tableau.t.data(), tableau.t.rows() * tableau.t.cols(), single.data());
    for (std::size_t neuron = 0; neuron < neurons; ++neuron) {
      const double* w = weights.column(neuron);
      const Alphabet a = coveringAlphabet({Grid::Asymmetric, 8}, w, inFeatures, ScalePrecision::Float64);
      for (std::size_t i = 0; i < inFeatures; ++i) {
        const Alphabet::Cell cell = a.cell(w[i]);
        low(i, neuron) = cell.low;
        high(i, neuron) = cell.high;
      }
    }
  }

  template <typename Real>
  const BasicMatrix<Real>& t() const {
    if constexpr (sizeof(Real) == sizeof(double))
      return tableau.t;
    else
      return single;
  }

  std::size_t neurons() const { return weights.cols(); }

  /** Walks one neuron and leaves ŵ in `walked`. */
  template <typename Walk>
  void walkNeuron(Walk& walk, std::size_t neuron, std::vector<double>& walked) const {
    walked.assign(weights.column(neuron), weights.column(neuron) + weights.rows());
    walk.run(walked.data(), low.column(neuron), high.column(neuron), control);
  }

  /** ‖T(ŵ - w)‖ / ‖T w‖, T = [I t]. */
  double residual(std::size_t neuron, const std::vector<double>& walked) const {
    const std::size_t rank = tableau.rank();
    std::vector<double> error(rank), signal(rank), moved(tableau.entering()), kept(tableau.entering());
    const double* w = weights.column(neuron);
    for (std::size_t k = 0; k < rank; ++k) {
      const auto i = static_cast<std::size_t>(tableau.columns[k]);
      error[k] = walked[i] - w[i];
      signal[k] = w[i];
    }
    for (std::size_t k = 0; k < moved.size(); ++k) {
      const auto i = static_cast<std::size_t>(tableau.columns[rank + k]);
      moved[k] = walked[i] - w[i];
      kept[k] = w[i];
    }
    linalg::gemv(linalg::kPlain, rank, moved.size(), 1.0, tableau.t.data(), rank, moved.data(), 1.0, error.data());
    linalg::gemv(linalg::kPlain, rank, kept.size(), 1.0, tableau.t.data(), rank, kept.data(), 1.0, signal.data());
    return std::sqrt(linalg::dot(rank, error.data(), error.data()) / linalg::dot(rank, signal.data(), signal.data()));
  }

  Tableau tableau;
  FloatMatrix single;
  Matrix weights, low, high;  // a neuron a column
  JobControl control;
};

}  // namespace vertexq::bench
