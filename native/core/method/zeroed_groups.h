// What a fit has lost of small weights.
#pragma once

#include <cstddef>

#include "layer.h"

namespace vertexq {

/** Groups whose weights have all become 0 as they are stored, although not all were. */
std::size_t zeroedGroups(const Weights& weights, const Rounded& rounded, std::size_t groupSize);

}  // namespace vertexq
