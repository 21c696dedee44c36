#include "decode/coefficients.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <type_traits>
#include <utility>

#include "decode/cholesky.h"
#include "decode/damping.h"
#include "error.h"
#include "linalg/real_blas.h"
#include "parallel/thread_pool.h"

namespace vertexq {

namespace {

/** Beyond this much relative damping any finite symmetric matrix of our sizes is diagonally dominant. */
constexpr double kMostDamping = 1e10;

/** Columns of a task that only moves memory. */
constexpr std::size_t kColumnsAtOnce = 64;

/** Runs task(j) for every column, on at most `threads` threads. */
template <typename Task>
void forColumns(std::size_t n, unsigned threads, const Task& task) {
  ThreadPool::shared().parallelFor(
      (n + kColumnsAtOnce - 1) / kColumnsAtOnce, threads, [&](std::size_t block, unsigned) {
        const std::size_t first = block * kColumnsAtOnce, end = std::min(n, first + kColumnsAtOnce);
        for (std::size_t j = first; j < end; ++j) task(j);
      });
}

/**
 * The lower triangle of scale·(H + shift·I) with its inputs in order and then back to front: the Cholesky factor of
 * this, read back to front, is the reverse factor U.
 */
template <typename Work, typename Real>
BasicMatrix<Work> flipped(const BasicMatrix<Real>& h, const std::vector<int>& order, double scale, double shift,
                          double deadValue, unsigned threads) {
  const std::size_t n = h.cols();
  const std::vector<std::size_t> reversed(order.rbegin(), order.rend());
  BasicMatrix<Work> a(n, n);
  forColumns(n, threads, [&](std::size_t j) {
    const Real* from = h.column(reversed[j]);
    Work* to = a.column(j);
    for (std::size_t i = j; i < n; ++i) to[i] = static_cast<Work>(from[reversed[i]] * scale);
    const double diagonal = from[reversed[j]];
    to[j] = static_cast<Work>(scale * (diagonal == 0 ? deadValue : diagonal + shift));
  });
  return a;
}

/** U by columns over its diagonal, from the factor of flipped(): that back to front in both directions. */
template <typename Real, typename Work>
BasicMatrix<Real> unflipped(BasicMatrix<Work> factor, unsigned threads) {
  const std::size_t n = factor.cols();
  if constexpr (std::is_same_v<Real, Work>) {
    const auto finish = [&](std::size_t j) {
      Real* column = factor.column(j);
      const Real inverse = 1 / column[j];
      for (std::size_t i = 0; i < j; ++i) column[i] *= inverse;
      std::fill(column + j, column + n, Real(0));
    };
    // In place: two columns change places.
    forColumns((n + 1) / 2, threads, [&](std::size_t j) {
      Real *left = factor.column(j), *right = factor.column(n - 1 - j);
      std::reverse(left, left + n);
      if (left != right) {
        std::reverse(right, right + n);
        std::swap_ranges(left, left + n, right);
        finish(n - 1 - j);
      }
      finish(j);
    });
    return factor;
  } else {
    BasicMatrix<Real> m(n, n);
    forColumns(n, threads, [&](std::size_t j) {
      const Work* from = factor.column(n - 1 - j);
      const Work diagonal = from[n - 1 - j];
      Real* to = m.column(j);
      for (std::size_t i = 0; i < j; ++i) to[i] = static_cast<Real>(from[n - 1 - i] / diagonal);
    });
    return m;
  }
}

template <typename Work, typename Real>
bool factorise(Coefficients<Real>& result, const BasicMatrix<Real>& h, double scale, double unit, unsigned threads,
               const JobControl& control) {
  BasicMatrix<Work> a = flipped<Work>(h, result.order, scale, result.damping * unit, unit, threads);
  if (!choleskyLower(a, threads, control)) return false;
  double sum = 0;
  for (std::size_t i = 0; i < a.cols(); ++i) sum += std::log(static_cast<double>(a(i, i)));
  result.logDeterminant = 2 * sum - static_cast<double>(a.cols()) * std::log(scale);
  result.doublePrecision = std::is_same_v<Work, double>;
  result.m = unflipped<Real>(std::move(a), threads);
  return true;
}

}  // namespace

template <typename Real>
std::vector<int> decodeOrder(const BasicMatrix<Real>& h, DecodeOrder order) {
  std::vector<int> positions(h.cols());
  std::iota(positions.begin(), positions.end(), 0);
  const auto diagonal = [&](int i) { return h(static_cast<std::size_t>(i), static_cast<std::size_t>(i)); };
  if (order == DecodeOrder::Activation)
    std::stable_sort(positions.begin(), positions.end(), [&](int a, int b) { return diagonal(a) > diagonal(b); });
  return positions;
}

template <typename Real>
Coefficients<Real> nearestPlaneCoefficients(const BasicMatrix<Real>& h, double damping, DecodeOrder order,
                                            unsigned threads, const JobControl& control) {
  Coefficients<Real> result;
  const double unit = dampingUnit(h);  // first: it refuses a diagonal that cannot be sorted
  const double scale = unitScale(h);
  result.order = decodeOrder(h, order);
  result.damping = damping;
  if (std::is_same_v<Real, float> && factorise<float>(result, h, scale, unit, threads, control)) return result;
  while (!factorise<double>(result, h, scale, unit, threads, control)) {
    result.damping = std::max(10 * result.damping, kLeastDamping);
    if (!(result.damping < kMostDamping))
      throw Error("ERR_VERTEXQ_NUMERIC", "the Gram matrix has no Cholesky factorisation, whatever its damping");
  }
  return result;
}

template <typename Real>
Coefficients<Real> gpfqCoefficients(const BasicMatrix<Real>& h, DecodeOrder order) {
  dampingUnit(h);
  const std::size_t n = h.cols();
  Coefficients<Real> result;
  result.order = decodeOrder(h, order);
  result.m = BasicMatrix<Real>(n, n);
  for (std::size_t j = 0; j < n; ++j) {
    const auto input = static_cast<std::size_t>(result.order[j]);
    const Real* from = h.column(input);
    Real* to = result.m.column(j);
    if (from[input] == 0) continue;
    // Divided, not multiplied by an inverse: 1/H_jj of a tiny entry overflows where the quotient does not.
    for (std::size_t i = 0; i < j; ++i) to[i] = from[static_cast<std::size_t>(result.order[i])] / from[input];
  }
  return result;
}

template <typename Real>
BasicMatrix<Real> gpfqCentres(const BasicMatrix<Real>& h, const BasicMatrix<Real>& cross,
                              const Coefficients<Real>& coefficients, const Real* weights, std::size_t neurons) {
  const std::size_t n = h.cols();
  // a(k, i) = (cross - h)_ik/h_ii for positions k <= i, in natural indices, so that V = W + AᵀW.
  BasicMatrix<Real> a(n, n);
  for (std::size_t i = 0; i < n; ++i) {
    const auto input = static_cast<std::size_t>(coefficients.order[i]);
    const Real diagonal = h(input, input);
    if (diagonal == 0) continue;
    for (std::size_t k = 0; k <= i; ++k) {
      const auto other = static_cast<std::size_t>(coefficients.order[k]);
      a(other, input) = (cross(input, other) - h(input, other)) / diagonal;
    }
  }
  BasicMatrix<Real> centres(n, neurons);
  std::copy(weights, weights + n * neurons, centres.data());
  if (n > 0 && neurons > 0)
    linalg::gemm(linalg::kTransposed, linalg::kPlain, n, neurons, n, Real(1), a.data(), n, weights, n, Real(1),
                 centres.data(), n);
  return centres;
}

#define VERTEXQ_INSTANTIATE(Real)                                                                               \
  template std::vector<int> decodeOrder(const BasicMatrix<Real>&, DecodeOrder);                                 \
  template Coefficients<Real> nearestPlaneCoefficients(const BasicMatrix<Real>&, double, DecodeOrder, unsigned, \
                                                       const JobControl&);                                      \
  template Coefficients<Real> gpfqCoefficients(const BasicMatrix<Real>&, DecodeOrder);                          \
  template BasicMatrix<Real> gpfqCentres(const BasicMatrix<Real>&, const BasicMatrix<Real>&,                    \
                                         const Coefficients<Real>&, const Real*, std::size_t);
VERTEXQ_INSTANTIATE(float)
VERTEXQ_INSTANTIATE(double)
#undef VERTEXQ_INSTANTIATE

}  // namespace vertexq
