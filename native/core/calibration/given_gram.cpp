#include "calibration/given_gram.h"

#include <cblas.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <string>

#include "calibration/spectrum.h"
#include "error.h"
#include "linalg/strip_cholesky.h"
#include "parallel/thread_pool.h"

namespace vertexq {

namespace {

/** What sums of float32 products are off by, of the largest entry. */
constexpr double kSlack = 1e-5;
/** Beyond 2^±kFarExponent products and squares of entries come near the ends of float64's range. */
constexpr int kFarExponent = 400;
/** Threads that look at a matrix; what they find does not depend on them. */
constexpr unsigned kThreads = 2;

std::string shortNumber(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g", value);
  return text;
}

/** The largest magnitude in H, all of it finite. */
double largestOf(const double* gram, std::size_t n) {
  double largest = 0;
  for (std::size_t i = 0; i < n * n; ++i) {
    if (!std::isfinite(gram[i]))
      throw Error("ERR_VERTEXQ_GRAM", "the Gram matrix holds a NaN or an infinity, at row " + std::to_string(i / n) +
                                          ", column " + std::to_string(i % n));
    largest = std::max(largest, std::abs(gram[i]));
  }
  return largest;
}

/** The even exponent e for which H·2^-e is of ordinary size; 0 where it is already. */
int farExponent(double largest) {
  if (!(largest > 0)) return 0;
  const int exponent = std::ilogb(largest);
  return std::abs(exponent) > kFarExponent ? exponent / 2 * 2 : 0;
}

void scale(Matrix& matrix, int exponent) {
  if (exponent == 0) return;
  for (std::size_t i = 0; i < matrix.rows() * matrix.cols(); ++i)
    matrix.data()[i] = std::ldexp(matrix.data()[i], exponent);
}

/** H·2^-exponent; the mean of both triangles where they differ. */
Matrix symmetric(const double* gram, std::size_t n, double slack, int exponent) {
  Matrix h(n, n);
  for (std::size_t j = 0; j < n; ++j)
    for (std::size_t i = 0; i < n; ++i) {
      if (std::abs(gram[i * n + j] - gram[j * n + i]) > slack)
        throw Error("ERR_VERTEXQ_GRAM", "the Gram matrix is not symmetric: entries (" + std::to_string(i) + ", " +
                                            std::to_string(j) + ") and its mirror image differ");
      h(i, j) = 0.5 * gram[i * n + j] + 0.5 * gram[j * n + i];
    }
  scale(h, -exponent);
  return h;
}

/** RᵀR. */
Matrix gramOf(const Matrix& r) {
  const auto n = static_cast<int>(r.cols()), rows = static_cast<int>(r.rows());
  Matrix h(r.cols(), r.cols());
  if (rows == 0) return h;
  cblas_dsyrk(CblasColMajor, CblasUpper, CblasTrans, n, rows, 1.0, r.data(), rows, 0.0, h.data(), n);
  for (std::size_t j = 0; j < h.cols(); ++j)
    for (std::size_t i = 0; i < j; ++i) h(j, i) = h(i, j);
  return h;
}

/**
 * Whether no eigenvalue is below 0 by more than float64 rounds: H, with as much added to its diagonal, has a Cholesky factor. False where
 * that is in doubt.
 */
bool isSemidefinite(const Matrix& h, const JobControl& control) {
  const std::size_t n = h.cols();
  Matrix shifted = h;
  double largest = 0;
  for (std::size_t i = 0; i < n; ++i) largest = std::max(largest, h(i, i));
  if (!(largest > 0)) return false;
  const double rounding = 8 * largest * static_cast<double>(n) * std::numeric_limits<double>::epsilon();
  for (std::size_t i = 0; i < n; ++i) shifted(i, i) += rounding;
  linalg::StripCholesky<double> cholesky(n);
  const linalg::ForEach forEach = [](std::size_t count, const std::function<void(std::size_t)>& task) {
    ThreadPool::shared().parallelFor(count, kThreads, [&](std::size_t i, unsigned) { task(i); });
  };
  return cholesky.factor(n, shifted.data(), n, forEach, [&] { control.checkpoint(); });
}

/** Row-major X̃ᵀX times 2^-exponent, column-major. */
Matrix crossOf(const double* cross, std::size_t n, int exponent) {
  Matrix g(n, n);
  for (std::size_t j = 0; j < n; ++j)
    for (std::size_t i = 0; i < n; ++i) {
      const auto place = [&] { return "at row " + std::to_string(i) + ", column " + std::to_string(j); };
      if (!std::isfinite(cross[i * n + j]))
        throw Error("ERR_VERTEXQ_GRAM", "the cross Gram matrix has an entry that is not finite, " + place());
      g(i, j) = std::ldexp(cross[i * n + j], -exponent);
      if (!std::isfinite(g(i, j)))
        throw Error("ERR_VERTEXQ_GRAM", "the entry of the cross Gram matrix " + place() + ", " +
                                            shortNumber(cross[i * n + j]) +
                                            ", is too large beside the Gram matrix: their quotient overflows float64");
    }
  return g;
}

}  // namespace

GivenGram givenGram(const double* gram, const double* cross, std::size_t inFeatures, bool withFactor,
                    const JobControl& control) {
  const std::size_t n = inFeatures;
  const double size = static_cast<double>(n), given = largestOf(gram, n);
  const int exponent = farExponent(given);
  Matrix h = symmetric(gram, n, kSlack * given, exponent);
  const double largest = std::ldexp(given, -exponent);
  control.checkpoint();
  if (!withFactor && isSemidefinite(h, control)) {
    GivenGram result;
    result.data.h = std::move(h);
    if (cross) result.data.cross = crossOf(cross, n, exponent);
    return result;
  }
  const Spectrum s = spectrumOf(h);
  const double top = s.values.empty() ? 0 : s.values.front(), least = s.values.empty() ? 0 : s.values.back();
  // Errors of the entries are of either sign: as the eigenvalues of a random matrix they grow with √N.
  if (least < -kSlack * std::sqrt(size) * largest)
    throw Error("ERR_VERTEXQ_GRAM",
                "the Gram matrix is not positive semidefinite: it has an eigenvalue of " +
                    shortNumber(std::ldexp(least, exponent)) + ", where the largest is " +
                    shortNumber(std::ldexp(top, exponent)) +
                    ". XᵀX has none below 0 but for rounding: sum it in float64, over the same rows in every entry");
  const double rounding = 8 * std::max(top, 0.0) * size * std::numeric_limits<double>::epsilon();
  const auto rank = static_cast<std::size_t>(
      std::count_if(s.values.begin(), s.values.end(), [&](double value) { return value > rounding; }));
  GivenGram result;
  result.factor = Matrix(rank, n);
  for (std::size_t k = 0; k < rank; ++k)
    for (std::size_t j = 0; j < n; ++j) result.factor(k, j) = std::sqrt(s.values[k]) * s.vectors(j, k);
  result.data.h = least < -rounding ? gramOf(result.factor) : std::move(h);
  scale(result.factor, exponent / 2);
  if (cross) result.data.cross = crossOf(cross, n, exponent);
  return result;
}

}  // namespace vertexq
