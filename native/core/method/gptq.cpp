#include "method/gptq.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>

#include "linalg/real_blas.h"
#include "parallel/thread_pool.h"
#include "scales/neuron_block.h"
#include "scales/refit.h"
#include "scales/rounding_system.h"

namespace vertexq {

namespace {

/**
 * What a round multiplies the best steps by, as logarithms. Coordinate descent mends clipped weights, so with it the
 * best step of a whole neuron is 5 to 15 % smaller than without (2 bits); groups lose little of that, their steps are
 * refitted.
 */
constexpr std::array<double, 6> kStepChanges = {-0.05, -0.15, -0.1, 0, 0.05, -0.05};
constexpr double kGroupStepChange = 0.4;

/** The part of these changes that suits an alphabet: the finer it is the fewer weights are clipped. */
double stepChangePart(int levels, bool grouped) {
  return std::min(1.0, 2 / std::log2(static_cast<double>(levels))) * (grouped ? kGroupStepChange : 1);
}

/** Errors in float32 that are apart by more are so in float64: they are sums of squares, good to 1e-5 or so. */
constexpr double kClearlyWorse = 1.5;

/** Searches among the steps that super-blocks hold. */
constexpr int kHeldSearches = 2;

/** Refits of the best answers at the end, each followed by a descent. */
constexpr int kLastRefits = 2;

/** The workspace of a thread. */
class BlockGptq {
 public:
  BlockGptq(const RoundingSystem& system, const Matrix& h, const AlphabetOptions& alphabets, const GptqOptions& options)
      : system_(system),
        h_(h),
        options_(options),
        block_(system, alphabets),
        search_(block_, options.search),
        refit_(block_) {}

  void run(const Weights& weights, std::size_t first, std::size_t count, const JobControl& control,
           GptqResult& result) {
    block_.load(weights, first, count);
    improve(control);

    double* errors = &result.errors[first];
    evaluate(weights, first, best_, errors);
    // What must not be better, in float64: plain rounding with the same scales, GPTQ as shipped, plain rounding with its.
    known_ = best_.errors;
    tried_ = best_;
    block_.roundToNearest(tried_);
    Attempt covering = block_.blank();
    block_.decode(system_.natural(), covering, control);
    takeBetter(weights, first, tried_, errors);
    takeBetter(weights, first, covering, errors);
    block_.roundToNearest(covering);
    takeBetter(weights, first, covering, errors);
    store(first, result);
  }

 private:
  /** tried_ descends where that is asked for; best_ takes over the neurons that are better then. */
  void settle(const JobControl& control) {
    if (options_.descent) block_.descend(tried_, control);
    block_.keepBetter(best_, tried_);
  }

  void improve(const JobControl& control) {
    search_.run(best_, control);
    if (block_.options().factors.groups > 0) {
      // Steps that suit the search's codes as far as super-blocks hold them; then the search among what these hold.
      refit_.run(best_, control);
      for (int k = 0; k < kHeldSearches; ++k) {
        tried_ = best_;
        search_.runHeld(tried_, control);
        block_.keepBetter(best_, tried_);
        refit_.run(tried_, control);
        block_.keepBetter(best_, tried_);
      }
      tried_ = best_;
    } else {
      tried_ = best_;
    }
    settle(control);
    const bool grouped = block_.groups() > 1;
    const double part = stepChangePart(block_.options().levels, grouped);
    const std::array<const Coefficients<float>*, 3> orders = {&system_.activation(), &system_.natural(),
                                                              &system_.grouped()};
    for (int round = 0; round < options_.rounds; ++round) {
      const auto r = static_cast<std::size_t>(round);
      tried_ = best_;
      if (options_.refit) scaleSteps(std::exp(part * kStepChanges[r % kStepChanges.size()]));
      block_.decode(*orders[r % (grouped ? 3 : 2)], tried_, control);
      // One scale for a whole neuron leaves a refit little to gain; that waits for the end.
      if (options_.refit && grouped) refit_.run(tried_, control);
      settle(control);
    }
    for (int k = 0; options_.refit && k < kLastRefits; ++k) {
      tried_ = best_;
      refit_.run(tried_, control);
      settle(control);
    }
  }

  /** All steps of tried_ times `factor`. */
  void scaleSteps(double factor) {
    const std::size_t groups = block_.groups();
    for (std::size_t i = 0; i < tried_.alphabets.size(); ++i) {
      Alphabet& a = tried_.alphabets[i];
      if (a.step() > 0) a = block_.withStep(i / groups, a.step() * factor, a.zeroAt(factor));
    }
    block_.hold(tried_);
  }

