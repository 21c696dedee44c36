// The steps that suit a neuron's codes best.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "alphabet/alphabet.h"
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

  struct Change {
    double factor = 1;  // of the step, within [1/kMostRefit, kMostRefit]
    double shift = 0;   // of the minimum, in steps as they were
  };

  /**
   * q: N values, codes and alphabets: what they are, of one neuron; gradient: H(q - w). Returns a change a group: none for groups whose
   * q is 0, and for all where the system has no solution.
   */
  const std::vector<Change>& changes(const double* q, const std::int8_t* codes, const Alphabet* alphabets, Grid grid,
                                     const double* gradient);

 private:
  void build(const double* direction, std::size_t own, const double* other, std::size_t others, std::size_t perGroup);

  const Matrix& h_;
  std::size_t groupSize_;
  std::vector<Change> changes_;
  std::vector<double> steps_, units_, right_;
  Matrix system_;
};

}  // namespace vertexq
