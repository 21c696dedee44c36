// Scales for plain rounding.
#pragma once

#include <cstddef>

#include "alphabet/alphabet.h"

namespace vertexq {

/** The factors that a search tries: 1, 1 - 1/48, ..., 8/48. The best one for a normal weight is 0.25 at one bit, above 0.35 otherwise. */
inline constexpr int kShrinkSteps = 48;
inline constexpr int kSmallestShrink = 8;

/**
 * The alphabet with the least Σ importance_i·(w_i - q_i)², q_i the nearest level, among those that cover [low, high] shrunk
 * by a factor: few large weights are clipped for a finer step everywhere else. `importance` may be null (all 1). Of Minimum the
 * range is shrunk about its middle, and step and minimum are then refitted to the codes, by least squares, while that helps.
 */
Alphabet searchAlphabet(const GridKind& kind, const double* w, const double* importance, std::size_t count,
                        ScalePrecision precision = ScalePrecision::Float32);

/** The alphabet that covers the weights: c = max |w|. */
Alphabet coveringAlphabet(const GridKind& kind, const double* w, std::size_t count, ScalePrecision precision);

}  // namespace vertexq
