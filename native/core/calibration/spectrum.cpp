#include "calibration/spectrum.h"

#include <algorithm>
#include <string>

#include "error.h"
#include "linalg/lapack_panels.h"
#include "linalg/real_blas.h"

namespace vertexq {

Spectrum spectrumOf(Matrix symmetric, const JobControl& control) {
  const std::size_t n = symmetric.rows();
  Spectrum s;
  if (n == 0) return s;
  const linalg::Poll poll = [&] { control.throwIfCancelled(); };
  const linalg::Tridiagonal t = linalg::tridiagonalise('U', symmetric, poll);
  std::vector<double> rising = t.diagonal, off = t.off;
  Matrix vectors;
  if (const int info = linalg::tridiagonalVectors(rising, off, vectors, poll))
    throw Error("ERR_VERTEXQ_NUMERIC", "LAPACK dstedc failed with info " + std::to_string(info));
  linalg::applyUpperReflectors(symmetric, t, vectors, poll);
  s.values.assign(rising.rbegin(), rising.rend());
  s.vectors = Matrix(n, n);
  for (std::size_t k = 0; k < n; ++k) std::copy_n(vectors.column(n - 1 - k), n, s.vectors.column(k));
  return s;
}

Spectrum rowSpectrum(const Matrix& r, const JobControl& control) {
  const auto rows = static_cast<int>(r.rows());
  Matrix k(r.rows(), r.rows());
  // One call of 4,000 rows takes a second: large products are summed over panels of columns, between which the job can end.
  constexpr std::size_t kPanel = 512, kSmall = std::size_t{1} << 32;
  const std::size_t atOnce = r.rows() * r.rows() * r.cols() < kSmall ? r.cols() : kPanel;
  for (std::size_t first = 0; rows > 0 && first < r.cols(); first += atOnce) {
    control.throwIfCancelled();
    const auto count = static_cast<int>(std::min(atOnce, r.cols() - first));
    cblas_dsyrk(CblasColMajor, CblasUpper, CblasNoTrans, rows, count, 1.0, r.column(first), rows, 1.0, k.data(), rows);
  }
  return spectrumOf(std::move(k), control);
}

Matrix leadingPart(const Matrix& r, const Spectrum& spectrum, std::size_t rank, const JobControl& control) {
  const std::size_t rows = r.rows(), cols = r.cols();
  Matrix part(rank, cols);
  // Panels of whole tiles of every BLAS kernel, the last of up to twice the width, of large products alone: others may sum in another order.
  constexpr std::size_t kPanel = 384, kSmall = 1 << 20;
  for (std::size_t first = 0, count = 0; rank > 0 && first < cols; first += count) {
    control.throwIfCancelled();
    count = rank * rows < kSmall || cols - first < 2 * kPanel ? cols - first : kPanel;
    linalg::gemm(linalg::kTransposed, linalg::kPlain, rank, count, rows, 1.0, spectrum.vectors.data(), rows,
                 r.column(first), rows, 0.0, part.column(first), rank);
  }
  return part;
}

std::size_t bestRank(const std::vector<double>& eigenvalues, std::size_t rank, std::size_t inFeatures) {
  const auto n = static_cast<double>(inFeatures);
  double total = 0;
  for (double value : eigenvalues) total += std::max(value, 0.0);
  double tail = 0;
  for (std::size_t k = rank; k < eigenvalues.size(); ++k) tail += std::max(eigenvalues[k], 0.0);
  std::size_t best = rank;
  double least = 0;
  for (std::size_t r = rank + 1; r-- > 0;) {
    const double error = static_cast<double>(r) / n * total / 12 + tail / 6;
    if (r == rank || error < least) {
      least = error;
      best = r;
    }
    if (r > 0) tail += std::max(eigenvalues[r - 1], 0.0);
  }
  return best;
}

}  // namespace vertexq
