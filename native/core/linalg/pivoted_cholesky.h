// Cholesky factorisation with pivoting, for matrices of any rank.
#pragma once

#include <cstddef>

#include "linalg/matrix.h"
#include "linalg/strip_cholesky.h"

namespace vertexq::linalg {

/**
 * R with RᵀR = A but for a semidefinite rest whose diagonal is nowhere above `least`: A symmetric and positive semidefinite (its lower
 * triangle is read), R rank × n, its columns in the order of A's. The pivot is always the largest diagonal entry that is left
 * (Golub & Van Loan, section 4.2.8), whose root is what QR with column pivoting of any factor of A has there.
 *
 * By panels: within one, columns are brought up to date as they become pivots, and what is left of A once a panel, tile by tile on
 * `forEach`. The bytes do not depend on it. `poll` is called before every panel and tile.
 */
Matrix pivotedCholesky(Matrix a, double least, const ForEach& forEach, const std::function<void()>& poll);

}  // namespace vertexq::linalg
