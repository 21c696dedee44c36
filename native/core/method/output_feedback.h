// The other side of a layer's curvature: output channels whose errors make up for each other.
#pragma once

#include <cstddef>
#include <vector>

#include "linalg/matrix.h"
#include "method/fit_layer.h"
#include "parallel/job_control.h"

namespace vertexq {

/**
 * G ≈ E[ggᵀ], outFeatures × outFeatures, of the gradients g of a loss by the layer's outputs: damped, in an order of the channels, and as U Uᵀ. With
 * the Gram matrix H of the inputs the loss of errors E, a neuron a row, is about ½ tr(E H Eᵀ G) (Martens & Grosse 2015, Kronecker-factored curvature).
 */
class OutputFactor {
 public:
  /** `gram`: symmetric, both triangles. Throws ERR_VERTEXQ_NUMERIC where it is not positive semidefinite, Cancelled. */
  OutputFactor(const Matrix& gram, unsigned threads, const JobControl& control);

  /** Channels as they are fitted: by falling G_jj, for those that come later make up for those before. */
  const std::vector<std::size_t>& order() const { return order_; }
  /** Upper triangular, in that order. */
  const Matrix& u() const { return u_; }

 private:
  std::vector<std::size_t> order_;
  Matrix u_;
};

/** Of G's mean diagonal. With less the fit follows what few rows of large gradients have in common (docs/curvature.md). */
inline constexpr double kOutputDamping = 1;

/** Channels that are fitted at once, none to the others' errors: at least kNeuronBlock, and of large layers an eighth. */
std::size_t feedbackBlock(std::size_t outFeatures);

/**
 * Codes with a small tr((Q - T) H (Q - T)ᵀ G): block after block of channels is fitted by `options.search`, not to its targets t but to where, for the errors that
 * the blocks before have been left with, the least of that is: T_b + (Σ_k (T_k - Q_k) U_kb) U_bb⁻¹ over the blocks k before. That is to output
 * channels what successive rounding is to inputs; of two such factors Tseng et al. (2025, YAQA) make one rounding.
 *
 * `problem.options` has the fit's options; `factor` is of as many channels as there are neurons. Errors are those of each block to its own targets. The bytes do not depend on the threads.
 * Progress: one unit a neuron, expected here. Throws as the search, naming neurons by their own numbers where the targets as they are given are at fault.
 */
LayerCodes codesWithFeedback(const FitProblem& problem, const OutputFactor& factor, Fitted& fitted);

}  // namespace vertexq
