// Sums of a few columns of a matrix.
#pragma once

#include <cstddef>

#include "linalg/matrix.h"

namespace vertexq {

/**
 * y += Σ_j coefficients[columns[j]]·A(:, columns[j]) over `count` columns. Coefficients are indexed as the columns are.
 */
template <typename Real>
void addColumns(const BasicMatrix<Real>& a, const std::size_t* columns, std::size_t count, const Real* coefficients,
                Real* y);

}  // namespace vertexq
