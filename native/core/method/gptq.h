// GPTQ with everything around it that lowers its error: the strongest baseline, and the fallback, of the method.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "alphabet/alphabet.h"
#include "layer.h"
#include "linalg/matrix.h"
#include "parallel/job_control.h"
#include "scales/group_search.h"

namespace vertexq {

struct GptqOptions {
  AlphabetOptions alphabets;  // groupSize 0: one scale a neuron
  GroupSearchOptions search;
  /**
   * Rounds of: change the best steps by a few percent, decode with them (in act-order, natural and grouped order by
   * turns), refit them, descend, keep what is better. More rounds lower the error further, ever more slowly.
   */
  int rounds = 6;
  /** Whether steps are changed and refitted after the search. */
  bool refit = true;
  /** Whether every decoding is followed by coordinate descent. */
  bool descent = true;
};

/** Matrices are row-major outFeatures × inFeatures (or × groups): a neuron a row. */
struct GptqResult {
  std::vector<Alphabet> alphabets;  // outFeatures × groups; steps are float32 numbers
  std::vector<std::int8_t> codes;
  std::vector<double> values;            // the codes' levels
  std::vector<double> errors;            // per neuron, (q-w)ᵀH(q-w), float64
  std::optional<double> logDeterminant;  // of H, natural; absent where H had no Cholesky factor as it was
};

/**
 * Scales and codes with the least (q-w)ᵀH(q-w) per neuron that these find:
 *
 *  1. scales searched group by group, judged by the output error (group_search.h), then coordinate descent;
 *  2. rounds of decoding anew, least-squares refit of the scales (refit.h) and coordinate descent (GptqOptions);
 *  3. refits of the best, each with a descent.
 *
 * Each neuron keeps its best. Its error, evaluated in float64, is never more than that of plain rounding with the same
 * scales, nor of GPTQ as published and shipped (covering scales, natural order; Frantar et al. 2023), decoded in float32.
 *
 * h: N × N, damped (damping.h), both triangles. Runs on at most `threads` threads; the bytes do not depend on them.
 * Decoding is in float32 on H and neurons scaled by powers of two. Memory: about 54N² bytes while the factors are made,
 * 20N² after, about (20 N + 2 G²)·kNeuronBlock·4 bytes a thread, and the result. Progress: one unit a neuron, which the
 * caller expects.
 * Throws ERR_VERTEXQ_NOT_FINITE, ERR_VERTEXQ_SCALE_RANGE, ERR_VERTEXQ_NUMERIC, Cancelled.
 */
GptqResult gptqLayer(const Weights& weights, const Matrix& h, const GptqOptions& options, unsigned threads,
                     JobControl& control);

}  // namespace vertexq
