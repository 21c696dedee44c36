// Sums over a group's weights for sixteen scales at once.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vertexq {

/** Scales that are tried together, a lane each. */
inline constexpr std::size_t kBlockLanes = 16;

/** A group's weights, what the square of each error counts, and the codes that there are. */
struct BlockGroup {
  const float* weights;
  const float* importance;
  std::size_t count;
  float least, most;   // codes, or places in the table
  const float* table;  // of so many levels; null for even ones
};

/** Codes are those nearest to (w - minimum)·inverse; `scale` is what a code is worth. Scales may be negative. */
struct BlockScales {
  float scale[kBlockLanes], inverse[kBlockLanes], minimum[kBlockLanes];

  void set(std::size_t lane, double step, double low) {
    scale[lane] = static_cast<float>(step);
    inverse[lane] = step == 0 ? 0 : static_cast<float>(1 / step);
    minimum[lane] = static_cast<float>(low);
  }
};

/** With q the levels of the codes: Σ q, Σ q², Σ w·q, each times importance. */
struct BlockSums {
  float q[kBlockLanes], qq[kBlockLanes], wq[kBlockLanes];
};

struct BlockKernels {
  void (*sums)(const BlockGroup& group, const BlockScales& scales, BlockSums& sums);
  /** Σ importance·(w - scale·q - minimum)². */
  void (*errors)(const BlockGroup& group, const BlockScales& scales, float* errors);
  /** The codes of a lane, those of a table counted from 0. */
  void (*codes)(const BlockGroup& group, const BlockScales& scales, std::size_t lane, std::int8_t* codes);
  /** Adds Σ (w - q)² and Σ w² of `count` numbers, a multiple of 8. */
  void (*squares)(const float* w, const float* q, std::size_t count, double& error, double& signal);
};

/** The kernels for this CPU (linalg/simd.h). */
const BlockKernels& blockKernels();

}  // namespace vertexq
