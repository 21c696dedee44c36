// The walk's inner steps against loops that read like their definitions.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "linalg/aligned_buffer.h"
#include "walk/kernels.h"

using namespace vertexq;

namespace {

template <typename Real>
struct Basics {
  Basics(std::mt19937_64& random, std::size_t rank) : n(linalg::paddedRows<Real>(rank)), z(n), offset(n), half(n) {
    std::uniform_real_distribution<Real> unit(0, 1);
    for (std::size_t k = 0; k < rank; ++k) {
      // Every kind of entry: off the path, below the tolerance, tied, huge, on a bound, beyond one.
      const Real sizes[] = {0, WalkTolerances<Real>::pivot / 2, 1, Real(1e4), unit(random), unit(random)};
      z[k] = sizes[random() % 6] * (random() % 2 ? 1 : -1);
      half[k] = random() % 8 ? Real(0.5) : 0;
      const Real places[] = {-half[k], half[k], Real(half[k] + 1e-5), 0, (2 * unit(random) - 1) * half[k]};
      offset[k] = places[random() % 5];
    }
  }

  RatioArrays<Real> arrays() const {
    return {n / linalg::kStripRows<Real>, {z.data(), linalg::kStripRows<Real>}, offset.data(), half.data()};
  }
  Real room(std::size_t k, Real sign) const { return z[k] * sign > 0 ? half[k] + offset[k] : half[k] - offset[k]; }

  std::size_t n;
  linalg::AlignedBuffer<Real> z, offset, half;
};

/** With `more` room in each entry than the feasibility tolerance gives. */
template <typename Real>
double longestStep(const Basics<Real>& b, Real sign, double more) {
  double least = std::numeric_limits<double>::infinity();
  for (std::size_t k = 0; k < b.n; ++k) {
    if (!(std::abs(b.z[k]) > WalkTolerances<Real>::pivot)) continue;
    const double over = 2 * b.half[k] * WalkTolerances<Real>::feasibility;
    least = std::min(least, std::max(b.room(k, sign) + over + more, 0.0) / std::abs(b.z[k]));
  }
  return least;
}

template <typename Real>
Pivot<Real> largestPivot(const Basics<Real>& b, Real sign, Real limit) {
  Pivot<Real> pivot{0, -1};
  for (std::size_t k = 0; k < b.n; ++k) {
    const Real size = std::abs(b.z[k]);
    const Real within = size * (limit * (1 + 4 * std::numeric_limits<Real>::epsilon()));
    if (size > WalkTolerances<Real>::pivot && b.room(k, sign) <= within && size > pivot.size)
      pivot = {size, static_cast<std::ptrdiff_t>(k)};
  }
  return pivot;
}

template <typename Real>
void testRatios() {
  std::mt19937_64 random(1);
  const WalkKernels<Real>& kernels = walkKernels<Real>();
  for (int trial = 0; trial < 2000; ++trial) {
    const Basics<Real> basics(random, random() % 200);
    const StepLimits<Real> limits = kernels.limits(basics.arrays());
    for (const Real sign : {Real(1), Real(-1)}) {
      const Real limit = sign > 0 ? limits.up : limits.down;
      // A box of width 1 and the tolerance are added up in Real.
      const double epsilon = static_cast<double>(std::numeric_limits<Real>::epsilon());
      CHECK(limit >= longestStep(basics, sign, -epsilon) * (1 - 4 * epsilon));
      CHECK(limit <= longestStep(basics, sign, epsilon) * (1 + 4 * epsilon));
      if (!std::isfinite(limit)) continue;
      const Pivot<Real> got = kernels.choose(basics.arrays(), sign, limit), want = largestPivot(basics, sign, limit);
      CHECK((got.place == want.place && got.size == want.size));
      CHECK(got.place >= 0);
    }
  }
}

/** L⁻¹ from the rows of the identity, as many as a panel has columns: L times it is the identity. */
template <typename Real>
void testSubstitution() {
  constexpr std::size_t width = kPanelColumns<Real>;
  std::mt19937_64 random(2);
  std::normal_distribution<Real> normal;
  for (const std::size_t depth : {1, 2, 3, 7, 8, 31, 64, 70})
    for (const std::size_t from : {0, 1, 6, 8, 35}) {
      linalg::StripMatrix<Real> matrix(from + depth, from + depth);
      const auto l = [&](std::size_t e, std::size_t f) -> Real& { return matrix(from + e, from + f); };
      linalg::AlignedBuffer<Real> inverses(depth), a(depth * width);
      for (std::size_t e = 0; e < depth; ++e) {
        for (std::size_t f = 0; f < e; ++f) l(e, f) = normal(random) / static_cast<Real>(depth);
        l(e, e) = (random() % 2 ? 1 : -1) * (1 + std::abs(normal(random)));
        inverses[e] = 1 / l(e, e);
      }
      const std::size_t columns = std::min(depth, width);
      for (std::size_t c = 0; c < columns; ++c) a[c * width + c] = 1;
      walkKernels<Real>().substitute(depth, from, matrix.columns(from), inverses.data(), a.data());
      for (std::size_t e = 0; e < depth; ++e)
        for (std::size_t c = 0; c < width; ++c) {
          double sum = c < columns && e == c ? -1 : 0;
          for (std::size_t f = 0; f <= e; ++f)
            sum += static_cast<double>(l(e, f)) * static_cast<double>(a[f * width + c]);
          CHECK_LE(std::abs(sum), 64 * static_cast<double>(std::numeric_limits<Real>::epsilon()));
        }
    }
}

template <typename Real>
void testAll() {
  testRatios<Real>();
  testSubstitution<Real>();
}

}  // namespace

TEST_CASE("kernels: float") { testAll<float>(); }
TEST_CASE("kernels: double") { testAll<double>(); }
