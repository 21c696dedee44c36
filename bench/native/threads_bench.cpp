// One thread against two, and against all that were asked for.
#include <functional>
#include <memory>

#include "bench.h"
#include "calibration/gram.h"
#include "decode/coefficients.h"
#include "decode/coordinate_descent.h"
#include "decode/damping.h"
#include "decode/successive_rounding.h"
#include "decode_problem.h"
#include "parallel/thread_pool.h"
#include "walk_problem.h"

namespace vertexq::bench {

namespace {

void scaling(const std::string& task, const Options& options, const std::function<void(unsigned)>& run) {
  std::vector<unsigned> counts = {1, 2};
  if (options.threads > 2) counts.push_back(options.threads);
  std::vector<std::vector<double>> times(counts.size());
  run(1);
  for (int repeat = 0; repeat < (options.quick ? 1 : 7); ++repeat)
    for (std::size_t i = 0; i < counts.size(); ++i) times[i].push_back(timeOnce([&] { run(counts[i]); }));
  for (std::size_t i = 1; i < counts.size(); ++i)
    Row("threads")
        .add("task", task)
        .add("threads", counts[i])
        .add("seconds", median(times[i]))
        .add("speedup", median(times[0]) / median(times[i]));
}

template <typename Real>
void walkScaling(const std::string& name, const WalkProblem& problem, WalkForm form, const Options& options) {
  struct Workspace {
    BlockedWalk<Real> walk;
    std::vector<double> walked;
  };
  std::vector<std::unique_ptr<Workspace>> workspaces(options.threads);
  scaling(name, options, [&](unsigned threads) {
    ThreadPool::shared().parallelFor(problem.neurons(), threads, [&](std::size_t neuron, unsigned slot) {
      auto& workspace = workspaces[slot];
      if (!workspace)
        workspace.reset(new Workspace{BlockedWalk<Real>(problem.tableau, problem.t<Real>(), form), {}});
      problem.walkNeuron(workspace->walk, neuron, workspace->walked);
    });
  });
}

}  // namespace

void benchThreads(const Options& options) {
  const std::size_t n = options.quick ? 256 : 1024;
  {
    const WalkProblem problem(n, n / 2, 96);
    walkScaling<double>("walk, inverse form, float64", problem, WalkForm::Inverse, options);
    walkScaling<float>("walk, inverse form, float32", problem, WalkForm::Inverse, options);
  }
  {
    const WalkProblem problem(n, n * 3 / 4, 256);
    walkScaling<double>("walk, tableau form, float64", problem, WalkForm::Tableau, options);
    walkScaling<float>("walk, tableau form, float32", problem, WalkForm::Tableau, options);
  }
  const DecodeProblem problem(4 * n, n, 1024, 8);
  JobControl control;
  scaling("Gram matrix", options, [&](unsigned threads) {
    GramAccumulator accumulator(n, GramPrecision::Fast);
    for (int batch = 0; batch < 4; ++batch) accumulator.add(problem.x.data(), problem.rows, threads, control);
  });
  GramAccumulator accumulator(n, GramPrecision::Fast);
  accumulator.add(problem.x.data(), problem.rows, 1, control);
  const Matrix wide = damped(accumulator.gram(), 0.003);
  FloatMatrix h(n, n);
  std::copy_n(wide.data(), n * n, h.data());
  const Coefficients<float> coefficients = nearestPlaneCoefficients(h, 0.0, DecodeOrder::Natural, 1, control);
  std::vector<std::int8_t> codes(n * problem.neurons);
  FloatMatrix values(n, problem.neurons);
  RoundingTask<float> task;
  task.weights = problem.weights.data();
  task.neurons = problem.neurons;
  task.alphabets = problem.layerAlphabets();
  task.codes = codes.data();
  task.values = values.data();
  scaling("successive rounding", options,
          [&](unsigned threads) { successiveRounding(coefficients, task, threads, control); });
  const std::vector<std::int8_t> roundedCodes = codes;
  const FloatMatrix roundedValues = values;
  scaling("coordinate descent", options, [&](unsigned threads) {
    codes = roundedCodes;
    std::copy_n(roundedValues.data(), n * problem.neurons, values.data());
    descend(h, problem.weights.data(), problem.neurons, problem.layerAlphabets(), codes.data(), values.data(), threads,
            control);
  });
}

}  // namespace vertexq::bench
