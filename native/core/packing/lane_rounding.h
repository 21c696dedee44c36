// Plain rounding of sixteen groups at once, a lane each.
#pragma once

#include <cstddef>
#include <cstdint>

#include "alphabet/alphabet.h"
#include "layer.h"
#include "scales/even_groups.h"

namespace vertexq {

/** Weights of a group at most: their sums are taken in float32. */
inline constexpr std::size_t kMostOfLane = 256;

/** kGroupLanes groups of so many weights: weight i of group g at first[i·stride + g]. */
struct LaneWeights {
  const float* first;
  std::size_t stride, count;
};

/** What the groups became. */
struct RoundedLanes {
  /** 1, or 0: of such a lane nothing else is said. */
  float isDone[kGroupLanes];
  /** Numbers of the scales' precision, and zero points of the codes. */
  float steps[kGroupLanes], zeroPoints[kGroupLanes];
  /** Σ (w - q)² and Σ w², in float64. */
  double errors[kGroupLanes], signals[kGroupLanes];
  /** Weights that no level is equal to. */
  double offAlphabet[kGroupLanes];
  /** Group after group, `count` of each. */
  std::int8_t codes[kGroupLanes * kMostOfLane];
};

/** How groups are rounded. */
struct LaneRule {
  GridKind kind;
  ScaleRule rule;
  ScalePrecision precision;
  int minCode, maxCode;
};

/** Whether there are lanes for such groups. */
bool hasLanes(const LaneRule& rule, std::size_t count);

/**
 * Rounds finite weights as PlainRounding::roundReference does, where float32 tells which step is the best one and which levels are the nearest ones.
 * A lane where it does not, or whose numbers are very large or small, is not done: about one in a hundred. What becomes of a group depends neither on the
 * others nor on the instruction set; of every lane the sums are in the order of its weights.
 */
void roundLanes(const LaneRule& rule, const LaneWeights& weights, RoundedLanes& to);

}  // namespace vertexq
