#include "walk/tableau.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "linalg/lapack_panels.h"
#include "linalg/real_blas.h"

namespace vertexq {

namespace {

/** What rounding leaves on the diagonal beyond the rank, in units of max(k, N)·ε·|R₁₁|: 1 is exceeded by 2 × 2 matrices. */
constexpr double kRankTolerance = 8;

}  // namespace

Tableau tableauOf(Matrix a, const JobControl& control) {
  const std::size_t n = a.cols();
  const std::size_t diagonal = std::min(a.rows(), n);
  Tableau tableau;
  tableau.columns = linalg::pivotedQr(a, [&] { control.throwIfCancelled(); }).pivots;
  if (diagonal == 0) {
    tableau.t = Matrix(0, n);
    return tableau;
  }

  const double tolerance = kRankTolerance * static_cast<double>(std::max(a.rows(), n)) *
                           std::numeric_limits<double>::epsilon() * std::abs(a(0, 0));
  std::size_t r = 0;
  while (r < diagonal && std::abs(a(r, r)) > tolerance) ++r;

  control.throwIfCancelled();
  if (r > 0 && r < n)
    linalg::trsm(CblasLeft, CblasUpper, CblasNoTrans, CblasNonUnit, r, n - r, a.data(), a.rows(), a.column(r),
                 a.rows());
  tableau.t = Matrix(r, n - r);
  for (std::size_t k = r; k < n; ++k) std::copy_n(a.column(k), r, tableau.t.column(k - r));
  return tableau;
}

}  // namespace vertexq
