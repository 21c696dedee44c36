#include "calibration/spectrum.h"

#include <cblas.h>
#include <lapacke.h>

#include <algorithm>
#include <string>

#include "error.h"
#include "linalg/real_blas.h"

namespace vertexq {

Spectrum spectrumOf(Matrix symmetric) {
  const std::size_t n = symmetric.rows();
  Spectrum s;
  if (n == 0) return s;
  std::vector<double> rising(n);
  const auto order = static_cast<lapack_int>(n);
  const lapack_int info = LAPACKE_dsyevd(LAPACK_COL_MAJOR, 'V', 'U', order, symmetric.data(), order, rising.data());
  linalg::requireWorkspace(info);
  if (info != 0) throw Error("ERR_VERTEXQ_NUMERIC", "LAPACK dsyevd failed with info " + std::to_string(info));
  s.values.assign(rising.rbegin(), rising.rend());
  s.vectors = Matrix(n, n);
  for (std::size_t k = 0; k < n; ++k) std::copy_n(symmetric.column(n - 1 - k), n, s.vectors.column(k));
  return s;
}

Spectrum rowSpectrum(const Matrix& r) {
  const auto rows = static_cast<int>(r.rows());
  Matrix k(r.rows(), r.rows());
  if (rows > 0)
    cblas_dsyrk(CblasColMajor, CblasUpper, CblasNoTrans, rows, static_cast<int>(r.cols()), 1.0, r.data(), rows, 0.0,
                k.data(), rows);
  return spectrumOf(std::move(k));
}

Matrix leadingPart(const Matrix& r, const Spectrum& spectrum, std::size_t rank) {
  Matrix part(rank, r.cols());
  if (rank > 0)
    cblas_dgemm(CblasColMajor, CblasTrans, CblasNoTrans, static_cast<int>(rank), static_cast<int>(r.cols()),
                static_cast<int>(r.rows()), 1.0, spectrum.vectors.data(), static_cast<int>(r.rows()), r.data(),
                static_cast<int>(r.rows()), 0.0, part.data(), static_cast<int>(rank));
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
