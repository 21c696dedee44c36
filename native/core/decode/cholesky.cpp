#include "decode/cholesky.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "linalg/real_blas.h"
#include "parallel/thread_pool.h"

namespace vertexq {

namespace {

/** Columns of a block: wide enough for GEMM's speed, narrow enough that the diagonal block is little work. */
constexpr std::size_t kBlockColumns = 192;
/** Rows of a task. */
constexpr std::size_t kBlockRows = 384;

}  // namespace

template <typename Real>
bool choleskyLower(BasicMatrix<Real>& a, unsigned threads, const JobControl& control) {
  const std::size_t n = a.cols();
  std::vector<Real> diagonal(n);
  for (std::size_t i = 0; i < n; ++i) diagonal[i] = a(i, i);

  for (std::size_t first = 0; first < n; first += kBlockColumns) {
    control.checkpoint();
    const std::size_t width = std::min(kBlockColumns, n - first);
    // The block of `rows` rows at `row` minus what the columns to the left contribute.
    const auto update = [&](std::size_t row, std::size_t rows) {
      if (first > 0)
        linalg::gemm(linalg::kPlain, linalg::kTransposed, rows, width, first, Real(-1), &a.data()[row], n,
                     &a.data()[first], n, Real(1), &a.data()[row + first * n], n);
    };
    // Not GEMM here: it would write to the upper triangle.
    if (first > 0)
      linalg::syrk(CblasLower, linalg::kPlain, width, first, Real(-1), &a.data()[first], n, Real(1), &a(first, first),
                   n);
    if (linalg::potrf('L', width, &a(first, first), n) != 0) return false;
    const std::size_t below = first + width;
    if (below == n) break;
    const std::size_t tasks = (n - below + kBlockRows - 1) / kBlockRows;
    ThreadPool::shared().parallelFor(tasks, threads, [&](std::size_t task, unsigned) {
      const std::size_t row = below + task * kBlockRows;
      const std::size_t rows = std::min(kBlockRows, n - row);
      update(row, rows);
      linalg::trsm(CblasRight, CblasLower, linalg::kTransposed, CblasNonUnit, rows, width, &a(first, first), n,
                   &a.data()[row + first * n], n);
    });
  }

  const Real least = static_cast<Real>(kLeastPivot) * std::numeric_limits<Real>::epsilon();
  for (std::size_t i = 0; i < n; ++i)
    if (!(a(i, i) * a(i, i) > least * diagonal[i])) return false;
  return true;
}

template bool choleskyLower(BasicMatrix<float>&, unsigned, const JobControl&);
template bool choleskyLower(BasicMatrix<double>&, unsigned, const JobControl&);

}  // namespace vertexq
