// Cholesky factorisation in strips: L Lᵀ is the matrix.
#include "linalg/strip_cholesky.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <vector>

#include "error.h"
#include "linalg/blas.h"
#include "parallel/job_control.h"
#include "parallel/thread_pool.h"
#include "test_data.h"

using namespace vertexq;
using namespace vertexq::testing;

namespace {

constexpr double kAbove = 7;  // what stands in the upper triangle

template <typename Real>
struct Lower {
  Lower(std::size_t order, std::size_t distance) : n(order), ld(distance), entries(distance * order, Real(kAbove)) {}
  Real& operator()(std::size_t i, std::size_t j) { return entries[i + j * ld]; }
  std::size_t n, ld;
  std::vector<Real> entries;
};

/** X Xᵀ, its columns scaled from 1 down to `least`. */
template <typename Real>
Lower<Real> gramOf(std::mt19937_64& random, std::size_t n, std::size_t ld, double least) {
  const Matrix x = gaussian(random, n, 2 * n);
  Lower<Real> a(n, ld);
  const auto scale = [&](std::size_t i) {
    return std::pow(least, static_cast<double>(i) / static_cast<double>(std::max<std::size_t>(1, n - 1)));
  };
  for (std::size_t j = 0; j < n; ++j)
    for (std::size_t i = j; i < n; ++i) {
      double sum = 0;
      for (std::size_t k = 0; k < x.cols(); ++k) sum += x(i, k) * x(j, k);
      a(i, j) = static_cast<Real>(sum * scale(i) * scale(j));
    }
  return a;
}

template <typename Real>
void testFactor(std::mt19937_64& random, std::size_t n, double least) {
  const Lower<Real> a = gramOf<Real>(random, n, n + random() % 20, least);
  Lower<Real> l = a;
  linalg::StripCholesky<Real> cholesky(n + random() % 3);
  CHECK(cholesky.factor(n, l.entries.data(), l.ld));
  double worst = 0;
  for (std::size_t j = 0; j < n; ++j)
    for (std::size_t i = 0; i < n; ++i) {
      if (i < j) {
        CHECK(l(i, j) == Real(kAbove));
        continue;
      }
      double sum = 0;
      for (std::size_t k = 0; k <= j; ++k) sum += static_cast<double>(l(i, k)) * static_cast<double>(l(j, k));
      const double diagonal =
          std::sqrt(static_cast<double>(a.entries[i + i * a.ld]) * static_cast<double>(a.entries[j + j * a.ld]));
      worst = std::max(worst, std::abs(sum - static_cast<double>(a.entries[i + j * a.ld])) / diagonal);
    }
  // Higham, Accuracy and Stability of Numerical Algorithms, theorem 10.3: at most (n + 1)ε, however ill-conditioned.
  CHECK_LE(worst, static_cast<double>(n + 1) * static_cast<double>(std::numeric_limits<Real>::epsilon()));
}

template <typename Real>
void testAll() {
  std::mt19937_64 random(1);
  for (const std::size_t n : {1, 2, 7, 8, 9, 31, 32, 33, 63, 64, 65, 100, 128, 129, 200, 300})
    for (const double least : {1.0, 1e-3, 1e-8}) testFactor<Real>(random, n, least);

  linalg::StripCholesky<Real> cholesky(100);
  CHECK(cholesky.factor(0, nullptr, 1));
  // One object, matrices of different sizes: nothing of the last one is left.
  Lower<Real> first = gramOf<Real>(random, 90, 90, 1), second = gramOf<Real>(random, 40, 40, 1), fresh = second;
  CHECK(cholesky.factor(90, first.entries.data(), 90));
  CHECK(cholesky.factor(40, second.entries.data(), 40));
  CHECK(linalg::StripCholesky<Real>(40).factor(40, fresh.entries.data(), 40));
  CHECK(second.entries == fresh.entries);

  for (const Real bad : {Real(0), Real(-1), std::numeric_limits<Real>::quiet_NaN()})
    for (const std::size_t place : {0, 5, 63, 64, 99}) {
      Lower<Real> a = gramOf<Real>(random, 100, 100, 1);
      a(place, place) = bad;
      CHECK(!cholesky.factor(100, a.entries.data(), 100));
    }
}

/** On threads: the bytes of one, and nothing lost and nobody left waiting where it ends early. */
template <typename Real>
void testThreads() {
  std::mt19937_64 random(2);
  for (const std::size_t n : {40, 200, 700}) {
    const Lower<Real> a = gramOf<Real>(random, n, n, 1e-2);
    Lower<Real> expected = a;
    linalg::StripCholesky<Real> cholesky(n);
    CHECK(cholesky.factor(n, expected.entries.data(), n));
    for (const unsigned threads : {2u, 5u}) {
      const linalg::ForEach onThreads = [&](std::size_t count, const std::function<void(std::size_t)>& task) {
        ThreadPool::shared().parallelFor(count, threads, [&](std::size_t index, unsigned) { task(index); });
      };
      Lower<Real> l = a;
      CHECK(cholesky.factor(n, l.entries.data(), n, onThreads, [] {}));
      CHECK(l.entries == expected.entries);

      for (int when = 0; when < 12; when += 3) {
        std::atomic<int> calls{0};
        Lower<Real> untouched = a;
        CHECK_THROWS_AS(
            [&] {
              cholesky.factor(n, untouched.entries.data(), n, onThreads, [&] {
                if (calls++ == std::min<int>(when, static_cast<int>(n / 40))) throw Cancelled();
              });
            }(),
            Cancelled);
        CHECK(untouched.entries == a.entries);
      }
      for (const std::size_t place : {std::size_t{0}, n / 2, n - 1}) {
        Lower<Real> indefinite = a;
        indefinite(place, place) = -1;
        const std::vector<Real> before = indefinite.entries;
        CHECK(!cholesky.factor(n, indefinite.entries.data(), n, onThreads, [] {}));
        CHECK(indefinite.entries == before);
      }
    }
  }
}

}  // namespace

TEST_CASE("threads: float") { testThreads<float>(); }
TEST_CASE("threads: double") { testThreads<double>(); }
TEST_CASE("factors: float") { testAll<float>(); }
TEST_CASE("factors: double") { testAll<double>(); }
