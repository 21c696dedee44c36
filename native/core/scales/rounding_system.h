// What all neurons of a layer share while their scales are searched: H and its factors.
#pragma once

#include <cstddef>
#include <vector>

#include "decode/coefficients.h"
#include "linalg/matrix.h"
#include "parallel/job_control.h"

namespace vertexq {

/**
 * H in float32 and, for inputs taken group by group, the decomposition of the error
 *
 *     (q-w)ᵀH(q-w) = Σ_p D_p (e_p + Σ_{k<p} M_kp e_k)²,   e = q - w by position   (coefficients.h; D_p = U_pp²).
 *
 * "Grouped" order takes whole groups, those with the largest mean H_ii first, and within each the inputs by falling
 * H_ii; with one group that is act-order. So what the inputs of a group add to the error is a sum of squares of its own
 * given the groups before it, and its scale can be judged by it.
 *
 * Memory: 4N² bytes for each of H, M and the coefficients of every order, N·groupSize·4 for the diagonal blocks of M.
 */
class RoundingSystem {
 public:
  /** Positions [first, first + size) of the grouped order: the inputs [group·groupSize, ...). */
  struct Group {
    std::size_t group, first, size;
    Coefficients<float> within;  // the diagonal block of M; its order is the identity
  };

  /**
   * h: N × N, damped, both triangles, any scale (kept times a power of two). Dead inputs count as in damping.h. Where
   * H has no factorisation it is damped more (coefficients.h). Throws ERR_VERTEXQ_NUMERIC, Cancelled.
   */
  RoundingSystem(const Matrix& h, std::size_t groupSize, unsigned threads, const JobControl& control);

  std::size_t inputs() const { return h_.cols(); }
  std::size_t groupSize() const { return groupSize_; }
  /** H times scale(), a power of two. */
  const FloatMatrix& h() const { return h_; }
  double scale() const { return scale_; }
  /** Its diagonal. */
  const std::vector<double>& importance() const { return importance_; }

  const std::vector<Group>& groups() const { return groups_; }
  /** M in grouped order, with its order. */
  const Coefficients<float>& grouped() const { return grouped_; }
  /** D in grouped order, times scale(). */
  const std::vector<float>& pivots() const { return pivots_; }
  /** Static groups under act-order; the grouped order itself where there is one group. */
  const Coefficients<float>& activation() const { return groups_.size() > 1 ? activation_ : grouped_; }
  const Coefficients<float>& natural() const { return natural_; }

  /**
   * What positions [first, first + size) add to the error of `neurons` neurons: Σ D_p (base_p + e_p + Σ M_kp e_k)², k
   * among those positions too. m: M(first, first), its columns ld apart. errors, base: size × neurons, base may be
   * null. All sums are of squares, so float32 does not cancel. workspace: kResidualRows·neurons.
   */
  void addErrors(const float* m, std::size_t ld, std::size_t first, std::size_t size, const float* errors,
                 const float* base, std::size_t neurons, float* workspace, double* sums) const;

  static constexpr std::size_t kResidualRows = 64;

 private:
  void groupInputs(const Matrix& h);

  std::size_t groupSize_;
  double scale_ = 1;
  FloatMatrix h_;
  std::vector<double> importance_;
  std::vector<Group> groups_;
  Coefficients<float> grouped_, activation_, natural_;
  std::vector<float> pivots_;
};

}  // namespace vertexq
