// Answers for a block of neurons: polishing them, recombining them with the best so far, refitting their steps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "decode/coordinate_descent.h"
#include "decode/free_entries.h"
#include "layer.h"
#include "linalg/matrix.h"
#include "method/layer_fit.h"
#include "method/step_refit.h"
#include "parallel/job_control.h"

namespace vertexq {

/**
 * The workspace of one thread: new answers for up to kWidth neurons, written column by column by those who find them, then
 * kept where they are better. About 3·kWidth·N doubles and N² floats.
 */
class AnswerBlock {
 public:
  AnswerBlock(const LayerFit& fit, const FreeEntrySystem<float>& system);

  /** Neurons of a block at most: products with H are GEMMs of this width. */
  static constexpr std::size_t kWidth = 64;

  /** Turns to neurons [first, first + count), count <= kWidth. */
  void select(std::size_t first, std::size_t count);
  std::size_t first() const { return first_; }
  std::size_t count() const { return count_; }

  /** Of the k-th neuron: N values, levels of its alphabets, and their codes. */
  double* values(std::size_t k) { return values_.column(k); }
  std::int8_t* codes(std::size_t k) { return codes_.data() + k * fit_.inFeatures(); }
  const double* gradient(std::size_t k) const { return gradient_.column(k); }
  FreeEntryDecoder<float>& decoder() { return decoder_; }

  /** Values and codes of the best answers. */
  void load(const LayerCodes& best);
  /** Values of the codes. */
  void dequantize();
  /** Gradients H(q - w) of the values. */
  void updateGradients();

  /**
   * Polishes the answers, recombines each with the best so far, and keeps what is better. Recombining: the two agree on most entries;
   * those where they differ are decoded anew with the rest held, among all levels, and polished; the outcome is then recombined with the
   * better of the two, while something comes of it. So what an answer has better in some places is not lost by what it has worse in
   * others. With a `slack`, an answer counts as better while its error is less than 1 + slack times that of the best.
   */
  void keepBetter(LayerCodes& best, double slack, const JobControl& control);

  /**
   * Refits the steps to the best codes and polishes; keeps what lowers the error. `alphabets` is what fit.alphabets views. Steps
   * times 2^exponent stay numbers of their precision.
   */
  void refit(const AlphabetOptions& kind, int exponent, std::vector<Alphabet>& alphabets, LayerCodes& best,
             const JobControl& control);

  /** Answers in flight of the decoder at most. */
  static constexpr std::size_t kMostAnswers = 16;

 private:
  double polish(std::size_t k);
  double recombine(std::size_t k, double error, LayerCodes& best);
  void setCode(std::size_t k, std::size_t input, int code);

  const LayerFit& fit_;
  CoordinateDescent<double> descent_;
  StepRefit refit_;
  FreeEntryDecoder<float> decoder_;
  std::vector<int> byActivation_;  // inputs by falling H_ii
  std::size_t first_ = 0, count_ = 0;
  Matrix values_, gradient_, difference_;
  std::vector<std::int8_t> codes_, tried_;
  std::vector<int> differing_;
  std::vector<Alphabet> kept_;
};

}  // namespace vertexq
