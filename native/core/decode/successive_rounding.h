// Successive rounding of whole neurons: GPTQ, Babai's nearest plane and GPFQ are one loop with different coefficients.
#pragma once

#include <cstddef>
#include <cstdint>

#include "decode/coefficients.h"
#include "decode/layer_alphabets.h"
#include "parallel/job_control.h"

namespace vertexq {

/** What is rounded and where the answer goes. Matrices are N × neurons: a neuron a column (row-major: a row). */
template <typename Real>
struct RoundingTask {
  const Real* weights = nullptr;
  const Real* centres = nullptr;  // v in place of w as what is rounded (gpfqCentres); null for w itself
  std::size_t neurons = 0;
  LayerAlphabets alphabets;      // by natural input index, whatever the order
  std::int8_t* codes = nullptr;  // out
  Real* values = nullptr;        // out, the codes' levels; may be null
};

/**
 * q_i = nearest(v_i - Σ_{k<i} M_ki (q_k - w_k)) for every neuron, i in the coefficients' order; nearest is
 * Alphabet::nearest of the centre as computed in Real: ties to the lower code, clamped to the alphabet.
 *
 * Neurons go in blocks of kNeuronBlock, one task each; inputs in blocks of kInputBlock: what earlier blocks contribute
 * is one GEMM, the rest runs across the neurons of the block. The blocks are fixed, so the bytes do not depend on
 * `threads`. About N² flops a neuron. Workspace per thread: about kNeuronBlock·N Reals. Polls `control` at every block
 * and counts finished neurons (the caller expects them).
 * Throws ERR_VERTEXQ_NUMERIC, naming neuron and input, where a
 * centre is NaN; Cancelled.
 */
template <typename Real>
void successiveRounding(const Coefficients<Real>& coefficients, const RoundingTask<Real>& task, unsigned threads,
                        JobControl& control);

inline constexpr std::size_t kNeuronBlock = 64;
inline constexpr std::size_t kInputBlock = 64;

}  // namespace vertexq
