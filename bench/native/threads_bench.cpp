// One thread against two, and against all that were asked for.
#include <functional>
#include <memory>

#include "bench.h"
#include "method/fit_layer.h"
#include "parallel/thread_pool.h"
#include "pipeline.h"
#include "rivals.h"
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
      if (!workspace) workspace.reset(new Workspace{BlockedWalk<Real>(problem.tableau, problem.t<Real>(), form), {}});
      problem.walkNeuron(workspace->walk, neuron, workspace->walked);
    });
  });
}

template <typename Real>
void pipelineScaling(const std::string& name, const DecodeProblem& problem, const Options& options) {
  Pipeline<Real> pipeline(problem, problem.columns * 3 / 4);
  std::vector<std::unique_ptr<PipelineWorker<Real>>> workers(options.threads);
  scaling(name, options, [&](unsigned threads) {
    ThreadPool::shared().parallelFor(problem.neurons, threads, [&](std::size_t neuron, unsigned slot) {
      if (!workers[slot]) workers[slot] = std::make_unique<PipelineWorker<Real>>(pipeline);
      workers[slot]->walkAndDecode(neuron);
    });
    pipeline.polish(threads);
  });
}

/** The whole vertex method, from the Gram matrix to codes. */
void methodScaling(const DecodeProblem& problem, const Options& options) {
  JobControl control;
  GramAccumulator accumulator(problem.columns, GramPrecision::Fast);
  accumulator.add(problem.x.data(), problem.rows, options.threads, control);
  const GramData data{accumulator.gram(), {}, {}};
  const std::vector<double> weights(problem.weights.data(), problem.weights.data() + problem.columns * problem.neurons);
  FitOptions fit;
  fit.alphabet = {Grid::Asymmetric, 8, problem.columns};
  for (const std::size_t passes : {0u, 16u}) {
    fit.passes = passes;
    scaling("vertex, " + std::to_string(passes) + " passes", options, [&](unsigned threads) {
      fitLayer({weights.data(), problem.neurons, problem.columns}, data, nullptr, fit, threads, control);
    });
  }
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
  std::vector<std::int8_t> codes(n * problem.neurons);
  FloatMatrix values(n, problem.neurons);
  scaling("GPTQ, activations to codes", options,
          [&](unsigned threads) { decodeLayer(problem, Rival::Gptq, threads, codes, values); });
  const DecodeProblem few(2 * n, n, 256, 8);
  pipelineScaling<double>("walk, decoding and polish, float64", few, options);
  pipelineScaling<float>("walk, decoding and polish, float32", few, options);
  methodScaling(few, options);
}

}  // namespace vertexq::bench
