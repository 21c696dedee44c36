// The vertex method: what the walk adds to GPTQ.
#pragma once

#include <cstddef>
#include <vector>

#include "layer.h"
#include "method/layer_fit.h"
#include "parallel/job_control.h"

namespace vertexq {

struct VertexOptions {
  /** Directions of H that the first walk holds, its leading ones. */
  std::size_t rank = 0;
  /** Passes of walking again over parts of the inputs. */
  std::size_t passes = 0;
  /** Whether to refit the steps to the codes, after the first walk and then every kRefitEvery passes. */
  bool refit = true;
  AlphabetOptions kind;  // of the alphabets
};

struct VertexOutcome {
  std::size_t walked = 0;  // neurons that got better than they were given
};

/** Part of the inputs that the first walk holds by default. Between 0.65 and 0.8 errors were lowest (docs/method.md, section 3). */
inline constexpr double kDefaultRank = 0.75;

/**
 * Passes by default: as many as a budget of flops allows, from kLeastPasses to kMostPasses. A pass costs about a twentieth
 * of the first walk, so even the most passes take no more than a few times as long as it.
 */
std::size_t defaultPasses(std::size_t inFeatures, std::size_t neurons);
inline constexpr std::size_t kLeastPasses = 16;
inline constexpr std::size_t kMostPasses = 64;

/**
 * Lowers the errors of `best`, which holds an answer for every neuron and its error, on `alphabets`, which fit.alphabets
 * views: walks each neuron to a vertex in the
 * leading directions of H, compensates by least squares, decodes the free entries along a Cholesky factor, polishes by
 * coordinate descent, and keeps the answer where it is better (docs/method.md, section 3). Then walks again over random
 * parts of the inputs, the same for all neurons: twice a quarter, then a half, and so on. No neuron's error ever rises, and
 * more passes continue what fewer do.
 *
 * Deterministic; on at most `threads` threads, whose number does not change the bytes. Memory: two N × N float32 matrices
 * beside H, the factors of a part, and about 6·kBlock·N doubles and r² + N² floats a thread. Progress: a unit a neuron and
 * pass, the first walk included (the caller expects them). Throws ERR_VERTEXQ_NUMERIC, Cancelled.
 */
VertexOutcome vertexLayer(const LayerFit& fit, std::vector<Alphabet>& alphabets, LayerCodes& best,
                          const VertexOptions& options, unsigned threads, JobControl& control);
inline constexpr std::size_t kRefitEvery = 8;

}  // namespace vertexq
