#include "method/vertex.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <random>

#include "method/vertex_pass.h"
#include "parallel/thread_pool.h"

namespace vertexq {

namespace {

/** Part of a part's inputs that a walk over it holds. */
constexpr double kPartRank = 0.7;

/** Neurons are cut into four tasks for each of so many threads: fixed, for GEMM's bits depend on the width of a block. */
constexpr std::size_t kTaskThreads = 16;

/** Flops that all passes of a layer may take: some ten seconds of a core. */
constexpr double kPassBudget = 1e12;
/** Flops of a pass in N³: of a neuron on average over a small, a small and a large part, and of what all share. */
constexpr double kPassPerNeuron = 0.016;
constexpr double kPassShared = 1.5;

/**
 * The inputs of pass `pass`, a random part of them: two small ones, then a large one. Two in a row of a quarter cost less than
 * a quarter of one of a half and gain as much, until only larger moves help (bench/quality).
 */
std::vector<int> partOf(std::size_t inFeatures, std::size_t pass) {
  std::vector<int> inputs(inFeatures);
  std::iota(inputs.begin(), inputs.end(), 0);
  // std::shuffle differs between standard libraries; the generator does not.
  std::mt19937 random(static_cast<unsigned>(pass));
  for (std::size_t i = inFeatures; i > 1; --i) std::swap(inputs[i - 1], inputs[random() % i]);
  inputs.resize(std::max<std::size_t>(1, pass % 3 == 0 ? inFeatures / 2 : inFeatures / 4));
  std::sort(inputs.begin(), inputs.end());
  return inputs;
}

}  // namespace

std::size_t defaultPasses(std::size_t inFeatures, std::size_t neurons) {
  const double cube = std::pow(static_cast<double>(inFeatures), 3);
  const double pass = cube * (kPassPerNeuron * static_cast<double>(neurons) + kPassShared);
  return static_cast<std::size_t>(
      std::clamp(kPassBudget / pass, static_cast<double>(kLeastPasses), static_cast<double>(kMostPasses)));
}

VertexOutcome vertexLayer(const LayerFit& fit, std::vector<Alphabet>& alphabets, LayerCodes& best,
                          const VertexOptions& options, unsigned threads, JobControl& control) {
  const std::size_t n = fit.inFeatures(), neurons = fit.neurons();
  FloatMatrix single(n, n);
  std::copy_n(fit.h.data(), n * n, single.data());
  const FreeEntrySystem<float> system(single);
  const std::vector<double> given = best.errors;

  const std::size_t block = std::clamp<std::size_t>(neurons / (4 * kTaskThreads), 1, VertexWorker::kBlock);
  const std::size_t blocks = (neurons + block - 1) / block;
  std::vector<std::unique_ptr<VertexWorker>> workers(threads);
  for (std::size_t pass = 0; pass <= options.passes; ++pass) {
    control.checkpoint();
    std::vector<int> inputs = partOf(n, pass);
    std::size_t rank = static_cast<std::size_t>(kPartRank * static_cast<double>(inputs.size()));
    if (pass == 0) {
      inputs.resize(n);
      std::iota(inputs.begin(), inputs.end(), 0);
      rank = options.rank;
    }
    const VertexPart part(fit, pass, std::move(inputs), std::max<std::size_t>(rank, 1), threads, control);
    ThreadPool::shared().parallelFor(blocks, threads, [&](std::size_t index, unsigned slot) {
      if (!workers[slot]) workers[slot] = std::make_unique<VertexWorker>(fit, system);
      const std::size_t first = index * block, count = std::min(block, neurons - first);
      workers[slot]->run(part, first, count, best, control);
      if (options.refit && pass % kRefitEvery == 0)
        workers[slot]->refit(first, count, options.kind, alphabets, best, control);
      control.finish(count);
    });
  }
  VertexOutcome outcome;
  for (std::size_t k = 0; k < neurons; ++k) outcome.walked += best.errors[k] < given[k] ? 1 : 0;
  return outcome;
}

}  // namespace vertexq
