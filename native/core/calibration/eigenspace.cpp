#include "calibration/eigenspace.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "error.h"
#include "linalg/real_blas.h"
#include "parallel/thread_pool.h"

namespace vertexq {

namespace {

/**
 * Milliseconds on one core, N = 2048, Gram matrices of Gaussian data / of correlated columns of falling scale:
 *
 *     r/N                                    0.1         0.25        0.5         0.75         1
 *     dsytrd, common to all               353 / 396
 *     dsterf (eigenvalues)                 47 / 39
 *     dstedc (all tridiagonal vectors)    266 / 213
 *     dstemr (r of them)                  108 / 79    339 / 202   686 / 423   706 / 499    864 / 627
 *     all of Eigenspace, two threads      511 / 479   706 / 647   786 / 708   857 / 780    912 / 851
 *     all of Eigenspace, one thread       530 / 497   767 / 700   903 / 825  1040 / 959   1141 / 1076
 *     dsyevr, range I (dsyevx alike)      570 / 523   778 / 876  1298 / 1792 2171 / 3448  1357 / 1135
 *     dsyevd, whatever r                 1139 / 1070
 *
 * N = 256, 512 and 1024 are in the same order. So: dsytrd; dstedc for all vectors of the tridiagonal matrix, but dstemr where
 * few are wanted; dormqr for those wanted. The break-even lies between N/8 and N/4; dstemr's vectors are less orthogonal
 * (1e-13, dstedc 3e-15), so it has to pay.
 */
bool fewWanted(std::size_t rank, std::size_t order) { return order >= 512 && rank <= order / 8; }

/** Vectors that one task transforms. */
constexpr std::size_t kVectorsAtOnce = 128;

void requireDone(lapack_int info, const char* routine) {
  linalg::requireWorkspace(info);
  if (info != 0)
    throw Error("ERR_VERTEXQ_NUMERIC", std::string("LAPACK ") + routine + " failed with info " + std::to_string(info));
}

lapack_int lapackDim(std::size_t n) { return static_cast<lapack_int>(n); }

}  // namespace

Eigenspace::Eigenspace(Matrix h, const JobControl& control) : order_(h.rows()), reflectors_(std::move(h)) {
  const std::size_t n = order_;
  if (reflectors_.cols() != n)
    throw Error("ERR_VERTEXQ_GRAM", "the Gram matrix is not square: it is " + std::to_string(n) + " × " +
                                        std::to_string(reflectors_.cols()));
  if (n == 0) return;
  double* entries = reflectors_.data();
  double largest = 0;
  for (std::size_t i = 0; i < n * n; ++i) {
    if (!std::isfinite(entries[i])) throw Error("ERR_VERTEXQ_GRAM", "the Gram matrix holds a NaN or an infinity");
    largest = std::max(largest, std::abs(entries[i]));
  }
  values_.resize(n);
  scaledValues_.resize(n);
  if (largest == 0) return;
  // Even, so that square roots scale back by a power of two as well.
  exponent_ = std::ilogb(largest) / 2 * 2;
  const double half = std::scalbn(1.0, -exponent_ / 2);  // the whole factor may itself overflow
  for (std::size_t i = 0; i < n * n; ++i) entries[i] = entries[i] * half * half;
  largest = std::scalbn(largest, -exponent_);
  // Sums of float32 products, the usual source of a Gram matrix, are good to about this much.
  const double slack = 1e-5 * largest;
  for (std::size_t j = 0; j < n; ++j)
    for (std::size_t i = j + 1; i < n; ++i) {
      double &below = reflectors_(i, j), above = reflectors_(j, i);
      if (std::abs(below - above) > slack)
        throw Error("ERR_VERTEXQ_GRAM", "the Gram matrix is not symmetric: entries (" + std::to_string(i) + ", " +
                                            std::to_string(j) + ") and its mirror image differ");
      below = 0.5 * below + 0.5 * above;
    }

  control.throwIfCancelled();
  tridiagonal_ = linalg::tridiagonalise('L', reflectors_, [&] { control.throwIfCancelled(); });
  std::vector<double> rising = tridiagonal_.diagonal, off = tridiagonal_.off;
  requireDone(LAPACKE_dsterf(lapackDim(n), rising.data(), off.data()), "dsterf");
  if (rising.front() < -slack * static_cast<double>(n))
    throw Error("ERR_VERTEXQ_GRAM", "the Gram matrix is not positive semidefinite: it has an eigenvalue of " +
                                        std::to_string(rising.front() / rising.back()) + " times the largest");
  std::transform(rising.rbegin(), rising.rend(), scaledValues_.begin(),
                 [](double value) { return std::max(value, 0.0); });
  std::transform(scaledValues_.begin(), scaledValues_.end(), values_.begin(),
                 [&](double value) { return std::scalbn(value, exponent_); });
  if (!std::isfinite(values_.front()))
    throw Error("ERR_VERTEXQ_GRAM", "the Gram matrix is too large: its eigenvalues overflow float64");
  const double tolerance = 8 * scaledValues_.front() * static_cast<double>(n) * std::numeric_limits<double>::epsilon();
  rank_ = static_cast<std::size_t>(
      std::count_if(scaledValues_.begin(), scaledValues_.end(), [&](double value) { return value > tolerance; }));
}

/** Eigenvectors of the tridiagonal matrix for the `rank` largest eigenvalues, which rise from column to column. */
Matrix Eigenspace::leadingTridiagonalVectors(std::size_t rank, const JobControl& control) const {
  const std::size_t n = order_;
  std::vector<double> diagonal = tridiagonal_.diagonal, off = tridiagonal_.off;
  if (fewWanted(rank, n)) {
    Matrix vectors(n, rank);
    std::vector<double> values(n);
    std::vector<lapack_int> support(2 * rank);
    lapack_int found = 0;
    lapack_logical highAccuracy = 1;
    const lapack_int info = LAPACKE_dstemr(LAPACK_COL_MAJOR, 'V', 'I', lapackDim(n), diagonal.data(), off.data(), 0, 0,
                                           lapackDim(n - rank + 1), lapackDim(n), &found, values.data(), vectors.data(),
                                           lapackDim(n), lapackDim(rank), support.data(), &highAccuracy);
    if (info == 0 && found == lapackDim(rank)) return vectors;
    // Rare, on tightly clustered eigenvalues; divide and conquer takes those.
    diagonal = tridiagonal_.diagonal;
    off = tridiagonal_.off;
  }
  Matrix all;
  requireDone(linalg::tridiagonalVectors(diagonal, off, all, [&] { control.throwIfCancelled(); }), "dstedc");
  if (rank == n) return all;
  Matrix vectors(n, rank);
  std::copy_n(all.column(n - rank), n * rank, vectors.data());
  return vectors;
}

/**
 * From eigenvectors of the tridiagonal matrix to those of H, in place. dormqr, as dormtr would call it, but with the workspace
 * it asks for: dormtr's own estimate leaves no room for blocks on few vectors, and the unblocked code is slow and writes to the
 * reflectors while it runs, which several threads share here.
 */
void Eigenspace::reflect(double* vectors, std::size_t count) const {
  const std::size_t n = order_;
  if (n < 2) return;
  const auto apply = [&](double* work, lapack_int size) {
    requireDone(LAPACKE_dormqr_work(LAPACK_COL_MAJOR, 'L', 'N', lapackDim(n - 1), lapackDim(count), lapackDim(n - 1),
                                    reflectors_.data() + 1, lapackDim(n), tridiagonal_.scalars.data(), vectors + 1,
                                    lapackDim(n), work, size),
                "dormqr");
  };
  double wanted = 0;
  apply(&wanted, -1);
  std::vector<double> work(static_cast<std::size_t>(wanted));
  apply(work.data(), static_cast<lapack_int>(work.size()));
}

Matrix Eigenspace::leadingPart(std::size_t rank, unsigned threads, const JobControl& control) const {
  const std::size_t n = order_, r = std::min(rank, rank_);
  Matrix part(r, n);
  if (r == 0) return part;
  Matrix vectors = leadingTridiagonalVectors(r, control);
  std::vector<double> roots(r);
  for (std::size_t c = 0; c < r; ++c) roots[c] = std::scalbn(std::sqrt(scaledValues_[r - 1 - c]), exponent_ / 2);
  constexpr std::size_t kLine = 8;
  ThreadPool::shared().parallelFor(
      (r + kVectorsAtOnce - 1) / kVectorsAtOnce, threads, [&](std::size_t block, unsigned) {
        control.throwIfCancelled();
        const std::size_t first = block * kVectorsAtOnce, count = std::min(kVectorsAtOnce, r - first);
        reflect(vectors.column(first), count);
        // A transposes: a cache line of a column of it at a time.
        for (std::size_t column = first; column < first + count; column += kLine)
          for (std::size_t j = 0; j < n; ++j)
            for (std::size_t c = column; c < std::min(column + kLine, first + count); ++c)
              part(r - 1 - c, j) = roots[c] * vectors(j, c);
      });
  return part;
}

LeadingEigenspace leadingEigenspace(Matrix h, std::size_t rank, unsigned threads, const JobControl& control) {
  const Eigenspace space(std::move(h), control);
  return {space.leadingPart(rank, threads, control), space.values()};
}

}  // namespace vertexq
