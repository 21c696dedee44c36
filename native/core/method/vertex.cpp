#include "method/vertex.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <memory>

#include "method/answer_block.h"
#include "method/first_walk.h"
#include "method/random_order.h"
#include "parallel/thread_pool.h"

namespace vertexq {

namespace {

/** Neurons are cut into about so many tasks, fewer where a task would be too large: fixed, for GEMM's bits depend on its width. */
constexpr std::size_t kBlocks = 32;

/** Flops that all passes of a layer may take where nobody says how many: about three seconds of a core. */
constexpr double kPassBudget = 2e10;
/** Flops of a pass: of a neuron in N², and of what all share in N³. */
constexpr double kPassPerNeuron = 20;
constexpr double kPassShared = 1;

/** A pass accepts an answer that is worse than the one it starts from by up to this; the best is kept beside it. */
constexpr double kSlack = 0.1;

/** One pass: an answer for each neuron of a block. */
using AnswerBlocks = std::function<void(AnswerBlock&, unsigned slot)>;

/**
 * Passes over all blocks by threshold accepting (Dueck & Scheuer 1990): a neuron moves on to an answer that is a little worse,
 * which leads out of places where no answer near is better, and the best it ever had is what counts.
 */
class Passes {
 public:
  Passes(const LayerFit& fit, std::vector<Alphabet>& alphabets, LayerCodes& best, const VertexOptions& options,
         unsigned threads, JobControl& control)
      : fit_(fit),
        alphabets_(alphabets),
        best_(best),
        bestAlphabets_(alphabets),
        current_(best),
        options_(options),
        threads_(threads),
        control_(control),
        single_(fit.inFeatures(), fit.inFeatures()),
        system_(single_),
        blocks_(threads) {
    std::copy_n(fit.h.data(), fit.inFeatures() * fit.inFeatures(), single_.data());
  }

  void run(double slack, bool refit, const AnswerBlocks& answer) {
    const std::size_t neurons = fit_.neurons();
    const std::size_t width = std::clamp<std::size_t>(neurons / kBlocks, 1, AnswerBlock::kWidth);
    ThreadPool::shared().parallelFor((neurons + width - 1) / width, threads_, [&](std::size_t index, unsigned slot) {
      if (!blocks_[slot]) blocks_[slot] = std::make_unique<AnswerBlock>(fit_, system_);
      AnswerBlock& block = *blocks_[slot];
      block.select(index * width, std::min(width, neurons - index * width));
      answer(block, slot);
      block.keepBetter(current_, slack, control_);
      if (refit && options_.refit) block.refit(options_.kind, options_.exponent, alphabets_, current_, control_);
      for (std::size_t k = 0; k < block.count(); ++k) keepBest(block.first() + k);
      control_.finish(block.count());
    });
  }

  /** The alphabets of the best answers; after the last pass. */
  void finish() { std::copy(bestAlphabets_.begin(), bestAlphabets_.end(), alphabets_.begin()); }

 private:
  void keepBest(std::size_t neuron) {
    if (!(current_.errors[neuron] < best_.errors[neuron])) return;
    const std::size_t n = fit_.inFeatures(), groups = fit_.alphabets.groups();
    best_.errors[neuron] = current_.errors[neuron];
    std::copy_n(current_.codes.data() + neuron * n, n, best_.codes.data() + neuron * n);
    std::copy_n(alphabets_.data() + neuron * groups, groups, bestAlphabets_.data() + neuron * groups);
  }

  const LayerFit& fit_;
  std::vector<Alphabet>& alphabets_;  // of current_: what fit_ views
  LayerCodes& best_;
  std::vector<Alphabet> bestAlphabets_;
  LayerCodes current_;
  const VertexOptions& options_;
  unsigned threads_;
  JobControl& control_;
  FloatMatrix single_;
  FreeEntrySystem<float> system_;
  std::vector<std::unique_ptr<AnswerBlock>> blocks_;
};

/** A workspace a thread, made when the thread first needs it. */
template <typename Workspace, typename... Arguments>
Workspace& workspaceOf(std::vector<std::unique_ptr<Workspace>>& all, unsigned slot, const Arguments&... arguments) {
  if (!all[slot]) all[slot] = std::make_unique<Workspace>(arguments...);
  return *all[slot];
}

}  // namespace

std::size_t defaultPasses(std::size_t inFeatures, std::size_t neurons) {
  const auto n = static_cast<double>(inFeatures);
  const double pass = n * n * (kPassPerNeuron * static_cast<double>(neurons) + kPassShared * n);
  return static_cast<std::size_t>(
      std::clamp(kPassBudget / pass, static_cast<double>(kLeastPasses), static_cast<double>(kMostPasses)));
}

VertexOutcome vertexLayer(const LayerFit& fit, std::vector<Alphabet>& alphabets, LayerCodes& best,
                          const VertexOptions& options, unsigned threads, JobControl& control) {
  threads = std::max(threads, 1u);
  Passes passes(fit, alphabets, best, options, threads, control);
  VertexOutcome outcome;
  {
    const std::vector<double> given = best.errors;
    const WalkSystem system(fit, options.rank, threads, control);
    std::vector<std::unique_ptr<Walker>> walkers(threads);
    passes.run(0, true,
               [&](AnswerBlock& block, unsigned slot) { workspaceOf(walkers, slot, fit, system).run(block, control); });
    for (std::size_t k = 0; k < given.size(); ++k) outcome.walked += best.errors[k] < given[k] ? 1 : 0;
  }
  std::vector<std::unique_ptr<OrderedDecoder>> decoders(threads);
  const std::size_t refitEvery = options.kind.factors.groups > 0 ? kRefitEveryHeld : kRefitEvery;
  const auto started = std::chrono::steady_clock::now();
  const auto hasTimeFor = [&](std::size_t pass) {
    if (!options.seconds) return true;
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - started;
    // With one more as long as those before.
    return spent.count() * static_cast<double>(pass) <= *options.seconds * static_cast<double>(pass - 1);
  };
  for (std::size_t pass = 1; pass <= options.passes; ++pass) {
    control.throwIfCancelled();
    if (pass > 1 ? !hasTimeFor(pass) : options.seconds == 0.0) break;
    const RandomOrder order(fit, pass, threads, control);
    passes.run(kSlack, pass % refitEvery == 0,
               [&](AnswerBlock& block, unsigned slot) { workspaceOf(decoders, slot, fit).run(order, block, control); });
    outcome.passes = pass;
  }
  passes.finish();
  return outcome;
}

}  // namespace vertexq
