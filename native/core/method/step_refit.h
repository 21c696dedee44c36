// The steps that suit a neuron's codes best.
#pragma once

#include <cstddef>
#include <vector>

#include "linalg/matrix.h"

namespace vertexq {

/**
 * Least squares over the steps of a neuron's groups with its codes held: with q^g the part of q in group g, the t_g that
 * minimise (q - w + Σ t_g q^g)ᵀ H (q - w + Σ t_g q^g) solve A t = -b, A_gh = q^gᵀ H q^h, b_g = q^gᵀ H (q - w). Step g times 1 + t_g
 * is the new step. The equations of ScaleRefit (scales/refit.h), whose bounds these are: in float64, a neuron at a time,
 * from a gradient that is at hand. N² flops and G³/3. One object serves one
 * thread.
 */
class StepRefit {
 public:
  StepRefit(const Matrix& h, std::size_t groupSize);

  /**
   * q: N values, gradient: H(q - w). Returns the factors 1 + t_g, G of them, each within [1/kMostRefit, kMostRefit]; 1 for
   * groups whose q is 0, and for all where the system has no solution.
   */
  const std::vector<double>& factors(const double* q, const double* gradient);

 private:
  const Matrix& h_;
  std::size_t groupSize_;
  std::vector<double> factors_, right_;
  Matrix system_;
};

}  // namespace vertexq
