// The coefficients of successive rounding: the reverse Cholesky factor, its order, its damping.
#include <doctest/doctest.h>

#include <limits>
#include <numeric>

#include "decode/cholesky.h"
#include "decode/coefficients.h"
#include "decode/damping.h"
#include "decode_test_data.h"
#include "error.h"
#include "linalg/blas.h"

using namespace vertexq;
using namespace vertexq::testing;

namespace {

const double kInfinity = std::numeric_limits<double>::infinity();

template <typename Real>
double largestDifference(const BasicMatrix<Real>& a, const Matrix& b) {
  double most = 0;
  for (std::size_t i = 0; i < a.rows() * a.cols(); ++i)
    most = std::max(most, std::abs(static_cast<double>(a.data()[i]) - b.data()[i]));
  return most;
}

/** H of few rows, with a ridge that makes up for those it has not. */
Matrix cheapGram(std::mt19937_64& random, std::size_t n) {
  Matrix h = gramOf(gaussian(random, 20, n));
  for (std::size_t i = 0; i < n; ++i) h(i, i) += 10;
  return h;
}

template <typename Real>
void matchReference(const Matrix& h, DecodeOrder kind, const Matrix& expected, double logDeterminant,
                    double tolerance) {
  const auto result = nearestPlaneCoefficients(castTo<Real>(h), 0.01, kind, 1, JobControl());
  CHECK(result.order == decodeOrder(h, kind));
  CHECK(result.damping == 0.01);
  CHECK(result.doublePrecision == (sizeof(Real) == 8));
  CHECK_LE(largestDifference(result.m, expected), tolerance);
  CHECK_LE(std::abs(result.logDeterminant - logDeterminant), tolerance * static_cast<double>(h.cols()));
}

void matchReference() {
  std::mt19937_64 random(1);
  // 1, primes, and more than the blocks of choleskyLower, of columns (two and more) and of rows below them.
  for (const std::size_t n : {1u, 2u, 13u, 64u, 211u, 601u}) {
    const Matrix h = n > 300 ? cheapGram(random, n) : gramOf(gaussian(random, 2 * n, n));
    const Matrix u = reference::reverseCholesky(damped(h, 0.01));
    double logDeterminant = 0;
    for (std::size_t i = 0; i < n; ++i) logDeterminant += 2 * std::log(u(i, i));
    for (const DecodeOrder kind : {DecodeOrder::Natural, DecodeOrder::Activation}) {
      const Matrix m = reference::nearestPlaneCoefficients(damped(h, 0.01), decodeOrder(h, kind));
      matchReference<double>(h, kind, m, logDeterminant, 1e-12);
      matchReference<float>(h, kind, m, logDeterminant, 1e-4);
    }
  }
}

void orders() {
  Matrix h(5, 5);
  const double diagonal[] = {2, 7, 2, 0, 7};
  for (std::size_t i = 0; i < 5; ++i) h(i, i) = diagonal[i];
  CHECK((decodeOrder(h, DecodeOrder::Natural) == std::vector<int>{0, 1, 2, 3, 4}));
  CHECK((decodeOrder(h, DecodeOrder::Activation) == std::vector<int>{1, 4, 0, 2, 3}));
}

void dampingOfDeadInputs() {
  Matrix h(4, 4);
  h(0, 0) = 2;
  h(1, 1) = 4;
  CHECK(dampingUnit(h) == 3);
  const Matrix d = damped(h, 0.5);
  CHECK((d(0, 0) == 3.5 && d(1, 1) == 5.5 && d(2, 2) == 3 && d(3, 3) == 3));
  CHECK(dampingUnit(Matrix(3, 3)) == 1);
  for (const double bad : {-1.0, kInfinity, std::nan("")}) {
    h(2, 2) = bad;
    CHECK_THROWS_AS([&] { dampingUnit(h); }(), Error);
    CHECK_THROWS_AS([&] { nearestPlaneCoefficients(h, 0.01, DecodeOrder::Activation, 1, JobControl()); }(), Error);
    CHECK_THROWS_AS([&] { gpfqCoefficients(h, DecodeOrder::Activation); }(), Error);
  }
  h(2, 2) = 0;
  h(0, 1) = h(1, 0) = std::nan("");
  CHECK_THROWS_AS([&] { nearestPlaneCoefficients(h, 0.01, DecodeOrder::Natural, 1, JobControl()); }(), Error);
}

/** Any Gram matrix has coefficients; without damping a singular one takes more than was asked for. */
template <typename Real>
void everyKind() {
  std::mt19937_64 random(2);
  for (const std::string& kind : kinds())
    for (const std::size_t n : {1u, 12u, 90u}) {
      const Matrix h = gramOf(data(kind, random, 40, n));
      for (const double damping : {0.0, 1e-7, 0.01}) {
        const auto result =
            nearestPlaneCoefficients(castTo<Real>(h), damping, DecodeOrder::Activation, 1, JobControl());
        CHECK(result.damping >= damping);
        CHECK((damping < 0.01 || result.damping == damping));
        if (n == 90 && damping == 0 && kind != "zero") CHECK(result.damping >= kLeastDamping);
        for (std::size_t i = 0; i < n * n; ++i) CHECK(std::isfinite(result.m.data()[i]));
      }
    }
}

/** A power of two scales the damped H, and nothing else: the coefficients keep their bits. */
template <typename Real>
void scaleFree(int most) {
  std::mt19937_64 random(3);
  const auto h = castTo<Real>(gramOf(gaussian(random, 30, 20)));
  const auto expected = nearestPlaneCoefficients(h, 0.01, DecodeOrder::Natural, 1, JobControl());
  for (const int exponent : {-most, most}) {
    auto scaled = h;
    for (std::size_t i = 0; i < 400; ++i) scaled.data()[i] = std::ldexp(h.data()[i], exponent);
    const auto result = nearestPlaneCoefficients(scaled, 0.01, DecodeOrder::Natural, 1, JobControl());
    CHECK(result.doublePrecision == expected.doublePrecision);
    CHECK(std::equal(result.m.data(), result.m.data() + 400, expected.m.data()));
    CHECK_LE(std::abs(result.logDeterminant - expected.logDeterminant - 20 * exponent * std::log(2.0)), 1e-9 * most);
  }
}

/** Where float32 cannot factorise, float64 does at the same damping. */
void floatFallsBack() {
  std::mt19937_64 random(4);
  const Matrix h = damped(gramOf(data("low rank", random, 20, 60)), 1e-9);
  // Rounded to float32, H itself is indefinite by 1e-7 of its norm: then even float64 needs that much damping.
  const auto result = nearestPlaneCoefficients(castTo<float>(h), 0, DecodeOrder::Natural, 1, JobControl());
  CHECK((result.doublePrecision && result.damping < 1e-5));
  const auto wide = nearestPlaneCoefficients(h, 0, DecodeOrder::Natural, 1, JobControl());
  CHECK((wide.doublePrecision && wide.damping == 0));
}

template <typename Real>
void choleskyBytes() {
  std::mt19937_64 random(5);
  const std::size_t n = 800;  // two tasks of rows
  const auto h = castTo<Real>(cheapGram(random, n));
  auto expected = h;
  CHECK(choleskyLower(expected, 1, JobControl()));
  for (const unsigned threads : {2u, 7u}) {
    auto a = h;
    CHECK(choleskyLower(a, threads, JobControl()));
    CHECK(std::equal(a.data(), a.data() + n * n, expected.data()));
  }
  for (std::size_t j = 1; j < n; ++j) CHECK(expected(0, j) == h(0, j));
  JobControl cancelled;
  cancelled.cancel();
  CHECK_THROWS_AS([&] { choleskyLower(expected, 1, cancelled); }(), Cancelled);
  BasicMatrix<Real> indefinite(2, 2);
  indefinite(0, 0) = indefinite(1, 1) = 1;
  indefinite(1, 0) = 2;
  CHECK(!choleskyLower(indefinite, 1, JobControl()));
}

}  // namespace

TEST_CASE("match reference") { matchReference(); }
TEST_CASE("orders") { orders(); }
TEST_CASE("damping of dead inputs") { dampingOfDeadInputs(); }
TEST_CASE("every kind: double") { everyKind<double>(); }
TEST_CASE("every kind: float") { everyKind<float>(); }
TEST_CASE("scale free: double, 900") { scaleFree<double>(900); }
TEST_CASE("scale free: float, 100") { scaleFree<float>(100); }
TEST_CASE("float falls back") { floatFallsBack(); }
TEST_CASE("cholesky bytes: double") { choleskyBytes<double>(); }
TEST_CASE("cholesky bytes: float") { choleskyBytes<float>(); }
