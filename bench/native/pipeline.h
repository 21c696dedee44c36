// The walk in the leading directions of H, then least squares, nearest plane and descent over all entries.
#pragma once

#include <memory>

#include "calibration/eigenspace.h"
#include "calibration/gram.h"
#include "decode/coordinate_descent.h"
#include "decode/damping.h"
#include "decode/free_entries.h"
#include "decode_problem.h"
#include "walk/blocked_walk.h"

namespace vertexq::bench {

/** What the neurons of a layer share. */
template <typename Real>
struct Pipeline {
  Pipeline(const DecodeProblem& layer, std::size_t rank)
      : problem(layer),
        n(layer.columns),
        h(n, n),
        weights(n, layer.neurons),
        values(n, layer.neurons),
        codes(n * layer.neurons) {
    JobControl control;
    GramAccumulator accumulator(n, GramPrecision::Fast);
    accumulator.add(problem.x.data(), problem.rows, 1, control);
    const Matrix gram = damped(accumulator.gram(), 0.003);
    tableau = tableauOf(leadingEigenspace(gram, rank).part);
    t = BasicMatrix<Real>(tableau.t.rows(), tableau.t.cols());
    std::copy_n(tableau.t.data(), t.rows() * t.cols(), t.data());
    std::copy_n(gram.data(), n * n, h.data());
    std::copy_n(problem.weights.data(), n * problem.neurons, weights.data());
    system = std::make_unique<FreeEntrySystem<Real>>(h);
  }

  void polish(unsigned threads) {
    JobControl control;
    descend(h, weights.data(), problem.neurons, problem.layerAlphabets(), codes.data(), values.data(), threads,
            control);
  }

  const DecodeProblem& problem;
  std::size_t n;
  BasicMatrix<Real> h, t, weights, values;
  std::vector<std::int8_t> codes;
  Tableau tableau;
  std::unique_ptr<FreeEntrySystem<Real>> system;
};

/** The workspace of one thread. */
template <typename Real>
struct PipelineWorker {
  explicit PipelineWorker(Pipeline<Real>& shared)
      : pipeline(shared),
        walk(shared.tableau, shared.t),
        decoder(*shared.system, shared.n),
        low(shared.n),
        high(shared.n),
        w(shared.n) {
    free.reserve(shared.n);
  }

  void walkAndDecode(std::size_t neuron) {
    const Alphabet& a = pipeline.problem.alphabets[neuron];
    for (std::size_t i = 0; i < pipeline.n; ++i) {
      w[i] = pipeline.problem.weights(i, neuron);
      const Alphabet::Cell cell = a.cell(w[i]);
      low[i] = cell.low;
      high[i] = cell.high;
    }
    walkTime += timeOnce([&] { walk.run(w.data(), low.data(), high.data(), control); });
    free.clear();
    Real* q = pipeline.values.column(neuron);
    std::int8_t* codes = pipeline.codes.data() + neuron * pipeline.n;
    for (std::size_t i = 0; i < pipeline.n; ++i) {
      if (w[i] != low[i] && w[i] != high[i]) {
        free.push_back(static_cast<int>(i));
        continue;
      }
      const int code = a.nearest(w[i]);
      codes[i] = static_cast<std::int8_t>(code);
      q[i] = static_cast<Real>(a.level(code));
    }
    decodeTime += timeOnce([&] {
      decoder.decode(pipeline.weights.column(neuron), q, codes, free.data(), free.size(),
                     pipeline.problem.layerAlphabets(), neuron);
    });
  }

  Pipeline<Real>& pipeline;
  BlockedWalk<Real> walk;
  FreeEntryDecoder<Real> decoder;
  std::vector<double> low, high, w;
  std::vector<int> free;
  JobControl control;
  double walkTime = 0, decodeTime = 0;
};

}  // namespace vertexq::bench
