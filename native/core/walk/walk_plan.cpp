#include "walk/walk_plan.h"

#include <algorithm>

namespace vertexq {

namespace {

/** In the tableau form: at every block B⁻¹ is checked, and its columns stay in the cache. From 128 to 384 makes no difference. */
constexpr std::size_t kTableauBlock = 192;
/**
 * In the inverse form every pivot of a block costs a column of Y that the fold must solve for; but every fold costs float32 walks
 * digits: with 32 they have to factor their basis anew two to five times as often.
 */
constexpr std::size_t kInverseBlock = 64;

}  // namespace

WalkPlan planWalk(WalkForm form, std::size_t rank, std::size_t entering) {
  // After p pivots a column costs 2rp + p² flops in the tableau form and 4r·min(p, r) in the inverse form. Summed over all
  // columns they meet at entering = 2.3 r; the cache brings that down to about r (measured). With it the workspace
  // of the tableau form is bounded by 2 r².
  if (form == WalkForm::Auto) form = entering <= rank ? WalkForm::Tableau : WalkForm::Inverse;
  if (form == WalkForm::Tableau) return {std::min(kTableauBlock, entering + 1), entering + 1};
  return {std::min(kInverseBlock, entering + 1), kInverseBlock / 2};
}

}  // namespace vertexq
