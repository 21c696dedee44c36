// Cholesky factorisation on our own threads.
#pragma once

#include "linalg/matrix.h"
#include "parallel/job_control.h"

namespace vertexq {

/**
 * A = L Lᵀ in place of A's lower triangle (n × n; the upper one is not touched). In strips (linalg/strip_cholesky.h) on at most
 * `threads` threads; the bytes do not depend on `threads`. Takes a workspace of half the matrix.
 *
 * Returns whether A was positive definite to working precision: false as well if a squared pivot is less than
 * kLeastPivot·ε times its diagonal entry, where it is nothing but rounding error. Polls `control` at every strip of
 * a block.
 */
template <typename Real>
bool choleskyLower(BasicMatrix<Real>& a, unsigned threads, const JobControl& control);

/**
 * Rounding errors of a pivot are a small multiple of ε (times the diagonal entry) in practice; below this it is not
 * trusted.
 */
inline constexpr double kLeastPivot = 16;

}  // namespace vertexq
