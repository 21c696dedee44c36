// The vertex walk at the speed of GEMM.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "linalg/aligned_buffer.h"
#include "linalg/matrix.h"
#include "parallel/job_control.h"
#include "walk/kernels.h"
#include "walk/product_form.h"
#include "walk/tableau.h"
#include "walk/walk_plan.h"

namespace vertexq {

/**
 * The walk of VertexWalk (native/reference) in blocks of columns: the same steps, ties and tolerances, but z = B⁻¹t
 * comes from a matrix product for a block of columns at once, to which the block's own pivots are applied panel by panel.
 *
 * In float32 the walk itself is rounded to about four digits; at the end T ŵ = T w is restored in float64 by iterative
 * refinement. The rare neuron whose box does not allow that is walked again in float64.
 *
 * One object serves one thread; it allocates nothing once it has walked its first neuron, save where a basis must be factored
 * afresh.
 */
template <typename Real>
class BlockedWalk {
 public:
  /** `t` is tableau.t rounded to Real (for double, tableau.t itself); both must outlive the walk. */
  BlockedWalk(const Tableau& tableau, const BasicMatrix<Real>& t, WalkForm form = WalkForm::Auto);

  /**
   * Walks `w` (N entries, low <= w <= high) in place. Polls `control` at every block.
   * Throws Cancelled, and ERR_VERTEXQ_NUMERIC if a basis is singular.
   */
  void run(double* w, const double* low, const double* high, const JobControl& control);

  /** Bases that had to be factored afresh, by all runs. */
  std::size_t refactorings() const { return refactorings_; }
  /** Neurons that float32 was not enough for. */
  std::size_t walkedInDouble() const { return walkedInDouble_; }
  /**
   * Workspace in bytes. Of Reals, at most about 3r² in the tableau form that Auto chooses (Y and L, and H if a basis was
   * factored afresh), r² + 400r in the inverse form (H, Y and a block); besides 11N doubles.
   */
  std::size_t bytes() const;

 private:
  /** A column of T that is to enter, the distance of its input from the middle of its box and half the width of that. */
  struct Entering {
    std::size_t column;
    Real offset, half;
  };

  double middleOf(int input, const double* low, const double* high) const;
  Real offsetOf(int input, const double* w, const double* low, const double* high) const;
  Real halfOf(int input, const double* low, const double* high) const;
  void begin(const double* w, const double* low, const double* high);
  std::size_t nextBlock(std::size_t from, const double* w, const double* low, const double* high);
  void fill(std::size_t from, std::size_t end);
  void transformBlock();
  std::size_t addCheck(Real* v);
  bool checkFails(Real* v) const;
  void refactor();
  void walkColumn(const Entering& entering, linalg::Strips<const Real> z, double* w, const double* low,
                  const double* high);
  bool restore(double* w, const double* low, const double* high);
  double imbalance(const double* w, double& scale);
  bool seemsBalanced(const double* w, double limit) const;
  void walkInDouble(double* w, const double* low, const double* high, const JobControl& control);

  const Tableau& tableau_;
  const BasicMatrix<Real>& t_;
  WalkPlan plan_;
  ProductForm<Real> form_;
  const WalkKernels<Real>& kernels_;
  std::unique_ptr<BlockedWalk<double>> exact_;  // for float alone
  std::size_t refactorings_ = 0;
  std::size_t walkedInDouble_ = 0;

  double unit_ = 1, inverseUnit_ = 1;  // powers of two; offset_ and half_ are in this unit
  std::vector<int> basis_;             // place -> input
  std::vector<Entering> block_;
  std::vector<std::size_t> checked_;  // places whose columns the check column sums up
  std::size_t checkFrom_ = 0;
  linalg::AlignedBuffer<Real> vector_;         // the check column, or what is corrected at the end
  linalg::AlignedBuffer<Real> offset_, half_;  // of the basic entries: from the middle of the box; half its width
  std::vector<double> original_, moved_, probe_;
  Matrix signs_, witnesses_;  // a few random rows of ±1, and the products of these with T
};

}  // namespace vertexq
