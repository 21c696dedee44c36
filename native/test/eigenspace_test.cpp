// Leading eigen-directions against Jacobi's method and against what defines them.
#include "calibration/eigenspace.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "error.h"
#include "linalg/blas.h"
#include "linalg/real_blas.h"
#include "test_data.h"

using namespace vertexq;
using namespace vertexq::testing;

namespace {

Matrix product(CBLAS_TRANSPOSE opA, const Matrix& a, CBLAS_TRANSPOSE opB, const Matrix& b) {
  const bool plainA = opA == linalg::kPlain, plainB = opB == linalg::kPlain;
  const std::size_t inner = plainA ? a.cols() : a.rows();
  Matrix c(plainA ? a.rows() : a.cols(), plainB ? b.cols() : b.rows());
  if (a.rows() * a.cols() * b.rows() * b.cols() > 0)
    linalg::gemm(opA, opB, c.rows(), c.cols(), inner, 1.0, a.data(), a.rows(), b.data(), b.rows(), 0.0, c.data(),
                 c.rows());
  return c;
}

Matrix gramOf(const Matrix& x) {
  Matrix h = product(linalg::kTransposed, x, linalg::kPlain, x);
  for (std::size_t j = 0; j < h.cols(); ++j)
    for (std::size_t i = 0; i < j; ++i) h(j, i) = h(i, j);
  return h;
}

/** Eigenvalues in falling order by cyclic Jacobi rotations. */
std::vector<double> jacobi(Matrix a) {
  const std::size_t n = a.rows();
  for (int sweep = 0; sweep < 30; ++sweep)
    for (std::size_t p = 0; p < n; ++p)
      for (std::size_t q = p + 1; q < n; ++q) {
        if (a(p, q) == 0) continue;
        const double theta = (a(q, q) - a(p, p)) / (2 * a(p, q));
        const double t = (theta >= 0 ? 1 : -1) / (std::abs(theta) + std::hypot(theta, 1));
        const double c = 1 / std::hypot(t, 1), s = t * c;
        for (std::size_t k = 0; k < n; ++k) {
          const double kp = a(k, p), kq = a(k, q);
          a(k, p) = c * kp - s * kq;
          a(k, q) = s * kp + c * kq;
        }
        for (std::size_t k = 0; k < n; ++k) {
          const double pk = a(p, k), qk = a(q, k);
          a(p, k) = c * pk - s * qk;
          a(q, k) = s * pk + c * qk;
        }
      }
  std::vector<double> values(n);
  for (std::size_t i = 0; i < n; ++i) values[i] = a(i, i);
  std::sort(values.rbegin(), values.rend());
  return values;
}

/** Rows of A are eigenvectors (AH = ΛA), orthogonal and of squared length λ (AAᵀ = Λ): together that defines A. */
void checkPart(const Matrix& h, const Eigenspace& space, std::size_t rank) {
  const Matrix a = space.leadingPart(rank, 2);
  const std::size_t n = h.rows(), r = a.rows();
  CHECK((a.cols() == n && r == std::min(rank, space.rank())));
  if (r == 0) return;
  const std::vector<double>& values = space.values();
  const double top = values[0], tolerance = 1e-14 * (20 + static_cast<double>(n));
  const Matrix squared = product(linalg::kPlain, a, linalg::kTransposed, a),
               ah = product(linalg::kPlain, a, linalg::kPlain, h);
  for (std::size_t k = 0; k < r; ++k) {
    for (std::size_t l = 0; l < r; ++l)
      CHECK_LE(std::abs(squared(k, l) - (k == l ? values[k] : 0)),
               tolerance * std::sqrt(values[k]) * std::sqrt(values[l]));
    for (std::size_t j = 0; j < n; ++j)
      CHECK_LE(std::abs(ah(k, j) - values[k] * a(k, j)), tolerance * top * std::sqrt(values[k]));
  }
}

void checkAgainstJacobi() {
  std::mt19937_64 random(31);
  for (const std::string& kind : kinds())
    for (const std::size_t n : {1u, 2u, 3u, 17u, 40u}) {
      for (const std::size_t m : {std::size_t{1}, n / 2 + 1, 3 * n}) {
        const Matrix h = gramOf(data(kind, random, m, n));
        const Eigenspace space(h);
        const std::vector<double> expected = jacobi(h);
        CHECK(space.values().size() == n);
        CHECK(std::is_sorted(space.values().rbegin(), space.values().rend()));
        for (std::size_t k = 0; k < n; ++k) {
          CHECK(space.values()[k] >= 0);
          CHECK_LE(std::abs(space.values()[k] - expected[k]), 1e-14 * static_cast<double>(n) * expected[0] * 4);
        }
        CHECK(space.rank() <= std::min(m, n));
        if (kind == "gaussian") CHECK(space.rank() == std::min(m, n));
        if (kind == "zero") CHECK(space.rank() == 0);
        for (const std::size_t rank : {std::size_t{0}, std::size_t{1}, n / 2, n, 2 * n}) checkPart(h, space, rank);
      }
    }
}

/** Sizes at which every driver has its turn, and tightly clustered eigenvalues. */
void drivers() {
  std::mt19937_64 random(32);
  for (const std::size_t n : {511u, 521u}) {
    Matrix clustered(n, n);
    for (std::size_t i = 0; i < n; ++i) clustered(i, i) = i % 7 == 0 ? 2 : 1;
    const std::vector<double> u = normals(random, n);
    for (std::size_t j = 0; j < n; ++j)
      for (std::size_t i = 0; i < n; ++i) clustered(i, j) += 1e-13 * u[i] * u[j];
    for (const Matrix& h : {gramOf(gaussian(random, 2 * n, n)), gramOf(data("low rank", random, n, n)),
                            gramOf(data("graded", random, n, n)), clustered}) {
      const Eigenspace space(h);
      for (const std::size_t rank : {std::size_t{1}, n / 16, n / 8, n / 8 + 1, n / 2, n}) checkPart(h, space, rank);
      const Matrix once = space.leadingPart(n / 2, 1);
      for (const unsigned threads : {2u, 7u}) {
        const Matrix again = Eigenspace(h).leadingPart(n / 2, threads);
        CHECK(std::equal(once.data(), once.data() + once.rows() * n, again.data()));
      }
    }
  }
}

void scales() {
  std::mt19937_64 random(33);
  const Matrix h = gramOf(gaussian(random, 60, 20));
  const Eigenspace plain(h);
  const Matrix part = plain.leadingPart(10);
  for (const int exponent : {-1060, -1000, -601, 2, 601, 1000}) {
    Matrix scaled = h;
    for (std::size_t i = 0; i < 400; ++i) scaled.data()[i] = std::scalbn(scaled.data()[i], exponent);
    const LeadingEigenspace both = leadingEigenspace(scaled, 10);
    CHECK((both.part.rows() == 10 && both.eigenvalues.size() == 20));
    // Subnormal entries have few bits left.
    const double tolerance = exponent < -1010 ? 0.01 : 1e-12;
    for (std::size_t k = 0; k < 10; ++k) {
      CHECK_LE(std::abs(std::scalbn(both.eigenvalues[k], -exponent) - plain.values()[k]),
               tolerance * plain.values()[0]);
      double norm = 0;
      for (std::size_t j = 0; j < 20; ++j) norm += std::pow(both.part(k, j) * std::exp2(-0.5 * exponent), 2);
      CHECK_LE(std::abs(norm - plain.values()[k]), tolerance * plain.values()[0]);
    }
  }
}

bool refused(const Matrix& h, const std::string& part) {
  try {
    leadingEigenspace(h, 1);
  } catch (const Error& error) {
    if (error.code() == "ERR_VERTEXQ_GRAM" && std::string(error.what()).find(part) != std::string::npos) return true;
    std::fprintf(stderr, "%s: %s\n", error.code().c_str(), error.what());
  }
  return false;
}

void hostile() {
  std::mt19937_64 random(34);
  const Matrix h = gramOf(gaussian(random, 30, 10));
  CHECK(refused(Matrix(2, 3), "not square"));
  for (const double bad : {std::nan(""), std::numeric_limits<double>::infinity()}) {
    Matrix broken = h;
    broken(3, 1) = bad;
    CHECK(refused(broken, "NaN or an infinity"));
  }
  Matrix skew = h;
  skew(1, 0) += 1;
  CHECK(refused(skew, "not symmetric: entries (1, 0)"));
  Matrix negative = h;
  for (std::size_t i = 0; i < 100; ++i) negative.data()[i] = -negative.data()[i];
  CHECK(refused(negative, "not positive semidefinite"));
  Matrix indefinite = h;
  indefinite(0, 0) = -1;
  CHECK(refused(indefinite, "not positive semidefinite"));
  Matrix huge(10, 10);
  std::fill_n(huge.data(), 100, std::numeric_limits<double>::max());
  CHECK(refused(huge, "overflow"));
  // Noise of float32 sums is no reason to refuse.
  Matrix noisy = gramOf(data("low rank", random, 30, 10));
  for (std::size_t i = 0; i < 100; ++i) noisy.data()[i] *= 1 + 1e-7 * normals(random, 1)[0];
  CHECK(Eigenspace(noisy).values().back() >= 0);
  const LeadingEigenspace none = leadingEigenspace(Matrix(), 3);
  CHECK((none.part.rows() == 0 && none.eigenvalues.empty()));
}

}  // namespace

TEST_CASE("check against jacobi") { checkAgainstJacobi(); }
TEST_CASE("drivers") { drivers(); }
TEST_CASE("scales") { scales(); }
TEST_CASE("hostile") { hostile(); }
