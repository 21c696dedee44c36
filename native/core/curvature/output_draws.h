// Cotangents to send back from a network's outputs, so that their mean squares tell how much the outputs feel of an error.
#pragma once

#include <cstddef>
#include <cstdint>

#include "parallel/job_control.h"

namespace vertexq {

/** What the numbers of an output's row are, which says what is drawn for it. */
enum class OutputKind {
  /** Logits x of classes: of y drawn from p = softmax(x), the gradient of -log p_y by x, p - e_y. Its square is the Fisher matrix's on average. */
  Logits,
  /** The p themselves: -e_y / p_y. */
  Shares,
  /** Their logarithms: -e_y. */
  Logarithms,
  /** Anything else: a random sign for each number, whose square is the Gauss-Newton matrix's of squared errors on average. */
  Signs,
};

struct OutputRows {
  OutputKind kind;
  const float* values;  // rows × size
  std::size_t rows;
  std::size_t size;
  /** What is drawn depends on this and the place of the row alone: `first` is that of the first. */
  std::uint64_t seed;
  std::uint64_t first;
};

/**
 * Writes a cotangent for each number. The bytes do not depend on `threads`, nor on how the rows are cut into calls. Throws ERR_VERTEXQ_NOT_FINITE,
 * naming the row, where the sum of its shares is not finite; Cancelled.
 */
void drawOutputs(const OutputRows& outputs, float* cotangents, unsigned threads, const JobControl& control);

/**
 * Writes the class y of each row that `drawOutputs` draws too: of outputs that are no signs. Depends on nothing else, and throws the same.
 */
void drawClasses(const OutputRows& outputs, std::int32_t* classes, unsigned threads, const JobControl& control);

}  // namespace vertexq
