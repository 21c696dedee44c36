#include "packing/plain_rounding.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "alphabet/scale_search.h"
#include "packing/rounding_kernels.h"
#include "packing/shrunk_steps.h"
#include "tensors/permute.h"

namespace vertexq {

namespace {

/** Factors tried between two looks at the clipped part. */
constexpr int kBetweenLooks = 8;
/** What a norm may be off by its sum in float32. */
constexpr double kSumDoubt = 4e-6;
/** Fewer groups are sooner rounded one by one. */
constexpr std::size_t kFewLanes = 3;

/** Alphabet::covering's step: the least number of the precision whose levels cover both. */
double roundedStep(const StepRule& rule, ScalePrecision precision, double low, double high) {
  const double step = leastStep(rule, low, high);
  const double rounded = precision == ScalePrecision::Float32 ? static_cast<float>(step) : roundedDown(step, precision);
  return covers(rule, rounded, low, high) ? rounded : nextUp(rounded, precision);
}

/** roundedStep of weights shrunk by `shrink`, from the step `whole` of the weights as they are: no division but near a number of the precision. */
double shrunkStep(const StepRule& rule, ScalePrecision precision, double whole, double low, double high,
                  double shrink) {
  const double step = whole * shrink;
  const double below = roundedDown(step * kBelowStep, precision);
  if (below == roundedDown(step * (2 - kBelowStep), precision)) return nextUp(below, precision);
  return roundedStep(rule, precision, low * shrink, high * shrink);
}

double exactError(const Alphabet& alphabet, const std::vector<double>& w, std::size_t count) {
  double sum = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const double error = w[i] - alphabet.level(alphabet.nearest(w[i]));
    sum += error * error;
  }
  return sum;
}

}  // namespace

PlainRounding::PlainRounding(const GridKind& kind, ScaleRule rule, ScalePrecision precision)
    : kind_(kind), grid_(kind.grid), levels_(kind.levels), rule_(rule), precision_(precision) {
  const Alphabet any = Alphabet::withStep(kind, 1, 0);
  minCode_ = any.minCode();
  maxCode_ = any.maxCode();
  lanes_ = {kind, rule, precision, minCode_, maxCode_};
}

RoundedGroup PlainRounding::roundReference(const float* weights, std::size_t count, std::int8_t* codes) {
  exact_.assign(weights, weights + count);
  RoundedGroup group;
  group.alphabet = rule_ == ScaleRule::Max ? coveringAlphabet(kind_, exact_.data(), count, precision_)
                                           : searchAlphabet(kind_, exact_.data(), nullptr, count, precision_);
  group.error = exactError(group.alphabet, exact_, count);
  for (std::size_t i = 0; i < count; ++i) {
    group.signal += exact_[i] * exact_[i];
    codes[i] = static_cast<std::int8_t>(group.alphabet.nearest(exact_[i]));
  }
  return group;
}

