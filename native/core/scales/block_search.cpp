#include "scales/block_search.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "scales/even_groups.h"
#include "tensors/convert.h"

namespace vertexq {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
/** Turns of factors and units at most. */
constexpr int kTurns = 4;
/** Passes over smaller and smaller changes of the best step and minimum. */
constexpr int kRefinements = 2;

constexpr float kLeastHalf = 0x1p-24F, kMostHalf = 65504;

/** To the nearest numbers of float16. */
void asHalves(float (&values)[kBlockLanes]) {
  std::uint16_t halves[kBlockLanes];
  narrow(NumberType::Float16, values, kBlockLanes, halves);
  widen(NumberType::Float16, halves, kBlockLanes, values);
}

}  // namespace

BlockSearch::BlockSearch(const AlphabetOptions& options)
    : options_(options),
      groups_(std::max<std::size_t>(options.factors.groups, 1)),
      hasMinima_(options.grid == Grid::Minimum),
      ones_(options.groupSize, 1.0F),
      all_(groups_),
      chosen_(groups_),
      factors_(groups_),
      minimumFactors_(groups_),
      errors_(groups_) {}

void BlockSearch::run(const float* weights, const float* importance, std::size_t count, std::int8_t* codes,
                      float* scales, float* minima) {
  if (!importance && options_.grid == Grid::FullRange && size() == kLaneWeights && groups_ == 1)
    return runEven(weights, count, codes, scales, minima);
  for (std::size_t block = 0; block < count; ++block) {
    const std::size_t at = block * size(), group = block * groups_;
    runOne(weights + at, importance ? importance + at : nullptr, codes + at, scales + group,
           minima ? minima + group : nullptr);
  }
}

/** Sixteen at once; by itself what these cannot do. */
void BlockSearch::runEven(const float* weights, std::size_t count, std::int8_t* codes, float* scales, float* minima) {
  const float half = static_cast<float>(options_.levels) / 2;
  const EvenLevels levels{-half, half - 1, options_.eitherSign};
  EvenGroups made;
  float some[kGroupLanes * kLaneWeights] = {};
  for (std::size_t first = 0; first < count; first += kGroupLanes) {
    const std::size_t lanes = std::min(kGroupLanes, count - first), at = first * kLaneWeights;
    const float* from = weights + at;
    if (lanes < kGroupLanes) {
      std::copy_n(from, lanes * kLaneWeights, some);
      from = some;
    }
    roundEvenGroups(levels, from, made);
    std::copy_n(made.codes, lanes * kLaneWeights, codes + at);
    std::copy_n(made.steps, lanes, scales + first);
    for (std::size_t g = 0; g < lanes; ++g) {
      const std::size_t own = at + g * kLaneWeights;
      if (!made.isDone[g]) runOne(weights + own, nullptr, codes + own, scales + first + g, minima);
    }
  }
}

double BlockSearch::runOne(const float* weights, const float* importance, std::int8_t* codes, float* scales,
                           float* minima) {
  const std::size_t size = options_.groupSize;
  const Alphabet any = Alphabet::withStep(options_.kind(), 1, 0);
  const auto least = static_cast<float>(any.minCode()), most = static_cast<float>(any.maxCode());
  const float* table = options_.table ? options_.table->data() : nullptr;
  for (std::size_t g = 0; g < groups_; ++g) {
    Group& group = all_[g];
    group = {};
    group.lanes = {weights + g * size, importance ? importance + g * size : ones_.data(), size, least, most, table};
    searchGroup(group);
    if (group.total > 0) continue;
    // Inputs that count for nothing are rounded all the same.
    group = {};
    group.lanes = {weights + g * size, ones_.data(), size, least, most, table};
    searchGroup(group);
  }
  if (options_.factors.groups > 0)
    storeTogether();
  else
    storeAlone(all_[0]);
  double error = 0;
  for (std::size_t g = 0; g < groups_; ++g) {
    BlockScales lane{};
    lane.set(0, chosen_[g].step, chosen_[g].minimum);
    blockKernels().codes(all_[g].lanes, lane, 0, codes + g * size);
    scales[g] = static_cast<float>(chosen_[g].step);
    if (minima) minima[g] = static_cast<float>(chosen_[g].minimum);
    error += errors_[g];
  }
  return error;
}

void BlockSearch::searchGroup(Group& group) {
  const BlockGroup& g = group.lanes;
  group.low = group.high = g.weights[0];
  for (std::size_t i = 0; i < g.count; ++i) {
    const double w = g.weights[i], importance = g.importance[i];
    group.low = std::min(group.low, g.weights[i]);
    group.high = std::max(group.high, g.weights[i]);
    group.total += importance;
    group.sum += importance * w;
    group.squares += importance * w * w;
  }
  group.error = kInfinity;
  if (hasMinima_)
    searchMinimum(group);
  else
    searchEven(group);
}

