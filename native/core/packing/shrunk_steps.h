// The steps that a search of a scale tries: those of the weights' range, shrunk by one factor after the other.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "alphabet/scale_search.h"

namespace vertexq {

/** Factors that are tried. */
inline constexpr int kFactors = kShrinkSteps - kSmallestShrink + 1;
/** The k-th of them, from 1 down. */
inline double shrinkOf(int k) { return static_cast<double>(kShrinkSteps - k) / kShrinkSteps; }

/** Largest weights whose squares, and those of their steps, float32 holds well within its range. */
inline constexpr float kLeastScale = 0x1p-30F, kMostScale = 0x1p30F;
inline float mostScale(ScalePrecision precision) { return precision == ScalePrecision::Float16 ? 0x1p14F : kMostScale; }
/** What a weight of w steps may be off in float32, over w: two roundings, and a little. */
inline constexpr double kDoubt = 0x1.2p-23;

/** Of two steps for an asymmetric alphabet, this part of one apart, roundings decide which is the lesser one. */
inline constexpr double kNearlyEqual = 1e-12;
/** A step less what float64 may make of it: Alphabet::covering's is no less before it is rounded. */
inline constexpr double kBelowStep = 1 - 1e-14;

/** Where steps come from, with the operations of Alphabet::covering, so that they are bit for bit its own. */
struct StepRule {
  bool asymmetric;
  double below, above;  // levels on either side of 0
  bool certain;         // whether every factor has the same zero point
  int zero;             // its code, from 0
};

/** The step for which the levels just cover [low, high], of the asymmetric ones low <= 0 <= high. */
inline double leastStep(const StepRule& rule, double low, double high) {
  if (!rule.asymmetric) return std::max(std::abs(low), std::abs(high)) / rule.above;
  const double down = low == 0 ? 0 : rule.below == 0 ? std::numeric_limits<double>::infinity() : -low / rule.below;
  const double up = high == 0 ? 0 : rule.above == 0 ? std::numeric_limits<double>::infinity() : high / rule.above;
  return std::max(down, up);
}

inline bool covers(const StepRule& rule, double step, double low, double high) {
  return rule.asymmetric ? -rule.below * step <= low && rule.above * step >= high
                         : rule.above * step >= std::max(std::abs(low), std::abs(high));
}

/** The rule of a grid for weights between `low` and `high`. */
inline StepRule stepRule(Grid grid, int levels, double low, double high) {
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
  chosen.certain = down == up || low == -high || std::abs(first - second) > kNearlyEqual * first;
  return chosen;
}

/** Bits of a number's fraction, and the least number that has them all. */
inline int fractionBitsOf(ScalePrecision precision) {
  return precision == ScalePrecision::Float16 ? 10 : precision == ScalePrecision::BFloat16 ? 7 : 23;
}
inline double leastNormalOf(ScalePrecision precision) {
  return precision == ScalePrecision::Float16 ? 0x1p-14 : 0x1p-126;
}

}  // namespace vertexq
