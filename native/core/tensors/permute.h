// Tensors in another order of their dimensions.
#pragma once

#include <cstddef>
#include <vector>

#include "parallel/job_control.h"

namespace vertexq {

/**
 * A row-major tensor of `dims` with its dimensions in another order: dimension i of the result is dimension order[i], a permutation.
 * Elements have 1, 2, 4 or 8 bytes, and may lie anywhere. The arrays must not overlap. Throws Cancelled.
 */
void permute(std::size_t elementSize, const void* from, const std::vector<std::size_t>& dims,
             const std::vector<std::size_t>& order, void* to, unsigned threads, const JobControl& control);

}  // namespace vertexq
