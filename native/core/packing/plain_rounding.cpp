#include "packing/plain_rounding.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "alphabet/scale_search.h"
#include "packing/rounding_kernels.h"

namespace vertexq {

namespace {

constexpr int kFactors = kShrinkSteps - kSmallestShrink + 1;
/** Room for as many as are tried together. */
constexpr int kRoom = (kFactors + kSteps - 1) / kSteps * kSteps;
/** Factors tried between two looks at the clipped part. */
constexpr int kBetweenLooks = 8;
/** Largest weights whose squares, and those of their steps, float32 holds well within its range. */
constexpr float kLeastScale = 0x1p-30F, kMostScale = 0x1p30F;
/** What a weight of w steps may be off in float32, over w: two roundings, and a little. */
constexpr double kDoubt = 0x1.2p-23;
/** What a norm may be off by its sum in float32. */
constexpr double kSumDoubt = 4e-6;

/** Where steps come from, with the operations of Alphabet::covering, so that they are bit for bit its own. */
struct StepRule {
  bool asymmetric;
  double below, above;  // levels on either side of 0
  bool certain;         // whether every factor has the same zero point
  int zero;             // its code, from 0
};

double leastStep(const StepRule& rule, double low, double high) {
  if (!rule.asymmetric) return std::max(std::abs(low), std::abs(high)) / rule.above;
  const double down = low == 0 ? 0 : rule.below == 0 ? std::numeric_limits<double>::infinity() : -low / rule.below;
  const double up = high == 0 ? 0 : rule.above == 0 ? std::numeric_limits<double>::infinity() : high / rule.above;
  return std::max(down, up);
}

StepRule stepRule(Grid grid, int levels, double low, double high) {
  if (grid == Grid::Integer) return {false, 0, (levels - 1) / 2.0, true, 0};
  if (grid == Grid::ZeroFree) return {false, 0, levels / 2 - 0.5, true, 0};
  if (grid == Grid::FullRange) return {true, levels / 2.0, levels / 2 - 1.0, true, levels / 2};
  const int top = levels - 1;
  low = std::min(low, 0.0);
  high = std::max(high, 0.0);
  const int down = static_cast<int>(top * (-low / (high - low)));  // floor: no calls of it
  const int up = std::min(down + 1, top);
  const auto rule = [&](int zero) { return StepRule{true, double(zero), double(top - zero), true, zero}; };
  const double first = leastStep(rule(down), low, high), second = leastStep(rule(up), low, high);
  StepRule chosen = rule(first <= second ? down : up);
  // Of nearly equal ones, roundings decide, and differently for each factor; but not for equal weights on either side.
  chosen.certain = down == up || low == -high || std::abs(first - second) > 1e-12 * first;
  return chosen;
}

bool covers(const StepRule& rule, double step, double low, double high) {
  return rule.asymmetric ? -rule.below * step <= low && rule.above * step >= high
                         : rule.above * step >= std::max(std::abs(low), std::abs(high));
}

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
  const double below = roundedDown(step * (1 - 1e-14), precision);
  if (below == roundedDown(step * (1 + 1e-14), precision)) return nextUp(below, precision);
  return roundedStep(rule, precision, low * shrink, high * shrink);
}

/** Bits of a number's fraction, and the least number that has them all. */
int fractionBitsOf(ScalePrecision precision) {
  return precision == ScalePrecision::Float16 ? 10 : precision == ScalePrecision::BFloat16 ? 7 : 23;
}
double leastNormalOf(ScalePrecision precision) { return precision == ScalePrecision::Float16 ? 0x1p-14 : 0x1p-126; }

/** The factors, and 1 over them; behind the last one any, and infinity: nothing is known of what they give. */
struct Shrinks {
  double factors[kRoom], inverses[kRoom];

  Shrinks() {
    for (int k = 0; k < kRoom; ++k) {
      factors[k] = static_cast<double>(kShrinkSteps - k) / kShrinkSteps;
      inverses[k] = k < kFactors ? 1 / factors[k] : std::numeric_limits<double>::infinity();
    }
  }
};
static_assert(kRoom <= kShrinkSteps, "a factor is positive");
const Shrinks kShrinks;

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
  if (!(largest >= kLeastScale && largest <= (precision_ == ScalePrecision::Float16 ? 0x1p14F : kMostScale)))
    return roundReference(weights, count, codes);
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
  double steps[kRoom], norms[kRoom], doubts[kRoom];
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
  const bool together =
      rule.certain && most > 1 && count <= kSmall && whole * 0.99 / kShrinkSteps >= leastNormalOf(precision_);
  for (int first = 0; together && first < most; first += kSteps) {
    std::uint64_t unsure[kSteps];
    if (kernels.steps(whole, kShrinks.factors + first, fractionBitsOf(precision_), steps + first, unsure))
      for (int k = first; k < first + kSteps; ++k) {
        // A number that the step is, as far as float64 tells: it or the next one.
        const double shrink = kShrinks.factors[k];
        if (unsure[k - first] != 0 && !covers(rule, steps[k], low * shrink, high * shrink))
          steps[k] = nextUp(steps[k], precision_);
      }
    if (first > 0 && isClipped(steps[first], kShrinks.factors[first])) break;
    double some[kSteps];
    for (int k = 0; k < kSteps; ++k) some[k] = root * doubt * kShrinks.inverses[first + k];
    ceiling = std::min(
        ceiling, kernels.norms(weights, count, levels, steps + first, kSumDoubt, some, norms + first, doubts + first));
    tried = std::min(first + kSteps, most);
  }
  if (together) std::fill_n(zeros, tried, zeroCode);
  for (; !together && tried < most; ++tried) {
    const double shrink = static_cast<double>(kShrinkSteps - tried) / kShrinkSteps;
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

}  // namespace vertexq
