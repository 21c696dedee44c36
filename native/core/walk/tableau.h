// The rank-revealing factorisation that a layer's neurons share.
#pragma once

#include <cstddef>
#include <vector>

#include "linalg/matrix.h"
#include "parallel/job_control.h"

namespace vertexq {

/**
 * What a walk needs to know of A (k × N): r = rank(A) columns that form a basis B, and T = B⁻¹A, r × N.
 *
 * A v = 0 if and only if T v = 0, and T is far better conditioned than A: the basis comes from a QR factorisation with column
 * pivoting, whose triangle carries all of A's bad scaling and is divided out here, once.
 */
struct Tableau {
  std::vector<int> columns;  // a permutation of 0..N-1: the first r are the basis, in the order of the rows of T
  Matrix t;  // r × (N - r): T's other columns, t(·, k) that of columns[r + k]; T's basis is the identity

  std::size_t rank() const { return t.rows(); }
  std::size_t size() const { return columns.size(); }
  std::size_t entering() const { return t.cols(); }
};

/**
 * A P = Q R by LAPACK's dgeqp3; rank is the number of diagonal entries above 8·max(k, N)·ε·|R₁₁|; T = R₁₁⁻¹[R₁₁ R₁₂].
 * Throws Cancelled between two panels.
 */
Tableau tableauOf(Matrix a, const JobControl& control = JobControl());

}  // namespace vertexq
