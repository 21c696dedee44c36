// The vertex method: what the walk, many decodings and their recombination add to GPTQ.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "layer.h"
#include "method/layer_fit.h"
#include "parallel/job_control.h"

namespace vertexq {

struct VertexOptions {
  /** Directions of H that the walk holds, its leading ones. */
  std::size_t rank = 0;
  /** Passes after it, at most. */
  std::size_t passes = 0;
  /** Whether to refit the steps to the codes, after the walk and then every kRefitEvery or kRefitEveryHeld passes. */
  bool refit = true;
  AlphabetOptions kind;  // of the alphabets
  int exponent = 0;      // their steps times 2^exponent are those that are stored
  /** For how long passes are begun, in seconds after the walk. How many then depends on the machine; what they make is what as many make. */
  std::optional<double> seconds = {};
};

struct VertexOutcome {
  std::size_t passes = 0;  // that were made
  std::size_t walked = 0;  // neurons for which the walk, recombined with what was given, was better than that
};

/** Part of the inputs that the walk holds by default. Between 0.65 and 0.8 errors were lowest (docs/quality.md). */
inline constexpr double kDefaultRank = 0.75;

/**
 * Passes by default: as many as a budget of flops allows, from kLeastPasses to kMostPasses. A pass takes half as long as all of
 * gptq, the walk four times as long: large layers take about six times as long as gptq with these (docs/quality.md).
 */
std::size_t defaultPasses(std::size_t inFeatures, std::size_t neurons);
inline constexpr std::size_t kLeastPasses = 4;
inline constexpr std::size_t kMostPasses = 128;
/** Passes where time alone limits them: more gain next to nothing. */
inline constexpr std::size_t kMostTimedPasses = 1024;

/**
 * Lowers the errors of `best`, which holds an answer for every neuron and its error, on `alphabets`, which fit.alphabets
 * views. First each neuron is walked to a vertex in the leading directions of H (first_walk.h); then come passes of decoding all
 * inputs in a random order near act-order, the same for all neurons (random_order.h). Every answer is polished by coordinate
 * descent and recombined with the one before (answer_block.h); it may be a little worse than that, and the best is kept beside it.
 * So no neuron's error in `best` ever rises, and more passes continue what fewer do.
 *
 * Deterministic; on at most `threads` threads, whose number does not change the bytes. Memory: N × N float32 and float64
 * matrices beside H while a pass is set up, the codes and alphabets once more, and about 3·64·N doubles and r² + N² floats a thread. Progress: a unit a neuron and
 * pass, the walk included (the caller expects them). Throws ERR_VERTEXQ_NUMERIC, Cancelled.
 */
VertexOutcome vertexLayer(const LayerFit& fit, std::vector<Alphabet>& alphabets, LayerCodes& best,
                          const VertexOptions& options, unsigned threads, JobControl& control);
inline constexpr std::size_t kRefitEvery = 8;
/** Of steps within super-blocks: their rounding keeps a refit from what it asks for, so that several come nearer to it (docs/gguf-types.md). */
inline constexpr std::size_t kRefitEveryHeld = 2;

}  // namespace vertexq
