// The vectorised parts of Gram accumulation, and what tells when float32 is not enough for it.
#pragma once

#include <cstddef>

#include "linalg/strip_matrix.h"

namespace vertexq {

/** `count` rows of `n` numbers become columns first, first + 1, ... of strips, with zeros in what pads the last strip. */
template <typename Real, typename From>
void packRows(const From* rows, std::size_t count, std::size_t n, linalg::StripMatrix<Real>& to, std::size_t first);

/**
 * sums -= products: `cols` columns of `rows` numbers, in strips of kStripRows rows and columns, without gaps; those of the sums are
 * `distance` apart.
 */
template <typename Real>
void subtractWidened(const Real* products, std::size_t rows, std::size_t cols, double* sums, std::size_t distance);

/** Of some rows: whether all entries are finite, and whether products in float32 will do. */
struct Verdict {
  bool finite, narrow;
};

/** rows: count × n, row-major. float64 rows are never narrow. */
Verdict judge(const float* rows, std::size_t count, std::size_t n);
Verdict judge(const double* rows, std::size_t count, std::size_t n);

}  // namespace vertexq