  /** Original units, float64; leaves q - w in difference_. */
  void evaluate(const Weights& weights, std::size_t first, const Attempt& attempt, double* errors) {
    const std::size_t n = system_.inputs(), count = block_.count();
    difference_.resize(count * n);
    product_.resize(count * n);
    fill(attempt, difference_.data());
    for (std::size_t i = 0; i < count * n; ++i) difference_[i] -= weights.neuron(first)[i];
    linalg::gemm(linalg::kPlain, linalg::kPlain, n, count, n, 1.0, h_.data(), n, difference_.data(), n, 0.0,
                 product_.data(), n);
    for (std::size_t l = 0; l < count; ++l) errors[l] = linalg::dot(n, &difference_[l * n], &product_[l * n]);
  }

  /** Whether the errors in float32 leave open that an attempt is better than the best for some neuron. */
  bool mayBeBetter(const Attempt& other) const {
    if (system_.grouped().damping > 0) return true;  // they are of another H
    for (std::size_t l = 0; l < block_.count(); ++l)
      if (!(other.errors[l] > kClearlyWorse * known_[l])) return true;
    return false;
  }

  void takeBetter(const Weights& weights, std::size_t first, const Attempt& other, double* errors) {
    if (!mayBeBetter(other)) return;
    const std::size_t n = system_.inputs(), groups = block_.groups();
    std::vector<double> otherErrors(block_.count());
    evaluate(weights, first, other, otherErrors.data());
    for (std::size_t l = 0; l < block_.count(); ++l) {
      if (!(otherErrors[l] < errors[l])) continue;
      errors[l] = otherErrors[l];
      std::copy_n(&other.alphabets[l * groups], groups, &best_.alphabets[l * groups]);
      std::copy_n(&other.codes[l * n], n, &best_.codes[l * n]);
    }
  }

  /** The attempt's values in original units: N × count, a neuron a column. */
  void fill(const Attempt& attempt, double* values) const {
    const std::size_t n = system_.inputs(), groups = block_.groups(), size = system_.groupSize();
    for (std::size_t l = 0; l < block_.count(); ++l)
      for (std::size_t g = 0; g < groups; ++g) {
        const Alphabet a = block_.original(l, attempt.alphabets[l * groups + g]);
        for (std::size_t i = g * size; i < std::min((g + 1) * size, n); ++i)
          values[i + l * n] = a.level(attempt.codes[i + l * n]);
      }
  }

  void store(std::size_t first, GptqResult& result) const {
    const std::size_t n = system_.inputs(), groups = block_.groups();
    fill(best_, &result.values[first * n]);
    std::copy(best_.codes.begin(), best_.codes.end(), &result.codes[first * n]);
    for (std::size_t l = 0; l < block_.count(); ++l)
      for (std::size_t g = 0; g < groups; ++g)
        result.alphabets[(first + l) * groups + g] = block_.original(l, best_.alphabets[l * groups + g]);
  }

  const RoundingSystem& system_;
  const Matrix& h_;
  const GptqOptions& options_;
  NeuronBlock block_;
  GroupSearch search_;
  ScaleRefit refit_;
  Attempt best_, tried_;
  std::vector<double> difference_, product_;
  std::vector<double> known_;  // of best_ as it was found, in float32
};

}  // namespace

GptqResult gptqLayer(const Weights& weights, const Matrix& h, const GptqOptions& options, unsigned threads,
                     JobControl& control) {
  requireFinite(weights);
  const std::size_t n = weights.inFeatures, out = weights.outFeatures;
  AlphabetOptions alphabets = options.alphabets;
  if (alphabets.groupSize == 0 || alphabets.groupSize > n) alphabets.groupSize = std::max<std::size_t>(n, 1);
  GptqResult result;
  result.alphabets.resize(out * groupsOf(n, alphabets.groupSize));
  result.codes.resize(out * n);
  result.values.resize(out * n);
  result.errors.resize(out);
  if (n == 0 || out == 0) return result;

  const RoundingSystem system(h, alphabets.groupSize, threads, control);
  if (system.grouped().damping == 0)
    result.logDeterminant = system.grouped().logDeterminant - static_cast<double>(n) * std::log(system.scale());
  std::vector<std::unique_ptr<BlockGptq>> workspaces(std::max(threads, 1u));
  const std::size_t blocks = (out + kNeuronBlock - 1) / kNeuronBlock;
  ThreadPool::shared().parallelFor(blocks, threads, [&](std::size_t block, unsigned slot) {
    if (!workspaces[slot]) workspaces[slot] = std::make_unique<BlockGptq>(system, h, alphabets, options);
    const std::size_t first = block * kNeuronBlock;
    const std::size_t count = std::min(kNeuronBlock, out - first);
    workspaces[slot]->run(weights, first, count, control, result);
    control.finish(count);
  });
  return result;
}

}  // namespace vertexq
