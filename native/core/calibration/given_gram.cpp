#include "calibration/given_gram.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <string>

#include "error.h"
#include "linalg/pivoted_cholesky.h"
#include "linalg/strip_cholesky.h"
#include "parallel/thread_pool.h"

namespace vertexq {

namespace {

/** What sums of float32 products are off by, of the largest entry. */
constexpr double kSlack = 1e-5;
/** Beyond 2^±kFarExponent products and squares of entries come near the ends of float64's range. */
constexpr int kFarExponent = 400;

std::string shortNumber(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g", value);
  return text;
}

linalg::ForEach onThreads(unsigned threads) {
  return [threads](std::size_t count, const std::function<void(std::size_t)>& task) {
    ThreadPool::shared().parallelFor(count, threads, [&](std::size_t i, unsigned) { task(i); });
  };
}

/** The largest magnitude in H, all of it finite. */
double largestOf(const double* gram, std::size_t n, unsigned threads, const JobControl& control) {
  std::vector<double> largest(n);
  ThreadPool::shared().parallelFor(n, threads, [&](std::size_t row, unsigned) {
    control.throwIfCancelled();
    for (std::size_t j = 0; j < n; ++j) {
      const double value = gram[row * n + j];
      if (!std::isfinite(value))
        throw Error("ERR_VERTEXQ_GRAM", "the Gram matrix holds a NaN or an infinity, at row " + std::to_string(row) +
                                            ", column " + std::to_string(j));
      largest[row] = std::max(largest[row], std::abs(value));
    }
  });
  return n == 0 ? 0 : *std::max_element(largest.begin(), largest.end());
}

/** The even exponent e for which H·2^-e is of ordinary size; 0 where it is already. */
int farExponent(double largest) {
  if (!(largest > 0)) return 0;
  const int exponent = std::ilogb(largest);
  return std::abs(exponent) > kFarExponent ? exponent / 2 * 2 : 0;
}

/** H·2^-exponent; the mean of both triangles where they differ. In tiles that stay in cache on both sides. */
Matrix symmetric(const double* gram, std::size_t n, double slack, int exponent, unsigned threads,
                 const JobControl& control) {
  constexpr std::size_t kTile = 64;
  Matrix h(n, n);
  const std::size_t tiles = (n + kTile - 1) / kTile;
  ThreadPool::shared().parallelFor(tiles, threads, [&](std::size_t tile, unsigned) {
    control.throwIfCancelled();
    const std::size_t first = tile * kTile, end = std::min(n, first + kTile);
    for (std::size_t begin = 0; begin < end; begin += kTile)
      for (std::size_t i = first; i < end; ++i)
        for (std::size_t j = begin; j < std::min(begin + kTile, i + 1); ++j) {
          const double below = gram[i * n + j], above = gram[j * n + i];
          if (std::abs(below - above) > slack)
            throw Error("ERR_VERTEXQ_GRAM", "the Gram matrix is not symmetric: entries (" + std::to_string(i) + ", " +
                                                std::to_string(j) + ") and its mirror image differ");
          const double mean = 0.5 * above + 0.5 * below;
          h(i, j) = h(j, i) = exponent == 0 ? mean : std::ldexp(mean, -exponent);
        }
  });
  return h;
}

double largestPivot(const Matrix& h) {
  double largest = 0;
  for (std::size_t i = 0; i < h.cols(); ++i) largest = std::max(largest, h(i, i));
  return largest;
}

/** What float64 leaves of a pivot that should be 0. */
double roundingOf(const Matrix& h) {
  return 8 * largestPivot(h) * static_cast<double>(h.cols()) * std::numeric_limits<double>::epsilon();
}

/** The shift for H, whose entries are off by `slack` at most. */
double leastShift(const Matrix& h, double slack, int exponent, unsigned threads, const JobControl& control) {
  const std::size_t n = h.cols();
  linalg::StripCholesky<double> cholesky(n);
  const auto isEnough = [&](double shift) {
    return cholesky.hasFactor(n, h.data(), n, shift, onThreads(threads), [&] { control.throwIfCancelled(); });
  };
  double low = roundingOf(h);
  // Errors of the entries are of either sign: as the eigenvalues of a random matrix they grow with √N.
  double high = slack * std::sqrt(static_cast<double>(n));
  if (low > 0 && isEnough(low)) return 0;
  if (!isEnough(high))
    throw Error("ERR_VERTEXQ_GRAM",
                "the Gram matrix is not positive semidefinite: it has an eigenvalue below " +
                    shortNumber(std::ldexp(-high, exponent)) + ", where its largest entry is " +
                    shortNumber(std::ldexp(slack / kSlack, exponent)) +
                    ". XᵀX has none below 0 but for rounding: sum it in float64, over the same rows in every entry");
  low = std::max(low, std::numeric_limits<double>::epsilon() * high);
  while (high > 2 * low) {
    const double middle = std::sqrt(low * high);
    (isEnough(middle) ? high : low) = middle;
  }
  return high;
}

/** H + shift·I, but for inputs that were always 0. */
void raise(Matrix& h, double shift) {
  const std::size_t n = h.cols();
  for (std::size_t i = 0; i < n; ++i)
    if (std::any_of(h.column(i), h.column(i) + n, [](double value) { return value != 0; })) h(i, i) += shift;
}

/** Row-major X̃ᵀX times 2^-exponent, column-major. */
Matrix crossOf(const double* cross, std::size_t n, int exponent, const JobControl& control) {
  Matrix g(n, n);
  for (std::size_t j = 0; j < n; ++j) {
    control.throwIfCancelled();
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
  }
  return g;
}

}  // namespace

GivenGram givenGram(const double* gram, const double* cross, std::size_t inFeatures, unsigned threads,
                    const JobControl& control) {
  const std::size_t n = inFeatures;
  const double largest = largestOf(gram, n, threads, control);
  GivenGram given;
  given.exponent = farExponent(largest);
  given.data.h = symmetric(gram, n, kSlack * largest, given.exponent, threads, control);
  if (largest > 0)
    given.shift =
        leastShift(given.data.h, kSlack * std::ldexp(largest, -given.exponent), given.exponent, threads, control);
  if (given.shift > 0) raise(given.data.h, given.shift);
  if (cross) given.data.cross = crossOf(cross, n, given.exponent, control);
  return given;
}

Matrix factorOf(const GivenGram& given, unsigned threads, const JobControl& control) {
  /** Pivots of the shift's own making are larger than it, as they are of a difference of inputs. */
  constexpr double kShifts = 16;
  const Matrix& h = given.data.h;
  control.throwIfCancelled();
  Matrix r = linalg::pivotedCholesky(h, std::max(roundingOf(h), kShifts * given.shift), onThreads(threads),
                                     [&] { control.throwIfCancelled(); });
  if (given.exponent != 0)
    for (std::size_t i = 0; i < r.rows() * r.cols(); ++i) r.data()[i] = std::ldexp(r.data()[i], given.exponent / 2);
  return r;
}

}  // namespace vertexq
