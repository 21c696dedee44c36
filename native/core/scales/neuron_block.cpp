#include "scales/neuron_block.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "decode/coordinate_descent.h"

namespace vertexq {

namespace {

/** Brings the least float32 number to 1. */
constexpr int kMostExponent = 149;

}  // namespace

NeuronBlock::NeuronBlock(const RoundingSystem& system, const AlphabetOptions& options)
    : system_(system),
      options_(options),
      errors_(system.inputs() * kNeuronBlock),
      residual_(RoundingSystem::kResidualRows * kNeuronBlock) {}

void NeuronBlock::load(const Weights& weights, std::size_t firstNeuron, std::size_t count) {
  const std::size_t n = inputs();
  count_ = count;
  weights_.assign(n * count, 0.0F);
  exponents_.assign(count, 0);
  zero_.assign(count, 0);
  covering_.clear();
  for (std::size_t l = 0; l < count; ++l) {
    const double* w = weights.neuron(firstNeuron + l);
    double largest = 0;
    for (std::size_t i = 0; i < n; ++i) largest = std::max(largest, std::abs(w[i]));
    zero_[l] = largest == 0;
    // Of weights below all float32 numbers nothing is left; times more than this their steps would overflow.
    if (largest > 0) exponents_[l] = std::min(-std::ilogb(largest), kMostExponent);
    for (std::size_t i = 0; i < n; ++i) weights_[i + l * n] = static_cast<float>(std::ldexp(w[i], exponents_[l]));
    for (std::size_t first = 0; first < n; first += system_.groupSize()) {
      const auto [low, high] = std::minmax_element(w + first, w + std::min(first + system_.groupSize(), n));
      Alphabet a;
      namingNeuron(firstNeuron + l, [&, least = *low, most = *high] { a = coveringGroup(options_, least, most); });
      covering_.push_back(a.scaledBy(exponents_[l]));
    }
    namingNeuron(firstNeuron + l, [&] { hold(l, &covering_[l * groups()]); });
  }
}

void NeuronBlock::hold(std::size_t l, Alphabet* alphabets) const {
  holdAlphabets(options_, system_.importance().data(), inputs(), exponents_[l], alphabets);
}

void NeuronBlock::hold(Attempt& attempt) const {
  for (std::size_t l = 0; l < count_; ++l) hold(l, &attempt.alphabets[l * groups()]);
}

Alphabet NeuronBlock::withStep(std::size_t l, double step, double zero) const {
  const ScalePrecision precision = options_.stepPrecision();
  const double own = nearestStep(std::ldexp(step, -exponents_[l]), precision);
  if (options_.factors.mostMinimum > 0) zero = std::max(zero, 0.0);
  for (const double s : {own, nextDown(own, precision)}) {
    const Alphabet a = Alphabet::withStep(options_.kind(), s, zero, precision);
    if (a.heldIn(precision)) return a.scaledBy(exponents_[l]);
  }
  // The next size below whose levels are numbers: codes from -levels to levels reach no further, a table to its ends.
  const LevelTable* table = options_.table;
  const double reach = table ? std::max(-table->front(), table->back()) : options_.levels;
  const double most = roundedDown(own / (2 * reach), precision);
  return Alphabet::withStep(options_.kind(), most, zero, precision).scaledBy(exponents_[l]);
}

Alphabet NeuronBlock::original(std::size_t l, const Alphabet& alphabet) const {
  return alphabet.scaledBy(-exponents_[l]);
}

Attempt NeuronBlock::blank() const {
  Attempt attempt;
  attempt.alphabets = covering_;
  attempt.codes.assign(inputs() * count_, 0);
  attempt.values.assign(inputs() * count_, 0.0F);
  attempt.errors.assign(count_, std::numeric_limits<double>::infinity());
  return attempt;
}

void NeuronBlock::decode(const Coefficients<float>& coefficients, Attempt& attempt, const JobControl& control) {
  control.throwIfCancelled();
  JobControl inner(&control);  // progress is counted by whole blocks
  RoundingTask<float> task;
  task.weights = weights_.data();
  task.neurons = count_;
  task.alphabets = view(attempt);
  task.codes = attempt.codes.data();
  task.values = attempt.values.data();
  successiveRounding(coefficients, task, 1, inner);
  judge(attempt);
}

void NeuronBlock::roundToNearest(Attempt& attempt) {
  const LayerAlphabets alphabets = view(attempt);
  for (std::size_t l = 0; l < count_; ++l)
    for (std::size_t i = 0; i < inputs(); ++i)
      attempt.codes[i + l * inputs()] = static_cast<std::int8_t>(alphabets.of(l, i).nearest(weights(l)[i]));
  revalue(attempt);
}

void NeuronBlock::descend(Attempt& attempt, const JobControl& control) {
  control.throwIfCancelled();
  JobControl inner(&control);
  const std::vector<DescentOutcome> outcomes = vertexq::descend(system_.h(), weights_.data(), count_, view(attempt),
                                                                attempt.codes.data(), attempt.values.data(), 1, inner);
  for (std::size_t l = 0; l < count_; ++l) attempt.errors[l] = std::max(attempt.errors[l] - outcomes[l].decrease, 0.0);
}

void NeuronBlock::revalue(Attempt& attempt) {
  const std::size_t n = inputs(), size = system_.groupSize();
  for (std::size_t l = 0; l < count_; ++l)
    for (std::size_t first = 0; first < n; first += size) {
      const Alphabet& a = attempt.alphabets[l * groups() + first / size];
      const std::int8_t* codes = &attempt.codes[l * n];
      float* values = &attempt.values[l * n];
      const std::size_t last = std::min(first + size, n);
      // (code - zero)·step in float64 is exact, and so is Alphabet::level for a float32 step.
      const double zero = a.zeroPoint(), step = a.step();
      if (a.table() || a.minimum() != 0)
        for (std::size_t i = first; i < last; ++i) values[i] = static_cast<float>(a.level(codes[i]));
      else
        for (std::size_t i = first; i < last; ++i) values[i] = static_cast<float>((codes[i] - zero) * step);
    }
  judge(attempt);
}

void NeuronBlock::judge(Attempt& attempt) {
  const std::size_t n = inputs();
  const std::vector<int>& order = system_.grouped().order;
  for (std::size_t l = 0; l < count_; ++l) {
    const float* q = &attempt.values[l * n];
    for (std::size_t p = 0; p < n; ++p) errors_[p + l * n] = q[order[p]] - weights(l)[order[p]];
  }
  attempt.errors.assign(count_, 0);
  system_.addErrors(system_.grouped().m.data(), n, 0, n, errors_.data(), nullptr, count_, residual_.data(),
                    attempt.errors.data());
}

std::size_t NeuronBlock::keepBetter(Attempt& best, const Attempt& tried) const {
  const std::size_t n = inputs(), g = groups();
  std::size_t kept = 0;
  for (std::size_t l = 0; l < count_; ++l) {
    if (!(tried.errors[l] < best.errors[l])) continue;
    ++kept;
    best.errors[l] = tried.errors[l];
    std::copy_n(&tried.alphabets[l * g], g, &best.alphabets[l * g]);
    std::copy_n(&tried.codes[l * n], n, &best.codes[l * n]);
    std::copy_n(&tried.values[l * n], n, &best.values[l * n]);
  }
  return kept;
}

}  // namespace vertexq