/** Lanes' codes with the step and minimum that suit them best. */
void BlockSearch::takeBest(Group& group, const BlockScales& scales) {
  BlockSums sums;
  blockKernels().sums(group.lanes, scales, sums);
  for (std::size_t l = 0; l < kBlockLanes; ++l) {
    const double q = sums.q[l], qq = sums.qq[l], wq = sums.wq[l];
    Scale scale;
    double weight = qq;
    if (hasMinima_) {
      const double spread = group.total * qq - q * q;
      if (spread > 1e-6 * group.total * qq) {
        scale.step = (group.total * wq - q * group.sum) / spread;
        scale.minimum = (group.sum - scale.step * q) / group.total;
        weight = spread / group.total;
      } else {
        scale.minimum = group.total > 0 ? group.sum / group.total : 0;
      }
      if (options_.factors.mostMinimum > 0 && scale.minimum > 0) {
        scale = {qq > 0 ? wq / qq : 0, 0};
        weight = qq;
      }
      if (!(scale.step >= 0)) continue;
    } else {
      scale.step = qq > 0 ? wq / qq : 0;
    }
    const double error = group.squares - scale.step * wq - scale.minimum * group.sum;
    if (!(error < group.error)) continue;
    group.error = error;
    group.best = scale;
    group.stepWeight = weight;
  }
}

void BlockSearch::searchEven(Group& group) {
  const double largest = group.high > -group.low ? group.high : group.low;
  if (largest == 0) return void(group.error = 0);
  const double levels = options_.levels;
  const double least = 1 - 1.6 / levels, most = 1 + 1.6 / std::sqrt(levels);
  const LevelTable* table = options_.table;
  const double down = table ? -table->front() : levels / 2, up = table ? table->back() : levels / 2 - 1;
  BlockScales scales;
  // The largest weight lies near the lower end, or near the upper one: lanes by turns where both may be.
  constexpr std::size_t half = kBlockLanes / 2;
  for (std::size_t l = 0; l < kBlockLanes; ++l) {
    const double end = options_.eitherSign ? (l % 2 ? up : -down) : largest < 0 ? -down : up;
    const double part = least + (most - least) * (options_.eitherSign ? static_cast<double>(l / 2) / (half - 1)
                                                                      : static_cast<double>(l) / (kBlockLanes - 1));
    scales.set(l, largest / (end * part), 0);
  }
  takeBest(group, scales);
  const double width = (most - least) / (half - 1);
  const double step = group.best.step;
  for (std::size_t l = 0; l < kBlockLanes; ++l)
    scales.set(l, step * (1 + width * (2 * static_cast<double>(l) / (kBlockLanes - 1) - 1)), 0);
  takeBest(group, scales);
}

void BlockSearch::searchMinimum(Group& group) {
  const bool isBelow = options_.factors.mostMinimum > 0;
  const double low = isBelow ? std::min(group.low, 0.0F) : group.low, high = group.high;
  const double top = options_.levels - 1;
  BlockScales scales;
  if (!(high > low)) {
    group.best = {0, isBelow ? std::min(low, 0.0) : low};
    group.error = 0;
    group.stepWeight = 0;
    return;
  }
  const double least = 1 - 2.4 / std::sqrt(static_cast<double>(options_.levels) * 4), most = 1.06;
  for (std::size_t l = 0; l < kBlockLanes; ++l) {
    const double part = least + (most - least) * static_cast<double>(l) / (kBlockLanes - 1);
    const double half = (high - low) / 2 * part;
    scales.set(l, 2 * half / top, (high + low) / 2 - half);
  }
  takeBest(group, scales);
  // Changes of the step and of the minimum, four of each.
  double width = 1;
  for (int k = 0; k < kRefinements; ++k, width /= 2) {
    const Scale best = group.best;
    if (!(best.step > 0)) return;
    for (std::size_t l = 0; l < kBlockLanes; ++l) {
      const double change = (static_cast<double>(l % 4) - 1.5) / 1.5, shift = (static_cast<double>(l / 4) - 1.5) / 1.5;
      const double step = best.step * (1 + width * change / (options_.levels + 4));
      // About the middle: the codes of the lower half move as those of the upper one.
      scales.set(l, step, best.minimum - (step - best.step) * top / 2 + shift * width * best.step / 2);
    }
    takeBest(group, scales);
  }
}

/** The step and minimum as stored, of some near the best ones. */
void BlockSearch::storeAlone(Group& group) {
  // What overflows is for Alphabet to refuse.
  if (std::max(std::abs(group.low), std::abs(group.high)) > kMostHalf)
    (void)Alphabet::covering(options_.kind(), group.low, group.high, options_.precision);
  const double width = hasMinima_ ? 0.003 : 0.008;
  float steps[kBlockLanes], minima[kBlockLanes];
  for (std::size_t l = 0; l < kBlockLanes; ++l) {
    const double change = hasMinima_ ? (static_cast<double>(l % 4) - 1.5) / 1.5 : (static_cast<double>(l) - 7.5) / 7.5;
    const double shift = hasMinima_ && l > 0 ? (static_cast<double>(l / 4) - 1.5) / 1.5 * 0.04 * group.best.step : 0;
    steps[l] = static_cast<float>(group.best.step * (l > 0 ? 1 + width * change : 1));
    minima[l] = static_cast<float>(group.best.minimum + shift);
  }
  BlockScales scales;
  asHalves(steps);
  asHalves(minima);
  for (std::size_t l = 0; l < kBlockLanes; ++l) {
    if (steps[l] == 0 && group.best.step != 0)
      steps[l] = std::copysign(kLeastHalf, static_cast<float>(group.best.step));
    scales.set(l, steps[l], minima[l]);
  }
  float errors[kBlockLanes];
  blockKernels().errors(group.lanes, scales, errors);
  const auto best = static_cast<std::size_t>(std::min_element(errors, errors + kBlockLanes) - errors);
  chosen_[0] = {steps[best], minima[best]};
  errors_[0] = errors[best];
}

