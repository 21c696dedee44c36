// GPTQ and GPFQ, from a layer's activations to its codes.
#pragma once

#include "calibration/gram.h"
#include "decode/coefficients.h"
#include "decode/successive_rounding.h"
#include "decode_problem.h"

namespace vertexq::bench {

inline FloatMatrix gramOf(const DecodeProblem& problem, unsigned threads) {
  JobControl control;
  GramAccumulator accumulator(problem.columns, GramPrecision::Fast);
  accumulator.add(problem.x.data(), problem.rows, threads, control);
  const Matrix h = accumulator.gram(threads);
  FloatMatrix single(problem.columns, problem.columns);
  std::copy_n(h.data(), problem.columns * problem.columns, single.data());
  return single;
}

enum class Rival { Gptq, Gpfq };

/** Everything from the activations to the codes. */
inline void decodeLayer(const DecodeProblem& problem, Rival rival, unsigned threads, std::vector<std::int8_t>& codes,
                        FloatMatrix& values) {
  JobControl control;
  const FloatMatrix h = gramOf(problem, threads);
  const Coefficients<float> coefficients =
      rival == Rival::Gptq ? nearestPlaneCoefficients(h, 0.01, DecodeOrder::Natural, threads, control)
                           : gpfqCoefficients(h, DecodeOrder::Natural);
  RoundingTask<float> task;
  task.weights = problem.weights.data();
  task.neurons = problem.neurons;
  task.alphabets = problem.layerAlphabets();
  task.codes = codes.data();
  task.values = values.data();
  successiveRounding(coefficients, task, threads, control);
}

}  // namespace vertexq::bench
