// The coefficients of successive rounding: the reverse Cholesky factor, its order, its damping.
#include <limits>
#include <numeric>

#include "check.h"
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

template <typename Real>
void matchReference(double tolerance) {
  std::mt19937_64 random(1);
  const JobControl control;
  // 1, primes, and more than the blocks of choleskyLower.
  for (const std::size_t n : {1u, 2u, 13u, 64u, 211u, 700u})
    for (const DecodeOrder kind : {DecodeOrder::Natural, DecodeOrder::Activation}) {
      const Matrix h = gramOf(gaussian(random, 2 * n, n));
      const auto result = nearestPlaneCoefficients(castTo<Real>(h), 0.01, kind, 1, control);
      CHECK(result.damping == 0.01);
      CHECK(result.doublePrecision == (sizeof(Real) == 8));
      const Matrix m = reference::nearestPlaneCoefficients(damped(h, 0.01), result.order);
      CHECK_AT_MOST(largestDifference(result.m, m), tolerance);
      const Matrix u = reference::reverseCholesky(damped(h, 0.01));
      double logDeterminant = 0;
      for (std::size_t i = 0; i < n; ++i) logDeterminant += 2 * std::log(u(i, i));
      CHECK_AT_MOST(std::abs(result.logDeterminant - logDeterminant), tolerance * static_cast<double>(n));
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
  CHECK(d(0, 0) == 3.5 && d(1, 1) == 5.5 && d(2, 2) == 3 && d(3, 3) == 3);
  CHECK(dampingUnit(Matrix(3, 3)) == 1);
  for (const double bad : {-1.0, kInfinity, std::nan("")}) {
    h(2, 2) = bad;
    CHECK(throws<Error>([&] { dampingUnit(h); }));
    CHECK(throws<Error>([&] { nearestPlaneCoefficients(h, 0.01, DecodeOrder::Activation, 1, JobControl()); }));
    CHECK(throws<Error>([&] { gpfqCoefficients(h, DecodeOrder::Activation); }));
  }
  h(2, 2) = 0;
  h(0, 1) = h(1, 0) = std::nan("");
  CHECK(throws<Error>([&] { nearestPlaneCoefficients(h, 0.01, DecodeOrder::Natural, 1, JobControl()); }));
}

/** Any Gram matrix has coefficients; without damping a singular one takes more than was asked for. */
template <typename Real>
void everyKind() {
  std::mt19937_64 random(2);
  for (const std::string& kind : kinds())
    for (const std::size_t n : {1u, 12u, 90u})
      for (const double damping : {0.0, 1e-7, 0.01}) {
        const Matrix h = gramOf(data(kind, random, 40, n));
        const auto result =
            nearestPlaneCoefficients(castTo<Real>(h), damping, DecodeOrder::Activation, 1, JobControl());
        CHECK(result.damping >= damping);
        CHECK(damping < 0.01 || result.damping == damping);
        if (n == 90 && damping == 0 && kind != "zero") CHECK(result.damping >= kLeastDamping);
        for (std::size_t i = 0; i < n * n; ++i) CHECK(std::isfinite(result.m.data()[i]));
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
    CHECK_AT_MOST(std::abs(result.logDeterminant - expected.logDeterminant - 20 * exponent * std::log(2.0)),
                  1e-9 * most);
  }
}

/** Where float32 cannot factorise, float64 does at the same damping. */
void floatFallsBack() {
  std::mt19937_64 random(4);
  const Matrix h = damped(gramOf(data("low rank", random, 20, 60)), 1e-9);
  // Rounded to float32, H itself is indefinite by 1e-7 of its norm: then even float64 needs that much damping.
  const auto result = nearestPlaneCoefficients(castTo<float>(h), 0, DecodeOrder::Natural, 1, JobControl());
  CHECK(result.doublePrecision && result.damping < 1e-5);
  const auto wide = nearestPlaneCoefficients(h, 0, DecodeOrder::Natural, 1, JobControl());
  CHECK(wide.doublePrecision && wide.damping == 0);
}

template <typename Real>
void choleskyBytes() {
  std::mt19937_64 random(5);
  const auto h = castTo<Real>(damped(gramOf(gaussian(random, 50, 1000)), 0.01));
  auto expected = h;
  CHECK(choleskyLower(expected, 1, JobControl()));
  for (const unsigned threads : {2u, 7u}) {
    auto a = h;
    CHECK(choleskyLower(a, threads, JobControl()));
    CHECK(std::equal(a.data(), a.data() + 1000000, expected.data()));
  }
  for (std::size_t j = 1; j < 1000; ++j) CHECK(expected(0, j) == h(0, j));
  JobControl cancelled;
  cancelled.cancel();
  CHECK(throws<Cancelled>([&] { choleskyLower(expected, 1, cancelled); }));
  BasicMatrix<Real> indefinite(2, 2);
  indefinite(0, 0) = indefinite(1, 1) = 1;
  indefinite(1, 0) = 2;
  CHECK(!choleskyLower(indefinite, 1, JobControl()));
}

}  // namespace

int main() {
  pinBlasToOneThread();
  matchReference<double>(1e-12);
  matchReference<float>(1e-4);
  orders();
  dampingOfDeadInputs();
  everyKind<double>();
  everyKind<float>();
  scaleFree<double>(900);
  scaleFree<float>(100);
  floatFallsBack();
  choleskyBytes<double>();
  choleskyBytes<float>();
  return report();
}