/** Each group's factors for these units: those nearest to what it would have by itself, or next to them. */
void BlockSearch::chooseFactors(double unit, double minimumUnit) {
  const SuperBlocks& f = options_.factors;
  for (std::size_t g = 0; g < groups_; ++g) {
    const Group& group = all_[g];
    const int scale = nearestFactor(group.best.step, unit, f.leastScale, f.mostScale);
    const int minimum = nearestFactor(-group.best.minimum, minimumUnit, 0, f.mostMinimum);
    BlockScales lanes{};
    int scales[kBlockLanes] = {}, minima[kBlockLanes] = {};
    for (std::size_t l = 0; l < kBlockLanes; ++l) {
      const int change = hasMinima_ ? static_cast<int>(l % 3) : static_cast<int>(l % 5);
      const int shift = hasMinima_ ? static_cast<int>(l / 3) % 5 : 2;
      scales[l] = std::clamp(scale + change - (hasMinima_ ? 1 : 2), f.leastScale, f.mostScale);
      minima[l] = std::clamp(minimum + shift - 2, 0, f.mostMinimum);
      lanes.set(l, unit * scales[l], -minimumUnit * minima[l]);
    }
    float errors[kBlockLanes];
    blockKernels().errors(group.lanes, lanes, errors);
    const std::size_t best = static_cast<std::size_t>(std::min_element(errors, errors + kBlockLanes) - errors);
    factors_[g] = scales[best];
    minimumFactors_[g] = minima[best];
    errors_[g] = errors[best];
  }
}

double BlockSearch::chosenError() const {
  double sum = 0;
  for (const double error : errors_) sum += error;
  return sum;
}

/** The units with the least error for the factors, and the codes that these give with the units as they are. */
void BlockSearch::fitUnits(double& unit, double& minimumUnit) {
  double aa = 0, ab = 0, bb = 0, aw = 0, bw = 0;
  for (std::size_t g = 0; g < groups_; ++g) {
    const Group& group = all_[g];
    BlockScales lane{};
    BlockSums sums;
    lane.set(0, unit * factors_[g], -minimumUnit * minimumFactors_[g]);
    blockKernels().sums(group.lanes, lane, sums);
    const double s = factors_[g], m = -minimumFactors_[g];
    aa += s * s * sums.qq[0];
    ab += s * m * sums.q[0];
    bb += m * m * group.total;
    aw += s * sums.wq[0];
    bw += m * group.sum;
  }
  if (!hasMinima_ || !(bb > 0)) {
    if (aa > 0) unit = aw / aa;
    return;
  }
  const double determinant = aa * bb - ab * ab;
  if (!(determinant > 1e-6 * aa * bb)) return;
  unit = (aw * bb - bw * ab) / determinant;
  minimumUnit = (bw * aa - aw * ab) / determinant;
}

void BlockSearch::storeTogether() {
  const SuperBlocks& f = options_.factors;
  std::vector<double> steps(groups_), minima(groups_), stepWeights(groups_), minimumWeights(groups_);
  for (std::size_t g = 0; g < groups_; ++g) {
    steps[g] = all_[g].best.step;
    minima[g] = -all_[g].best.minimum;
    stepWeights[g] = all_[g].stepWeight;
    minimumWeights[g] = all_[g].total;
  }
  double unit = sharedUnit(steps.data(), stepWeights.data(), groups_, f.leastScale, f.mostScale, options_.precision);
  double minimumUnit =
      hasMinima_ ? sharedUnit(minima.data(), minimumWeights.data(), groups_, 0, f.mostMinimum, options_.precision) : 0;
  double least = kInfinity;
  std::vector<double> bestErrors;
  for (int turn = 0; turn < kTurns; ++turn) {
    chooseFactors(unit, minimumUnit);
    const double error = chosenError();
    if (!(error < least)) break;
    least = error;
    bestErrors = errors_;
    for (std::size_t g = 0; g < groups_; ++g) chosen_[g] = {unit * factors_[g], -minimumUnit * minimumFactors_[g]};
    fitUnits(unit, minimumUnit);
    if (f.leastScale == 0) unit = std::max(unit, 0.0);
    minimumUnit = std::max(minimumUnit, 0.0);
    unit = unit == 0 ? 0 : std::copysign(nearestStep(std::abs(unit), options_.precision), unit);
    minimumUnit = minimumUnit == 0 ? 0 : nearestStep(minimumUnit, options_.precision);
  }
  errors_ = bestErrors;
}

}  // namespace vertexq
