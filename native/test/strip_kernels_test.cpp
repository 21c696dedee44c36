// Products in strips against sums that read like their definitions.
#include "linalg/strip_kernels.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <random>

#include "linalg/aligned_buffer.h"
#include "linalg/matrix.h"

using namespace vertexq;
using namespace vertexq::linalg;

namespace {

/** V - Y·A in strips, many columns and one, against sums in float64. */
template <typename Real>
void testUpdates() {
  std::mt19937_64 random(3);
  std::normal_distribution<Real> normal;
  const StripKernels<Real>& kernels = stripKernels<Real>();
  constexpr std::size_t rows = kStripRows<Real>;
  for (const std::size_t columns : {1, 2, 3, 8, 16, 19})
    for (const std::size_t depth : {0, 1, 2, 9, 40}) {
      const std::size_t height = 3 * rows;
      StripMatrix<Real> y(height, depth), v(height, columns);
      AlignedBuffer<Real> a(depth * columns), z(height);
      Matrix want(height, columns);
      for (std::size_t i = 0; i < height; ++i) {
        for (std::size_t e = 0; e < depth; ++e) y(i, e) = normal(random);
        for (std::size_t c = 0; c < columns; ++c) v(i, c) = normal(random);
      }
      for (std::size_t k = 0; k < depth * columns; ++k) a[k] = normal(random);
      for (std::size_t i = 0; i < height; ++i)
        for (std::size_t c = 0; c < columns; ++c) {
          want(i, c) = v(i, c);
          for (std::size_t e = 0; e < depth; ++e) want(i, c) -= static_cast<double>(y(i, e)) * a[e * columns + c];
        }
      const Strips<const Real> left = y.columns(0);
      const double tolerance = 200 * static_cast<double>(std::numeric_limits<Real>::epsilon());
      if (columns == 1) {
        kernels.updateOne(3, depth, left, a.data(), v.columns(0), {z.data(), rows});
        for (std::size_t i = 0; i < height; ++i) CHECK_LE(std::abs(z[i] - want(i, 0)), tolerance);
      }
      kernels.update(3, depth, columns, left, a.data(), columns, v.columns(0));
      for (std::size_t i = 0; i < height; ++i)
        for (std::size_t c = 0; c < columns; ++c) CHECK_LE(std::abs(v(i, c) - want(i, c)), tolerance);
    }
}

}  // namespace

TEST_CASE("updates: float") { testUpdates<float>(); }
TEST_CASE("updates: double") { testUpdates<double>(); }
