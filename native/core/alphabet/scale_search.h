// Scales for plain rounding.
#pragma once

#include <cstddef>

#include "alphabet/alphabet.h"

namespace vertexq {

/**
 * The alphabet with the least Σ importance_i·(w_i - q_i)², q_i the nearest level, among those that cover [low, high] shrunk
 * by a factor: few large weights are clipped for a finer step everywhere else. `importance` may be null (all 1).
 */
Alphabet searchAlphabet(Grid grid, int levels, const double* w, const double* importance, std::size_t count);

/** The alphabet that covers the weights: c = max |w|. */
Alphabet coveringAlphabet(Grid grid, int levels, const double* w, std::size_t count, ScalePrecision precision);

}  // namespace vertexq
