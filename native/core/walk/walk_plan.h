// How a blocked walk is cut into blocks.
#pragma once

#include <cstddef>

namespace vertexq {

/** How a walk keeps the inverse of its basis (product_form.h). */
enum class WalkForm {
  Auto,     // whichever is faster
  Tableau,  // pivots are never folded: best for r near N
  Inverse,  // pivots are folded after every block: best for r below N/2
};

struct WalkPlan {
  std::size_t block;      // columns transformed at once, a check column among them
  std::size_t foldEvery;  // pivots after which they are folded at the end of a block
};

/**
 * The plan for r directions and `entering` other columns. The one place where the choice is made; its constants were
 * measured with bench/native (docs/performance.md).
 */
WalkPlan planWalk(WalkForm form, std::size_t rank, std::size_t entering);

}  // namespace vertexq
