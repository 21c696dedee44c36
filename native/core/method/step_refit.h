// The steps that suit a neuron's codes best.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "alphabet/alphabet.h"
#include "alphabet/super_blocks.h"
#include "layer.h"
#include "linalg/matrix.h"

namespace vertexq {

/**
 * Least squares over the steps of a neuron's groups with its codes held: with q^g the part of q in group g, the t_g that
 * minimise (q - w + Σ t_g q^g)ᵀ H (q - w + Σ t_g q^g) solve A t = -b, A_gh = q^gᵀ H q^h, b_g = q^gᵀ H (q - w). Step g times 1 + t_g
 * is the new step. Of Minimum there are two directions a group, code·step and step: the minimum changes by the second's t. The equations of ScaleRefit (scales/refit.h), whose bounds these are: in float64, a neuron at a time,
 * from a gradient that is at hand. N² flops and G³/3; of Minimum 4N² and 8G³/3. One object serves one
 * thread.
 */
class StepRefit {
 public:
  StepRefit(const Matrix& h, std::size_t groupSize);

  /**
   * q: N values, codes and alphabets: what they are, of one neuron; gradient: H(q - w). Changes the alphabets, which are 2^exponent times
   * those that are stored, to what is stored, super-blocks included (FactorRefit): none of groups whose q is 0 or whose levels would be infinite, and none at all where the system
   * has no solution.
   */
  void run(const AlphabetOptions& kind, const double* q, const std::int8_t* codes, const double* gradient, int exponent,
           Alphabet* alphabets);

 private:
  void build(const double* direction, std::size_t own, const double* other, std::size_t others, std::size_t perGroup);

  const Matrix& h_;
  std::size_t groupSize_;
  std::vector<double> steps_, units_, right_;
  Matrix system_;
};

}  // namespace vertexq
