// LAPACK's factorisations panel by panel: the bits of its own drivers, and polls that stop them.
#include "linalg/lapack_panels.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <numeric>

#include "linalg/blas.h"
#include "linalg/openblas.h"
#include "test_data.h"

using namespace vertexq;
using namespace vertexq::linalg;
using namespace vertexq::testing;

namespace {

lapack_int size(std::size_t n) { return static_cast<lapack_int>(n); }
void never() {}

bool same(const double* a, const double* b, std::size_t count) {
  return count == 0 || std::memcmp(a, b, count * sizeof(double)) == 0;  // no memory of nothing is null
}
bool same(const Matrix& a, const Matrix& b) {
  return a.rows() == b.rows() && a.cols() == b.cols() && same(a.data(), b.data(), a.rows() * a.cols());
}
bool same(const std::vector<double>& a, const std::vector<double>& b) {
  return a.size() == b.size() && same(a.data(), b.data(), a.size());
}

Matrix symmetric(std::mt19937_64& random, std::size_t n) {
  Matrix a = gaussian(random, n, n);
  for (std::size_t j = 0; j < n; ++j)
    for (std::size_t i = 0; i < j; ++i) a(i, j) = a(j, i);
  return a;
}

const std::size_t kSizes[] = {1, 2, 5, 25, 26, 31, 32, 33, 47, 64, 65, 70, 100, 129, 160, 161, 300, 531};

/** Of both triangles: T, its eigenvectors, and those of A as dsyevd has them. */
void eigenvectors() {
  std::mt19937_64 random(1);
  for (const std::size_t n : kSizes)
    for (const char uplo : {'L', 'U'}) {
      const Matrix a = symmetric(random, n);
      Matrix expected = a, found = a;
      std::vector<double> d(n), e(n - 1), tau(n - 1);
      CHECK(LAPACKE_dsytrd(LAPACK_COL_MAJOR, uplo, size(n), expected.data(), size(n), d.data(), e.data(), tau.data()) ==
            0);
      Tridiagonal t = tridiagonalise(uplo, found, never);
      CHECK(same(found, expected));
      CHECK(same(t.diagonal, d));
      CHECK(same(t.off, e));
      CHECK(same(t.scalars, tau));
      Matrix vectors, lapack(n, n);
      std::vector<double> values = t.diagonal, off = t.off;
      CHECK(tridiagonalVectors(values, off, vectors, never) == 0);
      CHECK(LAPACKE_dstedc(LAPACK_COL_MAJOR, 'I', size(n), d.data(), e.data(), lapack.data(), size(n)) == 0);
      CHECK(same(values, d));
      CHECK(same(vectors, lapack));
      if (uplo == 'L') continue;
      Matrix whole = a;
      CHECK(LAPACKE_dsyevd(LAPACK_COL_MAJOR, 'V', uplo, size(n), whole.data(), size(n), d.data()) == 0);
      applyUpperReflectors(found, t, vectors, never);
      CHECK(same(values, d));
      CHECK(same(vectors, whole));
    }
}

/** T of several blocks, of zeros, of clusters, and near both ends of float64's range. */
void specialTridiagonals() {
  std::mt19937_64 random(2);
  for (const std::size_t n : {40u, 200u})
    for (int kind = 0; kind < 6; ++kind) {
      std::vector<double> d = normals(random, n), e = normals(random, n - 1);
      for (std::size_t i = 0; i + 1 < n; ++i) {
        if (kind == 0 && i % 37 == 30) e[i] = 0;
        if (kind == 1) e[i] = 1e-20;
        if (kind == 2) d[i] = e[i] = 0;
        if (kind == 3) e[i] = i % 3 == 0 ? 1e-9 : 1, d[i] = 1;
        if (kind == 4) d[i] *= 1e200, e[i] *= 1e200;
        if (kind == 5) d[i] *= 1e-200, e[i] *= 1e-200;
      }
      if (kind == 2) d[n - 1] = 0;
      std::vector<double> values = d, off = e;
      Matrix vectors, lapack(n, n);
      CHECK(tridiagonalVectors(values, off, vectors, never) == 0);
      CHECK(LAPACKE_dstedc(LAPACK_COL_MAJOR, 'I', size(n), d.data(), e.data(), lapack.data(), size(n)) == 0);
      CHECK(same(values, d));
      CHECK(same(vectors, lapack));
    }
}

void pivotedFactors() {
  std::mt19937_64 random(3);
  for (const std::size_t m : kSizes)
    for (const std::size_t n : {std::size_t{1}, m, m / 2 + 1, 2 * m}) {
      Matrix expected = gaussian(random, m, n);
      // Of lower rank, too.
      for (std::size_t j = 3; j < n; j += 2)
        for (std::size_t i = 0; i < m; ++i) expected(i, j) = expected(i, j / 2) - expected(i, 0);
      Matrix found = expected;
      std::vector<lapack_int> pivots(n);
      std::vector<double> tau(std::min(m, n));
      CHECK(LAPACKE_dgeqp3(LAPACK_COL_MAJOR, size(m), size(n), expected.data(), size(m), pivots.data(), tau.data()) ==
            0);
      const PivotedQr qr = pivotedQr(found, never);
      CHECK(same(found, expected));
      CHECK(same(qr.scalars, tau));
      for (std::size_t j = 0; j < n; ++j) CHECK(qr.pivots[j] == pivots[j] - 1);
    }
}

void foldings() {
  std::mt19937_64 random(4);
  for (const std::size_t n : kSizes)
    for (const std::size_t m : {std::size_t{1}, n, 2 * n + 3}) {
      Matrix expected = gaussian(random, n, n), expectedRows = gaussian(random, m, n);
      Matrix found = expected, rows = expectedRows;
      const std::size_t block = std::min<std::size_t>(32, n);
      std::vector<double> reflectors(block * n), work(block * n);
      CHECK(LAPACKE_dtpqrt_work(LAPACK_COL_MAJOR, size(m), size(n), 0, size(block), expected.data(), size(n),
                                expectedRows.data(), size(m), reflectors.data(), size(block), work.data()) == 0);
      foldIntoTriangle(found, rows, 32, never);
      CHECK(same(found, expected));
      CHECK(same(rows, expectedRows));
    }
}

struct Stopped {};

/** A poll a panel of 32 columns at least, each of which can stop it. */
template <typename Work>
void polled(std::size_t least, const Work& work) {
  std::size_t count = 0;
  work([&] { ++count; });
  CHECK(count >= least);
  for (const std::size_t last : {std::size_t{1}, count / 2, count}) {
    std::size_t calls = 0;
    const auto stopped = [&] {
      work([&] {
        if (++calls == last) throw Stopped();
      });
    };
    CHECK_THROWS_AS(stopped(), Stopped);
    CHECK(calls == last);
  }
}

void polls() {
  std::mt19937_64 random(5);
  const std::size_t n = 640;
  const Matrix a = symmetric(random, n);
  for (const char uplo : {'L', 'U'})
    polled(n / 32, [&](const Poll& poll) {
      Matrix copy = a;
      tridiagonalise(uplo, copy, poll);
    });
  Matrix reflectors = a;
  const Tridiagonal t = tridiagonalise('U', reflectors, never);
  // Every merge: the last takes three quarters of the time.
  polled(n / 32, [&](const Poll& poll) {
    std::vector<double> d = t.diagonal, e = t.off;
    Matrix vectors;
    tridiagonalVectors(d, e, vectors, poll);
  });
  polled(2, [&](const Poll& poll) {
    Matrix v = a;
    applyUpperReflectors(reflectors, t, v, poll);
  });
  polled((n - 128) / 32, [&](const Poll& poll) {
    Matrix copy = a;
    pivotedQr(copy, poll);
  });
  polled(n / 32, [&](const Poll& poll) {
    Matrix triangle = a, rows = a;
    foldIntoTriangle(triangle, rows, 32, poll);
  });
}

}  // namespace

TEST_CASE("eigenvectors") { eigenvectors(); }
TEST_CASE("special tridiagonals") { specialTridiagonals(); }
TEST_CASE("pivoted factors") { pivotedFactors(); }
TEST_CASE("foldings") { foldings(); }
TEST_CASE("polls") { polls(); }
