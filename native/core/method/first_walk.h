// The first half of the vertex method's first answer: every neuron walked to a vertex, then what the walk leaves free decoded.
#pragma once

#include <cstddef>
#include <vector>

#include "linalg/matrix.h"
#include "method/answer_block.h"
#include "method/layer_fit.h"
#include "parallel/job_control.h"
#include "walk/blocked_walk.h"
#include "walk/tableau.h"

namespace vertexq {

/** What the walks of all neurons share. */
class WalkSystem {
 public:
  /** `rank`: directions of H that the walks hold, its leading ones. Throws ERR_VERTEXQ_NUMERIC, Cancelled. */
  WalkSystem(const LayerFit& fit, std::size_t rank, unsigned threads, const JobControl& control);

  const Tableau& tableau() const { return tableau_; }
  const FloatMatrix& single() const { return single_; }
  /** Inputs by falling H_ii: the order of decoding. */
  const std::vector<std::size_t>& order() const { return order_; }

 private:
  Tableau tableau_;
  FloatMatrix single_;
  std::vector<std::size_t> order_;
};

/** The workspace of one thread. `system` must outlive it. */
class Walker {
 public:
  Walker(const LayerFit& fit, const WalkSystem& system);

  /**
   * Answers for the block's neurons (docs/methods.md, "`vertex`"): walked in the box of the cells of their weights; the r or fewer
   * entries that do not arrive at a level are compensated by least squares and decoded along a Cholesky factor of their own.
   */
  void run(AnswerBlock& block, const JobControl& control);

 private:
  void walk(std::size_t neuron, double* values, std::int8_t* codes, FreeEntryDecoder<float>& decoder,
            const JobControl& control);

  const LayerFit& fit_;
  const WalkSystem& system_;
  BlockedWalk<float> walk_;
  std::vector<double> low_, high_, walked_;
  std::vector<float> weights_, decoded_;
  std::vector<int> free_;
};

}  // namespace vertexq
