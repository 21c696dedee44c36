#include "scales/rounding_system.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "decode/damping.h"
#include "linalg/real_blas.h"

namespace vertexq {

namespace {

FloatMatrix narrowed(const Matrix& from) {
  FloatMatrix to(from.rows(), from.cols());
  std::transform(from.data(), from.data() + from.rows() * from.cols(), to.data(),
                 [](double v) { return static_cast<float>(v); });
  return to;
}

/** D from H_jj = D_j + Σ_{l>j} M_jl² D_l. In float64, where M is accurate enough for the difference. */
std::vector<float> pivotsOf(const Matrix& h, const Coefficients<double>& coefficients) {
  const std::size_t n = h.cols();
  const double shift = coefficients.damping * dampingUnit(h);
  std::vector<double> left(n);
  for (std::size_t j = 0; j < n; ++j) left[j] = h(j, j) + shift;
  std::vector<float> pivots(n);
  for (std::size_t l = n; l-- > 0;) {
    const double pivot = std::max(left[l], std::numeric_limits<double>::epsilon() * h(l, l));
    pivots[l] = static_cast<float>(pivot);
    const double* column = coefficients.m.column(l);
    for (std::size_t j = 0; j < l; ++j) left[j] -= column[j] * column[j] * pivot;
  }
  return pivots;
}

}  // namespace

RoundingSystem::RoundingSystem(const Matrix& h, std::size_t groupSize, unsigned threads, const JobControl& control)
    : groupSize_(groupSize) {
  const std::size_t n = h.cols();
  Matrix scaled = damped(h, 0);  // for the dead inputs
  scale_ = unitScale(scaled);
  for (std::size_t i = 0; i < n * n; ++i) scaled.data()[i] *= scale_;
  h_ = narrowed(scaled);
  importance_.resize(n);
  for (std::size_t i = 0; i < n; ++i) importance_[i] = scaled(i, i);
  groupInputs(scaled);

  Matrix permuted(n, n);
  const std::vector<int> order = grouped_.order;
  for (std::size_t j = 0; j < n; ++j) {
    const double* from = scaled.column(static_cast<std::size_t>(order[j]));
    for (std::size_t i = 0; i < n; ++i) permuted(i, j) = from[order[i]];
  }
  {
    // In float64, once: every later decision is judged by these.
    const Coefficients<double> wide = nearestPlaneCoefficients(permuted, 0, DecodeOrder::Natural, threads, control);
    pivots_ = pivotsOf(permuted, wide);
    grouped_.m = narrowed(wide.m);
    grouped_.damping = wide.damping;
    grouped_.logDeterminant = wide.logDeterminant;
    grouped_.doublePrecision = true;
  }
  for (Group& g : groups_) {
    g.within.order.resize(g.size);
    std::iota(g.within.order.begin(), g.within.order.end(), 0);
    g.within.m = FloatMatrix(g.size, g.size);
    for (std::size_t j = 0; j < g.size; ++j)
      std::copy_n(grouped_.m.column(g.first + j) + g.first, g.size, g.within.m.column(j));
  }
  if (groups_.size() > 1) activation_ = nearestPlaneCoefficients(h_, 0, DecodeOrder::Activation, threads, control);
  natural_ = nearestPlaneCoefficients(h_, 0, DecodeOrder::Natural, threads, control);
}

void RoundingSystem::groupInputs(const Matrix& h) {
  const std::size_t n = h.cols();
  const std::size_t count = (n + groupSize_ - 1) / groupSize_;
  std::vector<double> mean(count);
  for (std::size_t i = 0; i < n; ++i) mean[i / groupSize_] += h(i, i);
  for (std::size_t g = 0; g < count; ++g) mean[g] /= static_cast<double>(std::min(groupSize_, n - g * groupSize_));
  std::vector<std::size_t> ranked(count);
  std::iota(ranked.begin(), ranked.end(), 0);
  std::stable_sort(ranked.begin(), ranked.end(), [&](std::size_t a, std::size_t b) { return mean[a] > mean[b]; });
  std::vector<int>& order = grouped_.order;
  for (const std::size_t g : ranked) {
    const std::size_t first = order.size();
    const std::size_t size = std::min(groupSize_, n - g * groupSize_);
    for (std::size_t i = 0; i < size; ++i) order.push_back(static_cast<int>(g * groupSize_ + i));
    const auto diagonal = [&](int i) { return h(static_cast<std::size_t>(i), static_cast<std::size_t>(i)); };
    std::stable_sort(order.begin() + static_cast<std::ptrdiff_t>(first), order.end(),
                     [&](int a, int b) { return diagonal(a) > diagonal(b); });
    groups_.push_back({g, first, size, {}});
  }
}

void RoundingSystem::addErrors(const float* m, std::size_t ld, std::size_t first, std::size_t size, const float* errors,
                               const float* base, std::size_t neurons, float* workspace, double* sums) const {
  for (std::size_t row = 0; row < size; row += kResidualRows) {
    const std::size_t rows = std::min(kResidualRows, size - row);
    for (std::size_t l = 0; l < neurons; ++l)
      for (std::size_t i = 0; i < rows; ++i) {
        const std::size_t at = row + i + l * size;
        workspace[i + l * rows] = errors[at] + (base ? base[at] : 0.0F);
      }
    // M is zero on and below its diagonal: rows past the block add nothing.
    linalg::gemm(linalg::kTransposed, linalg::kPlain, rows, neurons, row + rows, 1.0F, m + row * ld, ld, errors, size,
                 1.0F, workspace, rows);
    for (std::size_t l = 0; l < neurons; ++l) {
      double sum = 0;
      for (std::size_t i = 0; i < rows; ++i) {
        const double r = workspace[i + l * rows];
        sum += static_cast<double>(pivots_[first + row + i]) * r * r;
      }
      sums[l] += sum;
    }
  }
}

}  // namespace vertexq
