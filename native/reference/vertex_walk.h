// The paper's pre-processing: a walk along the kernel of the data to a vertex.
#pragma once

#include <cstddef>
#include <vector>

#include "linalg/matrix.h"
#include "parallel/job_control.h"
#include "walk/tableau.h"

namespace vertexq::reference {

/**
 * Moves one neuron w to a vertex ŵ of { z : A z = A w, low <= z <= high } (Maly & Saab 2023, section 2: there the box is
 * [-c, c]). All but at most rank(A) entries of ŵ equal one of their bounds, bit for bit.
 *
 * The walk keeps a basis F of r columns, B = T_F, and treats every other column j once:
 *
 *     z = B⁻¹ t_j;   w_j += s,  w_F -= s z   leaves T w as it is;
 *     s grows, in the sign that needs the smaller step, until the first entry reaches a bound.
 *     If that is j, it stays there. If it is the entry of F in place k, it stays there and j takes its place:
 *     B⁻¹ ← (I - (z - e_k) e_kᵀ / z_k) B⁻¹.
 *
 * This is the bounded ratio test and product-form update of the primal simplex method, and its numerics are treated as there:
 * Harris' two passes with a feasibility tolerance, so that among nearly equal steps the largest pivot wins; the inverse
 * is computed afresh when a probe shows that it has drifted; at the end iterative refinement restores T ŵ = T w.
 *
 * Plain and column by column, in float64: what BlockedWalk is tested against and measured by. One object serves one thread.
 */
class VertexWalk {
 public:
  /** `tableau` must outlive the walk. Workspace: r² + 5r + 2N doubles. */
  explicit VertexWalk(const Tableau& tableau);

  /**
   * Walks `w` (N entries, low <= w <= high) in place. Polls `control` at every column.
   * Throws Cancelled, and ERR_VERTEXQ_NUMERIC if LAPACK finds a basis singular.
   */
  void run(double* w, const double* low, const double* high, const JobControl& control);

 private:
  struct Step {
    double reach;   // how far this way is open, give or take the feasibility tolerance
    double length;  // how far to go: >= 0
    double pivot;   // |z_k| of the entry that stops it; 0 when column j itself does
    int place;      // k, or -1 for column j itself
  };

  Step ratioTest(double sign, const double* w, const double* low, const double* high, int column) const;
  static bool preferred(const Step& a, const Step& b);
  void take(const Step& step, double sign, double* w, const double* low, const double* high, int column);
  void exchange(int place, std::size_t entering);
  bool inverseHasDrifted();
  Matrix basisColumns() const;
  void refactor();
  void restore(double* w, const double* original, const double* low, const double* high);

  const Tableau& tableau_;
  std::vector<int> basis_;               // place -> input
  std::vector<std::ptrdiff_t> entered_;  // place -> column of T, or -1: still the unit vector of that place
  Matrix inverse_;
  bool inverseIsIdentity_ = true;
  std::vector<double> z_;
  std::vector<double> row_;
  std::vector<double> probe_;
};

}  // namespace vertexq::reference
