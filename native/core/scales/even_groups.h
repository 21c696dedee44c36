// Steps of groups of 32 weights on even levels, every weight counting alike: sixteen groups at once, a lane each.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vertexq {

inline constexpr std::size_t kGroupLanes = 16;
inline constexpr std::size_t kLaneWeights = 32;

/** Levels step·code, code in [least, most]. */
struct EvenLevels {
  float least, most;
  /** Whether steps below 0 are tried too. */
  bool eitherSign;
};

/** What groups have become. Of a lane that is not `isDone` nothing else is said. */
struct EvenGroups {
  /** Numbers of float16 in its normal range, or 0 where all weights are. */
  float steps[kGroupLanes];
  std::int8_t codes[kGroupLanes * kLaneWeights];
  /** Not so where a step is outside float16's normal numbers. */
  bool isDone[kGroupLanes];
};

/**
 * Rounds kGroupLanes groups, one after the other, to the nearest levels of steps with a small sum of squared errors: the ones that bring the
 * weight farthest from 0 near an end are tried and refitted to the codes that they give by least squares, then some about the best of these.
 * Weights are finite. What becomes of a group does not depend on the others.
 */
void roundEvenGroups(const EvenLevels& levels, const float* weights, EvenGroups& to);

}  // namespace vertexq
