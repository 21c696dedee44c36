// Local search over single entries, once a neuron is on its alphabets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "decode/layer_alphabets.h"
#include "decode/level_arrays.h"
#include "linalg/matrix.h"
#include "parallel/job_control.h"

namespace vertexq {

/** What the descent did to a neuron. */
struct DescentOutcome {
  std::size_t changes = 0;
  double decrease = 0;     // of (q-w)ᵀH(q-w), >= 0, as predicted change by change
  bool converged = false;  // no single change helps; false: the bound on the changes stopped it
};

/**
 * The bound on the changes, per input. From a decoder's answer it takes 0.001 to 0.01, from plain rounding about 0.03.
 */
inline constexpr std::size_t kMostDescentChanges = 4;

/**
 * Multiple of ε in the noise bound below: errors of a sum of N products cancel to far less than ε times the sum of
 * their sizes.
 */
inline constexpr double kGradientNoise = 4;

/**
 * Lowers E(q) = (q-w)ᵀH(q-w) one entry at a time. With the gradient g = H(q-w), moving entry i by d changes E by
 * 2·g_i·d + H_ii·d²; the best level is the one nearest to q_i - g_i/H_ii. All entries are tried at once (vectorised,
 * without access to H) and the best change is made, which touches one column of H; then all are tried again. Measured
 * from GPTQ's answer this found about a fifth more than sweeps through the inputs in order, in the same time: trying is
 * cheap and changes are few.
 *
 * A change counts only if it lowers E by more than the rounding error of its prediction: with |δg_i| <=
 * kGradientNoise·ε·√H_ii·Σ_k √H_kk |q_k - w_k| (|H_ik| <= √(H_ii H_kk) where H is PSD), by more than 2|d||δg_i|. So E
 * falls strictly and no state comes twice. One object serves one thread.
 */
template <typename Real>
class CoordinateDescent {
 public:
  /** h: N × N, both triangles, PSD; must outlive this. Workspace: about 13 N Reals. */
  explicit CoordinateDescent(const BasicMatrix<Real>& h);

  /**
   * q (levels of the neuron's alphabets) and codes: improved in place. gradient: N, in: H(q-w); out: that of the new q.
   * Dead inputs, and alphabets whose step is no normal number of Real, are left alone.
   */
  DescentOutcome run(const Real* w, Real* q, Real* gradient, std::int8_t* codes, const LayerAlphabets& alphabets,
                     std::size_t neuron);

 private:
  Real noiseOf(const Real* w) const;
  void recomputeGradient(const Real* w);
  std::size_t bestChange() const;

  const BasicMatrix<Real>& h_;
  std::size_t padded_;                              // N rounded up to whole strips of a scan
  std::vector<Real> diagonal_, inverse_, root_;     // H_ii, 1/H_ii (0 for dead inputs), √H_ii
  std::vector<Real> q_, gradient_, change_, gain_;  // gain_: < 0 where the change helps
  std::vector<std::uint8_t> helps_;                 // by strip
  LevelArrays<Real> levels_;
  std::vector<float> table_, middles_;  // levels that are not mirrored, and between two of them
};

/**
 * Coordinate descent for `neurons` neurons. h: N × N; weights, values, codes: N × neurons, a neuron a column; values
 * are the levels of the codes, both improved in place. Gradients of a block of neurons are one GEMM. Tasks are blocks
 * of fixed size: the bytes do not depend on `threads`. Polls `control` at every neuron and counts finished ones (the
 * caller expects them). Returns an outcome a neuron. Throws Cancelled.
 */
template <typename Real>
std::vector<DescentOutcome> descend(const BasicMatrix<Real>& h, const Real* weights, std::size_t neurons,
                                    const LayerAlphabets& alphabets, std::int8_t* codes, Real* values, unsigned threads,
                                    JobControl& control);

}  // namespace vertexq
