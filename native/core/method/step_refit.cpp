#include "method/step_refit.h"

#include <algorithm>
#include <cmath>

#include "linalg/real_blas.h"
#include "scales/refit.h"

namespace vertexq {

StepRefit::StepRefit(const Matrix& h, std::size_t groupSize)
    : h_(h),
      groupSize_(groupSize),
      factors_((h.cols() + groupSize - 1) / groupSize),
      right_(factors_.size()),
      system_(factors_.size(), factors_.size()) {}

const std::vector<double>& StepRefit::factors(const double* q, const double* gradient) {
  const std::size_t n = h_.cols(), groups = factors_.size();
  std::fill(factors_.begin(), factors_.end(), 1.0);
  std::fill(right_.begin(), right_.end(), 0.0);
  std::fill_n(system_.data(), groups * groups, 0.0);
  for (std::size_t j = 0; j < n; ++j) {
    if (q[j] == 0) continue;
    const std::size_t group = j / groupSize_;
    right_[group] -= q[j] * gradient[j];
    const double* column = h_.column(j);
    // The lower triangle: groups from j's own on.
    for (std::size_t g = group; g < groups; ++g) {
      const std::size_t first = g * groupSize_;
      system_(g, group) += q[j] * linalg::dot(std::min(groupSize_, n - first), column + first, q + first);
    }
  }
  double trace = 0;
  for (std::size_t g = 0; g < groups; ++g) trace += system_(g, g);
  if (!(trace > 0)) return factors_;
  for (std::size_t g = 0; g < groups; ++g) system_(g, g) += kRefitRidge * trace / static_cast<double>(groups);
  if (linalg::potrf('L', groups, system_.data(), groups) != 0) return factors_;
  linalg::trsv(CblasLower, linalg::kPlain, CblasNonUnit, groups, system_.data(), groups, right_.data());
  linalg::trsv(CblasLower, linalg::kTransposed, CblasNonUnit, groups, system_.data(), groups, right_.data());
  for (std::size_t g = 0; g < groups; ++g)
    if (std::isfinite(right_[g])) factors_[g] = std::clamp(1 + right_[g], 1 / kMostRefit, kMostRefit);
  return factors_;
}

}  // namespace vertexq
