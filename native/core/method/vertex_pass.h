// One pass of the vertex method: walk a part of the inputs, decode, polish, keep what is better.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "decode/coordinate_descent.h"
#include "decode/free_entries.h"
#include "layer.h"
#include "linalg/matrix.h"
#include "method/layer_fit.h"
#include "method/step_refit.h"
#include "parallel/job_control.h"
#include "walk/blocked_walk.h"

namespace vertexq {

/** What all neurons share in a pass. */
class VertexPart {
 public:
  /**
   * `pass`: tells parts of one layer apart. `inputs`: the part P that may move, rising; the rest keeps its codes. `rank`: directions of H_PP that a walk holds, its leading
   * ones. Throws ERR_VERTEXQ_NUMERIC, Cancelled.
   */
  VertexPart(const LayerFit& fit, std::size_t pass, std::vector<int> inputs, std::size_t rank, unsigned threads,
             const JobControl& control);

  std::size_t pass() const { return pass_; }
  const std::vector<int>& inputs() const { return inputs_; }
  const Tableau& tableau() const { return tableau_; }
  const FloatMatrix& single() const { return single_; }
  /** Places of the part by falling H_ii: the order of decoding. */
  const std::vector<std::size_t>& order() const { return order_; }
  /** Lower Cholesky factor of H_PP; empty if P is everything: then there is nothing to aim again for. */
  const Matrix& factor() const { return factor_; }
  bool isEverything() const { return everything_; }

 private:
  void factorise(const Matrix& h);

  std::size_t pass_;
  std::vector<int> inputs_;
  bool everything_;
  std::vector<std::size_t> order_;
  Tableau tableau_;
  FloatMatrix single_;
  Matrix factor_;
};

/** The workspace of one thread for passes over one layer. */
class VertexWorker {
 public:
  VertexWorker(const LayerFit& fit, const FreeEntrySystem<float>& system);

  /** Neurons that a task takes: products with H are GEMMs of this width. */
  static constexpr std::size_t kBlock = 64;

  /**
   * Walks neurons [first, first + count), count <= kBlock, and keeps what lowers their error in `best`.
   *
   * Where P is not everything, the part is aimed again first: w'_P = q_P - H_PP⁻¹(H(q - w))_P, the values that would be best with
   * the rest as it is (docs/method.md, section 3).
   */
  void run(const VertexPart& part, std::size_t first, std::size_t count, LayerCodes& best, const JobControl& control);

  /**
   * Refits the steps of neurons [first, first + count) to their codes and polishes; keeps what lowers the error. `alphabets` is
   * what fit.alphabets views. Steps stay float32 numbers.
   */
  void refit(std::size_t first, std::size_t count, const AlphabetOptions& kind, std::vector<Alphabet>& alphabets,
             LayerCodes& best, const JobControl& control);

 private:
  void load(std::size_t first, std::size_t count, const LayerCodes& best);
  void dequantize(std::size_t first, std::size_t count, const std::int8_t* codes, Matrix& values) const;
  double polish(std::size_t neuron, std::size_t k);
  void gradients(std::size_t first, std::size_t count, const Matrix& values);
  void aim(const VertexPart& part, std::size_t first, std::size_t count);
  void walk(const VertexPart& part, std::size_t neuron, const double* aimed, double* values, std::int8_t* codes,
            const JobControl& control);

  const LayerFit& fit_;
  CoordinateDescent<double> descent_;
  StepRefit refit_;
  FreeEntryDecoder<float> decoder_;
  std::size_t pass_ = 0;  // the one that walk_ was made for
  std::unique_ptr<BlockedWalk<float>> walk_;
  Matrix values_, gradient_, aimed_, difference_;
  std::vector<double> low_, high_, walked_;
  std::vector<float> weights_, decoded_;
  std::vector<int> free_;
  std::vector<std::int8_t> codes_;
  std::vector<Alphabet> kept_;
};

}  // namespace vertexq
