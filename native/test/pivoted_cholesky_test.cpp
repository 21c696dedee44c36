// Cholesky factorisation with pivoting: of any rank, in order of falling pivots, on any number of threads, stopped at any poll.
#include "linalg/pivoted_cholesky.h"

#include <doctest/doctest.h>

#include <cmath>

#include "error.h"
#include "linalg/blas.h"
#include "linalg/lapack_panels.h"
#include "linalg/real_blas.h"
#include "parallel/thread_pool.h"
#include "test_data.h"

using namespace vertexq;
using namespace vertexq::linalg;
using namespace vertexq::testing;

namespace {

ForEach onThreads(unsigned threads) {
  return [threads](std::size_t count, const std::function<void(std::size_t)>& task) {
    ThreadPool::shared().parallelFor(count, threads, [&](std::size_t i, unsigned) { task(i); });
  };
}

/** XᵀX, with NaN above the diagonal, where nobody is to look. */
Matrix lowerGram(const Matrix& x) {
  const std::size_t n = x.cols();
  Matrix h(n, n);
  syrk(CblasLower, kTransposed, n, x.rows(), 1.0, x.data(), x.rows(), 0.0, h.data(), n);
  for (std::size_t j = 0; j < n; ++j)
    for (std::size_t i = 0; i < j; ++i) h(i, j) = std::nan("");
  return h;
}

void factors() {
  std::mt19937_64 random(1);
  for (const std::size_t n : {1u, 2u, 63u, 64u, 65u, 200u, 420u})
    for (const std::size_t m : {std::size_t{1}, n / 2 + 1, n + 5}) {
      const Matrix x = gaussian(random, m, n), h = lowerGram(x);
      double largest = 0;
      for (std::size_t i = 0; i < n; ++i) largest = std::max(largest, h(i, i));
      const double least = 1e-11 * largest;
      const Matrix r = pivotedCholesky(h, least, onThreads(1), [] {});
      CHECK(r.rows() == std::min(m, n));
      CHECK(r.cols() == n);
      Matrix product(n, n);
      gemm(kTransposed, kPlain, n, n, r.rows(), 1.0, r.data(), r.rows(), r.data(), r.rows(), 0.0, product.data(), n);
      double off = 0;
      for (std::size_t j = 0; j < n; ++j)
        for (std::size_t i = j; i < n; ++i) off = std::max(off, std::abs(product(i, j) - h(i, j)));
      CHECK_LE(off, 1e-11 * largest);
      // The pivots of QR with column pivoting.
      Matrix qr = x;
      const std::vector<int> pivots = pivotedQr(qr, [] {}).pivots;
      for (std::size_t k = 0; k < std::min<std::size_t>(5, r.rows()); ++k) {
        const auto column = static_cast<std::size_t>(pivots[k]);
        CHECK_LE(std::abs(r(k, column) - std::abs(qr(k, k))), 1e-9 * std::sqrt(largest));
        for (std::size_t below = k + 1; below < r.rows(); ++below) CHECK(r(below, column) == 0);
      }
      const Matrix threaded = pivotedCholesky(h, least, onThreads(3), [] {});
      CHECK(std::equal(r.data(), r.data() + r.rows() * n, threaded.data()));
    }
  CHECK(pivotedCholesky(Matrix(0, 0), 0, onThreads(1), [] {}).rows() == 0);
  CHECK(pivotedCholesky(Matrix(9, 9), 0, onThreads(1), [] {}).rows() == 0);
}

void stopped() {
  std::mt19937_64 random(2);
  const std::size_t n = 640;
  const Matrix h = lowerGram(gaussian(random, n, n));
  std::size_t polls = 0;
  const auto run = [&](std::size_t last) {
    polls = 0;
    pivotedCholesky(h, 0, onThreads(1), [&] {
      if (++polls == last) throw Cancelled();
    });
  };
  run(0);
  const std::size_t all = polls;
  CHECK(all >= n / 64);
  for (const std::size_t last : {std::size_t{1}, all / 2, all}) {
    CHECK_THROWS_AS(run(last), Cancelled);
    CHECK(polls == last);
  }
}

}  // namespace

TEST_CASE("factors") { factors(); }
TEST_CASE("stopped") { stopped(); }