RoundedGroup PlainRounding::round(const float* weights, std::size_t count, std::int8_t* codes) {
  if (grid_ == Grid::Minimum || grid_ == Grid::Table) return roundReference(weights, count, codes);
  const RoundingKernels& kernels = roundingKernels();
  const Range range = kernels.range(weights, count);
  const float largest = std::max(-range.low, range.high);
  // Levels that may overflow the scale's type are looked at there.
  if (!(largest >= kLeastScale && largest <= mostScale(precision_))) return roundReference(weights, count, codes);
  const StepRule rule = stepRule(grid_, levels_, range.low, range.high);
  // Level 0 is code `zeroCode`; of a zero-free alphabet the code 0 is half a step above 0.
  const auto zeroOf = [&](const StepRule& r) { return r.asymmetric ? minCode_ + r.zero : 0; };
  const auto levelsOf = [&](int zeroCode) {
    return Levels{static_cast<float>(minCode_ - zeroCode), static_cast<float>(maxCode_ - zeroCode),
                  grid_ == Grid::ZeroFree ? 0.5F : 0.0F};
  };
  int zeroCode = zeroOf(rule);
  Levels levels = levelsOf(zeroCode);
  const double low = rule.asymmetric ? std::min<double>(range.low, 0) : range.low;
  const double high = rule.asymmetric ? std::max<double>(range.high, 0) : range.high;
  // No weight has more steps than there are levels, but for those that a smaller range clips.
  const double doubt = kDoubt * levels_, root = std::sqrt(static_cast<double>(count));

  const double whole = leastStep(rule, low, high);
  double steps[kFactors], norms[kFactors], doubts[kFactors];
  int zeros[kFactors];
  double ceiling = std::numeric_limits<double>::infinity();  // the least norm is no larger
  int tried = 0;
  const int most = rule_ == ScaleRule::Max ? 1 : kFactors;
  /** Whether what a step clips costs more than the best one, and what smaller ones do. */
  const auto isClipped = [&](double step, double shrink) {
    const double least = (levels.least + levels.offset) * step, top = (levels.most + levels.offset) * step;
    const double lost = kernels.clipped(weights, count, static_cast<float>(least), static_cast<float>(top));
    return std::sqrt(lost) * (1 - kSumDoubt) - root * doubt / shrink * step > ceiling;
  };
  for (; tried < most; ++tried) {
    const double shrink = shrinkOf(tried);
    double step;
    if (rule.certain) {
      step = shrunkStep(rule, precision_, whole, low, high, shrink);
    } else {
      const StepRule own = stepRule(grid_, levels_, low * shrink, high * shrink);
      step = roundedStep(own, precision_, low * shrink, high * shrink);
      levels = levelsOf(zeroCode = zeroOf(own));
    }
    if (!(step >= std::numeric_limits<float>::min() && step <= kMostScale))
      return roundReference(weights, count, codes);
    if (rule.certain && tried > 0 && tried % kBetweenLooks == 0 && isClipped(step, shrink)) break;
    steps[tried] = step;
    zeros[tried] = zeroCode;
    const auto inverse = static_cast<float>(1 / step);
    norms[tried] = step * std::sqrt(kernels.error(weights, count, levels, inverse));
    doubts[tried] = kSumDoubt * norms[tried] + root * doubt / shrink * step;
    ceiling = std::min(ceiling, norms[tried] + doubts[tried]);
  }

  int chosen = -1, rivals = 0;
  for (int k = 0; k < tried; ++k)
    if (norms[k] - doubts[k] <= ceiling) {
      if (chosen < 0) chosen = k;
      ++rivals;
    }
  if (rivals > 1) {
    exact_.assign(weights, weights + count);
    double least = std::numeric_limits<double>::infinity();
    for (int k = chosen; k < tried; ++k) {
      if (norms[k] - doubts[k] > ceiling) continue;
      const double error = exactError(Alphabet::withStep(kind_, steps[k], zeros[k]), exact_, count);
      if (error < least) {
        least = error;
        chosen = k;
      }
    }
  }
  levels = levelsOf(zeroCode = zeros[chosen]);
  RoundedGroup group;
  group.alphabet = Alphabet::withStep(kind_, steps[chosen], zeroCode);
  group.error = norms[chosen] * norms[chosen];
  group.signal = range.squares;
  if (precision_ != ScalePrecision::Float32) {
    kernels.codes(weights, count, levels, static_cast<float>(steps[chosen]), zeroCode, codes);
  } else if (!kernels.likelyCodes(weights, count, levels, static_cast<float>(1 / steps[chosen]), zeroCode,
                                  static_cast<float>(2 * doubt), codes))
    for (std::size_t i = 0; i < count; ++i) codes[i] = static_cast<std::int8_t>(group.alphabet.nearest(weights[i]));
  return group;
}

void PlainRounding::roundLanes(const LaneWeights& weights, std::size_t lanes, RoundedLanes& to) {
  vertexq::roundLanes(lanes_, weights, to);
  for (std::size_t g = 0; g < lanes; ++g) {
    if (to.isDone[g] != 0) continue;
    own_.resize(weights.count);
    for (std::size_t i = 0; i < weights.count; ++i) own_[i] = weights.first[i * weights.stride + g];
    std::int8_t* codes = to.codes + g * weights.count;
    const Alphabet alphabet = round(own_.data(), weights.count, codes).alphabet;
    const Changed changed =
        roundingKernels().changed(own_.data(), codes, weights.count, alphabet.zeroPoint(), alphabet.step());
    to.steps[g] = static_cast<float>(alphabet.step());
    to.zeroPoints[g] = static_cast<float>(alphabet.zeroPoint());
    to.errors[g] = changed.error;
    to.signals[g] = changed.signal;
    to.offAlphabet[g] = static_cast<double>(changed.count);
  }
}

void PlainRounding::roundLanes(const float* weights, std::size_t groups, std::size_t count, RoundedLanes& to) {
  turned_.resize(count * kGroupLanes);
  transposeBlock(sizeof(float), weights, count, groups, count, turned_.data(), kGroupLanes);
  // Lanes that nobody asks for have weights of one that somebody does.
  for (std::size_t i = 0; i < count; ++i)
    std::fill(&turned_[i * kGroupLanes] + groups, &turned_[i * kGroupLanes] + kGroupLanes, turned_[i * kGroupLanes]);
  roundLanes({turned_.data(), kGroupLanes, count}, groups, to);
}

void PlainRounding::roundGroups(const float* weights, std::size_t groups, std::size_t count, std::int8_t* codes,
                                Alphabet* alphabets) {
  for (std::size_t first = 0; first < groups; first += kGroupLanes) {
    const std::size_t lanes = hasLanes(count) ? std::min(kGroupLanes, groups - first) : 0;
    if (lanes < kFewLanes) {
      for (std::size_t g = first; g < std::min(first + kGroupLanes, groups); ++g)
        alphabets[g] = round(weights + g * count, count, codes + g * count).alphabet;
      continue;
    }
    RoundedLanes some;
    roundLanes(weights + first * count, lanes, count, some);
    std::copy_n(some.codes, lanes * count, codes + first * count);
    for (std::size_t g = 0; g < lanes; ++g)
      alphabets[first + g] = Alphabet::withStep(kind_, some.steps[g], some.zeroPoints[g]);
  }
}

}  // namespace vertexq
