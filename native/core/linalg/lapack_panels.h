// LAPACK's longest factorisations, panel by panel, so that they can be stopped.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "linalg/matrix.h"

namespace vertexq::linalg {

/**
 * Called before every panel; it ends the factorisation by throwing. Those of a matrix of 4,000 rows take tens of seconds in LAPACK's own
 * loops, and a panel tenths of one.
 *
 * Each function does what the routine that it names does with the workspace it asks for: the same panels, hence the same bits.
 */
using Poll = std::function<void()>;

/** A = Q T Qᵀ: dsytrd's. `off` has order - 1 entries, as many as `scalars`; the reflectors are below or above T in A. */
struct Tridiagonal {
  std::vector<double> diagonal, off, scalars;
};

/** dsytrd in place of the triangle `uplo`, 'L' or 'U', of A. */
Tridiagonal tridiagonalise(char uplo, Matrix& a, const Poll& poll);

/**
 * dstedc with COMPZ = 'I': the eigenvalues of T, rising, in place of `diagonal`, and its eigenvectors, column by column. `off` is
 * destroyed. Returns LAPACK's info.
 */
int tridiagonalVectors(std::vector<double>& diagonal, std::vector<double>& off, Matrix& vectors, const Poll& poll);

/** dormtr from the left after tridiagonalise('U', ...), as dsyevd calls it: V ← Q V. */
void applyUpperReflectors(const Matrix& a, const Tridiagonal& t, Matrix& v, const Poll& poll);

/** dgeqp3: A P = Q R in place of A. `pivots`: the columns, from 0, in their new order; `scalars`, of the reflectors. */
struct PivotedQr {
  std::vector<int> pivots;
  std::vector<double> scalars;
};
PivotedQr pivotedQr(Matrix& a, const Poll& poll);

/** dtpqrt: folds `rows` into the upper triangle R, n × n, by reflectors in blocks of `block`. `rows` is destroyed. */
void foldIntoTriangle(Matrix& triangle, Matrix& rows, std::size_t block, const Poll& poll);

}  // namespace vertexq::linalg
