#include "scales/group_search.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "linalg/real_blas.h"

namespace vertexq {

double normalStep(int levels) {
  struct Entry {
    int levels;
    double step;
  };
  static const Entry table[] = {{2, 1.596},   {3, 1.224},   {4, 0.9957},  {5, 0.8430},   {8, 0.5860},
                                {16, 0.3352}, {32, 0.1881}, {64, 0.1041}, {128, 0.0569}, {256, 0.0308}};
  const Entry* above = std::begin(table);
  while (above + 1 != std::end(table) && above->levels < levels) ++above;
  if (above->levels == levels || above == std::begin(table)) return above->step;
  const Entry* below = above - 1;
  const double part = std::log(static_cast<double>(levels) / below->levels) /
                      std::log(static_cast<double>(above->levels) / below->levels);
  return below->step * std::pow(above->step / below->step, part);
}

GroupSearch::GroupSearch(NeuronBlock& block, const GroupSearchOptions& options)
    : block_(block),
      options_(options),
      plain_(Alphabet::withStep(block.options().kind(), 1, 0)),
      errors_(block.inputs() * kNeuronBlock),
      residual_(RoundingSystem::kResidualRows * kNeuronBlock) {
  const std::size_t size = std::min(block.system().groupSize(), block.inputs()) * kNeuronBlock;
  for (std::vector<float>* v : {&weights_, &centres_, &shift_, &values_, &difference_, &bestValues_}) v->resize(size);
  codes_.resize(size);
  bestCodes_.resize(size);
}

void GroupSearch::run(Attempt& attempt, const JobControl& control) {
  units_.clear();
  searchAll(attempt, control);
}

void GroupSearch::runHeld(Attempt& attempt, const JobControl& control) {
  const SuperBlocks& factors = block_.options().factors;
  const std::size_t groups = block_.groups(), size = factors.groups;
  units_.clear();
  std::vector<double> steps, minima;
  const std::vector<double> ones(size, 1.0);
  for (std::size_t l = 0; l < block_.count(); ++l)
    for (std::size_t first = 0; first < groups; first += size) {
      const std::size_t count = std::min(size, groups - first);
      steps.clear();
      minima.clear();
      for (std::size_t g = first; g < first + count; ++g) {
        const Alphabet a = block_.original(l, attempt.alphabets[l * groups + g]);
        steps.push_back(a.isMirrored() ? -a.step() : a.step());
        minima.push_back(a.minimum());
      }
      const ScalePrecision precision = block_.options().precision;
      units_.push_back({sharedUnit(steps.data(), ones.data(), count, factors.leastScale, factors.mostScale, precision),
                        factors.mostMinimum > 0
                            ? sharedUnit(minima.data(), ones.data(), count, -factors.mostMinimum, 0, precision)
                            : 0});
    }
  searchAll(attempt, control);
}

/** The alphabet nearest to this one that the group's super-block holds. */
Alphabet GroupSearch::held(std::size_t l, std::size_t group, const Alphabet& alphabet) const {
  if (units_.empty()) return alphabet;
  const SuperBlocks& factors = block_.options().factors;
  const std::size_t blocks = (block_.groups() + factors.groups - 1) / factors.groups;
  const Units& unit = units_[l * blocks + group / factors.groups];
  const Alphabet a = block_.original(l, alphabet);
  const int scale =
      nearestFactor(a.isMirrored() ? -a.step() : a.step(), unit.step, factors.leastScale, factors.mostScale);
  const int minimum = nearestFactor(a.minimum(), unit.minimum, -factors.mostMinimum, 0);
  return Alphabet::of(block_.options().kind(), unit.step * scale, unit.minimum * minimum).scaledBy(block_.exponent(l));
}

void GroupSearch::searchAll(Attempt& attempt, const JobControl& control) {
  attempt = block_.blank();
  std::fill(attempt.errors.begin(), attempt.errors.end(), 0.0);
  for (const RoundingSystem::Group& group : block_.system().groups()) searchGroup(group, attempt, control);
}

/** Weights of the group and the centres that the groups before it leave for them. */
void GroupSearch::centreGroup(const RoundingSystem::Group& group) {
  const Coefficients<float>& grouped = block_.system().grouped();
  const std::size_t n = block_.inputs();
  for (std::size_t l = 0; l < block_.count(); ++l)
    for (std::size_t i = 0; i < group.size; ++i)
      weights_[i + l * group.size] = block_.weights(l)[grouped.order[group.first + i]];
  std::fill(shift_.begin(), shift_.end(), 0.0F);
  if (group.first > 0)
    linalg::gemm(linalg::kTransposed, linalg::kPlain, group.size, block_.count(), group.first, 1.0F,
                 grouped.m.column(group.first), n, errors_.data(), n, 0.0F, shift_.data(), group.size);
  for (std::size_t i = 0; i < group.size * block_.count(); ++i) centres_[i] = weights_[i] - shift_[i];
}

GroupSearch::Range GroupSearch::rangeOf(const RoundingSystem::Group& group, std::size_t l) const {
  const float* c = &centres_[l * group.size];
  const float* pivots = &block_.system().pivots()[group.first];
  const Grid grid = block_.options().grid;
  const bool isShifted = grid == Grid::Asymmetric || grid == Grid::Minimum;
  Range r;
  if (grid == Grid::Minimum) r.low = r.high = c[0];
  double sum = 0, squares = 0, weight = 0;
  for (std::size_t i = 0; i < group.size; ++i) {
    r.low = std::min<double>(r.low, c[i]);
    r.high = std::max<double>(r.high, c[i]);
    weight += pivots[i];
    sum += static_cast<double>(pivots[i]) * c[i];
  }
  const double mean = isShifted && weight > 0 ? sum / weight : 0;
  for (std::size_t i = 0; i < group.size; ++i) squares += pivots[i] * (c[i] - mean) * (c[i] - mean);
  // Of levels that may be mirrored the zero point of those that reach further where the weights do.
  const bool isMirrored = block_.options().eitherSign && r.high > -r.low;
  r.middle = isShifted ? (mean + (r.low + r.high) / 2) / 2 : isMirrored ? -1 : 0;
  const double reach = isShifted ? (r.high - r.low) / 2 : std::max(-r.low, r.high);
  r.most = 2 * reach / (block_.options().levels - 1);
  r.least = weight > 0 ? kLeastOfNormal * normalStep(block_.options().levels) * std::sqrt(squares / weight) : 0;
  if (const LevelTable* table = block_.options().table) {
    // The levels' mean distance is what counts as a step.
    r.least *= (block_.options().levels - 1) / (table->back() - table->front());
    r.most = std::max(r.low / table->front(), r.high / table->back());
  }
  // A group of one spread (all centres alike, one input) has no ladder.
  if (!(r.least > 0)) r.least = r.most;
  if (r.most < 1.5 * r.least) r.most = 1.5 * r.least;
  return r;
}

/** The zero point that puts the middle of the alphabet nearest to `middle`. */
double GroupSearch::zeroFor(double step, double middle) const {
  if (!(step > 0)) return 0;
  if (block_.options().eitherSign) return middle;
  const double code = (plain_.minCode() + plain_.maxCode()) / 2.0 - middle / step;
  if (block_.options().grid == Grid::Minimum) return code;
  return clampedWhole(std::round(code), plain_.minCode(), plain_.maxCode());
}

/** Rounds the group with tried_ and keeps what is better, neuron by neuron. */
void GroupSearch::tryAlphabets(const RoundingSystem::Group& group) {
  const std::size_t count = block_.count(), size = group.size;
  RoundingTask<float> task;
  task.weights = weights_.data();
  task.centres = centres_.data();
  task.neurons = count;
  task.alphabets = {tried_.data(), size, size};
  task.codes = codes_.data();
  task.values = values_.data();
  JobControl inner;
  successiveRounding(group.within, task, 1, inner);
  for (std::size_t i = 0; i < size * count; ++i) difference_[i] = values_[i] - weights_[i];
  triedErrors_.assign(count, 0);
  block_.system().addErrors(group.within.m.data(), size, group.first, size, difference_.data(), shift_.data(), count,
                            residual_.data(), triedErrors_.data());
  for (std::size_t l = 0; l < count; ++l) {
    if (!(triedErrors_[l] < bestErrors_[l])) continue;
    bestErrors_[l] = triedErrors_[l];
    best_[l] = tried_[l];
    std::copy_n(&codes_[l * size], size, &bestCodes_[l * size]);
    std::copy_n(&values_[l * size], size, &bestValues_[l * size]);
  }
}

template <typename CandidateOf>
void GroupSearch::tryAll(const RoundingSystem::Group& group, CandidateOf candidateOf) {
  for (std::size_t l = 0; l < block_.count(); ++l) {
    const Candidate c = candidateOf(l);
    // Only zeros to round, and nothing to compensate: the covering alphabet's one level is exact.
    tried_[l] = c.step > 0 ? held(l, group.group, block_.withStep(l, c.step, c.zero)) : best_[l];
  }
  tryAlphabets(group);
}

void GroupSearch::searchGroup(const RoundingSystem::Group& group, Attempt& attempt, const JobControl& control) {
  control.throwIfCancelled();
  const std::size_t count = block_.count(), n = block_.inputs(), groups = block_.groups();
  const Grid grid = block_.options().grid;
  centreGroup(group);
  std::vector<Range> ranges(count);
  for (std::size_t l = 0; l < count; ++l) ranges[l] = rangeOf(group, l);

  bestErrors_.assign(count, std::numeric_limits<double>::infinity());
  tried_.clear();
  for (std::size_t l = 0; l < count; ++l)
    tried_.push_back(held(l, group.group, block_.covering()[l * groups + group.group]));
  best_ = tried_;
  tryAlphabets(group);

  const double rungs = std::max(1, options_.ladder - 1);
  for (int j = 0; j < options_.ladder; ++j) {
    control.throwIfCancelled();
    tryAll(group, [&](std::size_t l) {
      const Range& r = ranges[l];
      const double step = r.least * std::pow(r.most / r.least, j / rungs);
      return Candidate{step, zeroFor(step, r.middle)};
    });
  }
  const auto nearBest = [&](double part, double shift) {
    const std::vector<Alphabet> start = best_;
    tryAll(group, [&](std::size_t l) {
      const Range& r = ranges[l];
      const double width = r.least > 0 ? std::log(r.most / r.least) / rungs : 0;
      const double factor = std::exp(part * width);
      return Candidate{start[l].step() * factor, start[l].zeroAt(factor) + shift};
    });
  };
  if (block_.options().eitherSign)
    for (const double change : {0.0, 0.5, -0.5})
      tryAll(group, [&, start = best_](std::size_t l) {
        const double width = ranges[l].least > 0 ? std::log(ranges[l].most / ranges[l].least) / rungs : 0;
        return Candidate{start[l].step() * std::exp(change * width), start[l].isMirrored() ? 0.0 : -1.0};
      });
  if (grid == Grid::Asymmetric || grid == Grid::Minimum)
    for (const int shift : {1, -1, -1, 1}) nearBest(shift == 1 ? 0.3 : -0.3, shift);
  double part = 1;
  for (int k = 0; k < options_.refinements; ++k) {
    control.throwIfCancelled();
    part /= 2;
    nearBest(part, 0);
    nearBest(-part, 0);
    if (grid != Grid::Minimum) continue;
    nearBest(0, part);
    nearBest(0, -part);
  }

  const std::vector<int>& order = block_.system().grouped().order;
  for (std::size_t l = 0; l < count; ++l) {
    attempt.alphabets[l * groups + group.group] = best_[l];
    attempt.errors[l] += bestErrors_[l];
    for (std::size_t i = 0; i < group.size; ++i) {
      const std::size_t at = i + l * group.size;
      const auto input = static_cast<std::size_t>(order[group.first + i]);
      attempt.codes[input + l * n] = bestCodes_[at];
      attempt.values[input + l * n] = bestValues_[at];
      errors_[group.first + i + l * n] = bestValues_[at] - weights_[at];
    }
  }
}

}  // namespace vertexq
