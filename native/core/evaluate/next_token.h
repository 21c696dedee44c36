// What networks of one vocabulary say of the next token, without their logits ever being there as a whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "parallel/job_control.h"

namespace vertexq {

/**
 * A network's distribution at a token, over the part of the vocabulary that has been seen: p ∝ exp(logit). Before any has: {−∞, 0, −1, 0, 0}.
 * `sum` is NaN once a logit was not finite.
 */
struct NextTokenSums {
  double most;    // the largest logit
  double sum;     // Σ exp(logit − most)
  double best;    // where the largest is, the first of equal ones
  double target;  // the logit of the token that does come
  double cross;   // Σ exp(x − most of x)·(x − logit), x the first network's logits
};

/** One network's last layer: logits are hidden·weightsᵀ, [tokens, size]·[size, count]. */
struct HeadSide {
  const float* hidden;
  const float* weights;
  NextTokenSums* sums;  // of each token
};

/** Logits of `count` tokens of the vocabulary, the first of which is `first`, at `tokens` places. */
struct HeadPanel {
  std::size_t tokens = 0;
  std::size_t size = 0;
  std::size_t first = 0;
  std::size_t count = 0;
  double scale = 1;
  double cap = 0;  // c of c·tanh(x / c); 0 for none
  /** The token that comes at each place. */
  const std::int32_t* next = nullptr;
  /** The network that the others are compared with comes first. */
  std::vector<HeadSide> sides;
};

/**
 * Adds a panel to the sums. Products in float32, sums in float64; the same bytes for every number of threads. Memory: for each thread
 * kTokensAtOnce × kLogitsAtOnce logits of each network. Calls BLAS (linalg/blas.h).
 */
void addNextTokens(const HeadPanel& panel, unsigned threads, const JobControl& control);

inline constexpr std::size_t kTokensAtOnce = 512;
inline constexpr std::size_t kLogitsAtOnce = 256;

}  // namespace vertexq
