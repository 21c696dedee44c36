// A pass of decoding whole neurons in a random order of the inputs.
#pragma once

#include <cstddef>
#include <vector>

#include "decode/k_best.h"
#include "linalg/matrix.h"
#include "method/answer_block.h"
#include "method/layer_fit.h"
#include "parallel/job_control.h"

namespace vertexq {

/** An order of the inputs near act-order, the same for all neurons, and the Cholesky factor of H in it. */
class RandomOrder {
 public:
  /** `seed` tells orders apart. N³/3 flops. Throws ERR_VERTEXQ_NUMERIC, Cancelled. */
  RandomOrder(const LayerFit& fit, std::size_t seed, unsigned threads, const JobControl& control);

  /** Inputs back to front: the last place is decoded first. */
  const std::vector<std::size_t>& places() const { return places_; }
  /** L, lower triangular: H in the order of the places is L Lᵀ. */
  const FloatMatrix& factor() const { return factor_; }

 private:
  std::vector<std::size_t> places_;
  FloatMatrix factor_;
};

/** The workspace of one thread: kTogether searches, about kTogether·kAnswers·5N bytes. */
class OrderedDecoder {
 public:
  explicit OrderedDecoder(const LayerFit& fit);

  /** Answers for the block's neurons by the search of k_best.h along the order, from the weights. About kAnswers·N² flops each. */
  void run(const RandomOrder& order, AnswerBlock& block, const JobControl& control);

 private:
  const LayerFit& fit_;
  std::vector<KBestRounding<float>> searches_;
  std::vector<std::int8_t> found_;
};

}  // namespace vertexq
