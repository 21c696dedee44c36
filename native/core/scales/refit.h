// The scales that suit given codes best.
#pragma once

#include <cstddef>
#include <vector>

#include "scales/neuron_block.h"

namespace vertexq {

/** Ridge on the refit's system, relative to its mean diagonal: towards the steps as they are. */
inline constexpr double kRefitRidge = 1e-6;
/** A step is changed by at most this factor: what the equations ask for beyond it is an artefact of few nonzero codes. */
inline constexpr double kMostRefit = 2;

/**
 * Least squares over the steps with the codes held: with q^g the part of q in group g, the changes t_g that minimise
 * (q - w + Σ t_g q^g)ᵀ H (q - w + Σ t_g q^g) solve A t = -b, A_gh = q^gᵀ H q^h, b_g = q^gᵀ H (q - w), a G × G system per
 * neuron. Of Minimum there are two directions a group instead, the steps above the minimum and a step for all: 2G × 2G. What super-blocks hold is rounded to that on the way (FactorRefit). About 2N² + N·G flops a neuron for the system, nearly all in GEMM, and G³/3 for its solution.
 *
 * Workspace: G²·kNeuronBlock doubles and about 2N·kNeuronBlock floats; of Minimum 4G² and 4N.
 */
class ScaleRefit {
 public:
  explicit ScaleRefit(NeuronBlock& block);

  /** New alphabets, values and errors for the codes; groups whose q is all 0 keep their step. */
  void run(Attempt& attempt, const JobControl& control);

 private:
  void setDirections(const Attempt& attempt);
  void buildSystems(const Attempt& attempt);
  void solve(std::size_t l, Attempt& attempt);

  NeuronBlock& block_;
  std::size_t perGroup_;  // directions of a group
  FactorRefit factors_;
  std::vector<float> directions_[2];  // as Attempt::values
  std::vector<float> difference_, gradient_;
  std::vector<double> matrix_, vector_;  // A, lower triangles, and b, a neuron after the other
};

}  // namespace vertexq
