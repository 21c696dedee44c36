// Plain rounding of float32 weights, group by group, as fast as memory allows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "alphabet/alphabet.h"
#include "layer.h"
#include "packing/lane_rounding.h"

namespace vertexq {

/** What a group's weights became. */
struct RoundedGroup {
  Alphabet alphabet;
  double error = 0;   // Σ (w - q)², to about 1e-5
  double signal = 0;  // Σ w²
};

/**
 * Rounds groups of weights with the scale that searchAlphabet or coveringAlphabet gives, its step in `precision`.
 *
 * The search is the reference's: every shrinking factor is tried in float32, and where several errors lie within the bounds of what float32 may be
 * off, those are judged again as the reference does. So alphabets and codes are equal to roundReference's, and the same on every instruction set. Factors
 * are not tried once the clipped part of the weights alone costs more than the best one. (Minimum and Table go by roundReference.) Groups of up to
 * kMostOfLane weights are rounded sixteen at once (lane_rounding.h). On AVX-512 about 2 ns a weight and thread in groups of 32 at 4 bits, 200 for the reference.
 *
 * One object serves one thread. Weights are finite; all throw ERR_VERTEXQ_SCALE_RANGE.
 */
class PlainRounding {
 public:
  PlainRounding(const GridKind& kind, ScaleRule rule, ScalePrecision precision);

  /** Writes `count` codes. */
  RoundedGroup round(const float* weights, std::size_t count, std::int8_t* codes);
  RoundedGroup roundReference(const float* weights, std::size_t count, std::int8_t* codes);

  /** `groups` groups of `count` weights, one behind the other. */
  void roundGroups(const float* weights, std::size_t groups, std::size_t count, std::int8_t* codes,
                   Alphabet* alphabets);

  /** Whether groups of `count` weights may be rounded in lanes. */
  bool hasLanes(std::size_t count) const { return vertexq::hasLanes(lanes_, count); }
  /** The first `lanes` of `weights`, all of which must be numbers, are done thereafter. */
  void roundLanes(const LaneWeights& weights, std::size_t lanes, RoundedLanes& to);
  /** The same of up to kGroupLanes groups that lie one behind the other. */
  void roundLanes(const float* weights, std::size_t groups, std::size_t count, RoundedLanes& to);

 private:
  GridKind kind_;
  Grid grid_;
  int levels_;
  ScaleRule rule_;
  ScalePrecision precision_;
  int minCode_, maxCode_;
  LaneRule lanes_;
  std::vector<float> turned_, own_;
  std::vector<double> exact_;
};

}  // namespace vertexq
