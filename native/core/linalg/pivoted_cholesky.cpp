#include "linalg/pivoted_cholesky.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>
#include <vector>

#include "linalg/real_blas.h"

namespace vertexq::linalg {

namespace {

/** Columns of a panel: enough for products at full speed, few enough that bringing them up to date one by one costs little. */
constexpr std::size_t kPanel = 64;
/** Columns of what is left that are a task: fixed, for GEMM's bits may depend on it. */
constexpr std::size_t kTile = 256;

/** Swaps rows and columns i < j of a symmetric matrix of which the lower triangle is kept, L's rows to the left of it included. */
void swapSymmetric(Matrix& a, std::size_t i, std::size_t j) {
  const std::size_t n = a.rows();
  for (std::size_t k = 0; k < i; ++k) std::swap(a(i, k), a(j, k));
  for (std::size_t k = i + 1; k < j; ++k) std::swap(a(k, i), a(j, k));
  for (std::size_t k = j + 1; k < n; ++k) std::swap(a(k, i), a(k, j));
  std::swap(a(i, i), a(j, j));
}

}  // namespace

Matrix pivotedCholesky(Matrix a, double least, const ForEach& forEach, const std::function<void()>& poll) {
  const std::size_t n = a.rows();
  std::vector<std::size_t> place(n);
  std::iota(place.begin(), place.end(), std::size_t{0});
  std::vector<double> left(n);  // the diagonal of what is left, within a panel too
  for (std::size_t i = 0; i < n; ++i) left[i] = a(i, i);
  std::size_t rank = 0;
  for (bool done = false; rank < n && !done;) {
    const std::size_t first = rank, end = std::min(n, first + kPanel);
    poll();
    for (; rank < end; ++rank) {
      const auto largest = std::max_element(left.begin() + static_cast<std::ptrdiff_t>(rank), left.end());
      if (!(*largest > least)) {
        done = true;
        break;
      }
      const auto pivot = static_cast<std::size_t>(largest - left.begin());
      if (pivot != rank) {
        swapSymmetric(a, rank, pivot);
        std::swap(left[rank], left[pivot]);
        std::swap(place[rank], place[pivot]);
      }
      const double root = std::sqrt(left[rank]);
      double* column = a.column(rank);
      if (rank > first && rank + 1 < n) {
        std::vector<double> row(rank - first);
        for (std::size_t k = first; k < rank; ++k) row[k - first] = a(rank, k);
        gemv(kPlain, n - rank - 1, rank - first, -1.0, &a(rank + 1, first), n, row.data(), 1.0, column + rank + 1);
      }
      column[rank] = root;
      for (std::size_t i = rank + 1; i < n; ++i) {
        column[i] /= root;
        left[i] -= column[i] * column[i];
      }
    }
    if (done || rank == n) break;
    const std::size_t rest = n - rank, depth = rank - first;
    forEach((rest + kTile - 1) / kTile, [&](std::size_t tile) {
      poll();
      const std::size_t j = rank + tile * kTile;
      gemm(kPlain, kTransposed, n - j, std::min(kTile, n - j), depth, -1.0, &a(j, first), n, &a(j, first), n, 1.0,
           &a(j, j), n);
    });
    for (std::size_t i = rank; i < n; ++i) left[i] = a(i, i);
  }
  Matrix r(rank, n);
  for (std::size_t k = 0; k < rank; ++k)
    for (std::size_t i = k; i < n; ++i) r(k, place[i]) = a(i, k);
  return r;
}

}  // namespace vertexq::linalg
