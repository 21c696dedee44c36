#include "walk/tableau.h"

#include <cblas.h>
#include <lapacke.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>

#include "error.h"
#include "linalg/real_blas.h"

namespace vertexq {

namespace {

/** What rounding leaves on the diagonal beyond the rank, in units of max(k, N)·ε·|R₁₁|: 1 is exceeded by 2 × 2 matrices. */
constexpr double kRankTolerance = 8;

}  // namespace

Tableau tableauOf(Matrix a) {
  const std::size_t n = a.cols();
  const std::size_t diagonal = std::min(a.rows(), n);
  Tableau tableau;
  tableau.columns.resize(n);
  std::iota(tableau.columns.begin(), tableau.columns.end(), 0);
  if (diagonal == 0) {
    tableau.t = Matrix(0, n);
    return tableau;
  }

  std::vector<lapack_int> pivots(n, 0);
  std::vector<double> tau(diagonal);
  const auto rows = static_cast<lapack_int>(a.rows());
  const lapack_int info =
      LAPACKE_dgeqp3(LAPACK_COL_MAJOR, rows, static_cast<lapack_int>(n), a.data(), rows, pivots.data(), tau.data());
  linalg::requireWorkspace(info);
  if (info != 0) throw Error("ERR_VERTEXQ_NUMERIC", "LAPACK dgeqp3 failed with info " + std::to_string(info));
  for (std::size_t j = 0; j < n; ++j) tableau.columns[j] = pivots[j] - 1;

  const double tolerance = kRankTolerance * static_cast<double>(std::max(a.rows(), n)) *
                           std::numeric_limits<double>::epsilon() * std::abs(a(0, 0));
  std::size_t r = 0;
  while (r < diagonal && std::abs(a(r, r)) > tolerance) ++r;

  if (r > 0 && r < n)
    cblas_dtrsm(CblasColMajor, CblasLeft, CblasUpper, CblasNoTrans, CblasNonUnit, static_cast<int>(r),
                static_cast<int>(n - r), 1.0, a.data(), rows, a.column(r), rows);
  tableau.t = Matrix(r, n - r);
  for (std::size_t k = r; k < n; ++k) std::copy_n(a.column(k), r, tableau.t.column(k - r));
  return tableau;
}

}  // namespace vertexq
