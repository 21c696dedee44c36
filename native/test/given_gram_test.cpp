// Gram matrices summed elsewhere: their factors, what is refused, and what is used of those that rounding has bent.
#include "calibration/given_gram.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>

#include "linalg/blas.h"
#include "linalg/real_blas.h"
#include "test_data.h"

using namespace vertexq;
using namespace vertexq::testing;

namespace {

double norm(const Matrix& r, const std::vector<double>& v) {
  double error, signal;
  residual(r, v.data(), std::vector<double>(v.size()).data(), error, signal);
  return signal;
}

template <typename Real>
std::vector<double> gramOf(const Matrix& x) {
  const std::size_t n = x.cols();
  std::vector<double> gram(n * n);
  for (std::size_t a = 0; a < n; ++a)
    for (std::size_t b = 0; b < n; ++b) {
      Real sum = 0;
      for (std::size_t i = 0; i < x.rows(); ++i) sum += static_cast<Real>(x(i, a)) * static_cast<Real>(x(i, b));
      gram[a * n + b] = sum;
    }
  return gram;
}

double form(const Matrix& h, const std::vector<double>& v) {
  double sum = 0;
  for (std::size_t j = 0; j < h.cols(); ++j)
    for (std::size_t i = 0; i < h.rows(); ++i) sum += v[i] * h(i, j) * v[j];
  return sum;
}

void refused(const std::vector<double>& gram, std::size_t n, const std::string& why) {
  try {
    givenGram(gram.data(), nullptr, n);
    std::printf("not refused: %s\n", why.c_str());
    CHECK(false);
  } catch (const Error& error) {
    CHECK(error.code() == "ERR_VERTEXQ_GRAM");
    CHECK(std::string(error.what()).find(why) != std::string::npos);
  }
}

void factors() {
  std::mt19937_64 random(4);
  for (const std::size_t m : {3u, 40u}) {
    const std::size_t n = 10;
    const Matrix x = gaussian(random, m, n);
    const std::vector<double> gram = gramOf<double>(x);
    // Near both ends of float64's range too.
    for (const int power : {0, 1000, -1000}) {
      std::vector<double> scaled = gram;
      for (double& value : scaled) value = std::ldexp(value, power);
      const GivenGram given = givenGram(scaled.data(), nullptr, n);
      const Matrix factor = factorOf(given);
      CHECK(factor.rows() == std::min(m, n));
      CHECK(given.shift == 0);
      for (int trial = 0; trial < 5; ++trial) {
        const std::vector<double> v = normals(random, n);
        CHECK_LE(std::abs(std::ldexp(norm(factor, v), -power / 2) - norm(x, v)), 1e-6 * norm(x, v));
      }
      const double unit = given.data.h(0, 0) / gram[0];
      int exponent;
      CHECK(std::frexp(unit, &exponent) == 0.5);
      CHECK((power == 0 ? unit == 1 : std::abs(exponent) < 20));
      bool same = true;
      for (std::size_t i = 0; i < n * n; ++i) same = same && given.data.h.data()[i] == unit * gram[i];
      CHECK(same);
    }
    std::vector<double> bad = gram;
    bad[1] += 1;
    refused(bad, n, "not symmetric");
    bad = gram;
    for (double& value : bad) value = -value;
    refused(bad, n, "not positive semidefinite");
    bad = gram;
    bad[12] = std::nan("");
    refused(bad, n, "row 1, column 2");
  }
  const std::vector<double> zero(9);
  CHECK(factorOf(givenGram(zero.data(), nullptr, 3)).rows() == 0);
}

/** H = I - t·11ᵀ and others with one eigenvalue below 0 by more than sums of float32 products can be off. */
void notSemidefinite() {
  for (const std::size_t n : {2u, 40u, 400u})
    for (const double below : {2e-3, 3.6e-3, 0.5}) {
      std::vector<double> gram(n * n, -(1 + below) / static_cast<double>(n));
      for (std::size_t i = 0; i < n; ++i) gram[i * n + i] += 1;
      refused(gram, n, "not positive semidefinite");
      for (double& value : gram) value = std::ldexp(value, 1000);
      refused(gram, n, "not positive semidefinite");
    }
  // One input and its own negative square; two inputs whose product is larger than their norms.
  std::vector<double> gram(50 * 50);
  for (std::size_t i = 0; i < 50; ++i) gram[i * 51] = i == 7 ? -0.01 : 1;
  refused(gram, 50, "not positive semidefinite");
  gram[7 * 51] = 1;
  gram[3 * 50 + 9] = gram[9 * 50 + 3] = 1.01;
  refused(gram, 50, "not positive semidefinite");
}

/** Inputs that repeat others, by half of all: the matrix is singular whatever the number of rows. */
Matrix repeating(std::mt19937_64& random, std::size_t m, std::size_t n) {
  Matrix x = gaussian(random, m, n);
  for (std::size_t i = 0; i < m; ++i)
    for (std::size_t j = n / 2; j < n; ++j) x(i, j) = 1.1 * x(i, j - n / 2) - 0.3 * x(i, j % 7);
  return x;
}

double squaredNorm(const std::vector<double>& v) { return linalg::dot(v.size(), v.data(), v.data()); }

/** Fewer rows than inputs, summed in float32: a Gram matrix near the true one is taken, of its rank. */
void float32Sums() {
  std::mt19937_64 random(8);
  for (const std::size_t m : {1u, 20u, 2000u}) {
    const std::size_t n = 60;
    const Matrix x = repeating(random, m, n);
    const GivenGram given = givenGram(gramOf<float>(x).data(), nullptr, n);
    const Matrix factor = factorOf(given);
    const double scale = given.data.h(0, 0);
    CHECK(factor.rows() == std::min<std::size_t>(m, n / 2));
    CHECK(given.shift > 0);
    CHECK(given.shift < 1e-5 * scale);
    for (int trial = 0; trial < 50; ++trial) {
      const std::vector<double> v = normals(random, n);
      const double square = form(given.data.h, v), truth = norm(x, v) * norm(x, v);
      CHECK(square >= 0);
      CHECK_LE(std::abs(square - norm(factor, v) * norm(factor, v)), 16 * given.shift * squaredNorm(v));
      CHECK_LE(std::abs(square - truth), 2e-3 * scale);
      CHECK_LE(std::abs(square - truth), 4 * given.shift * squaredNorm(v));
    }
    const std::vector<double> again(given.data.h.data(), given.data.h.data() + n * n);
    CHECK_LE(std::abs(givenGram(again.data(), nullptr, n).data.h(3, 5) - given.data.h(3, 5)), 1e-12 * scale);
  }
}

/** The shift is at most twice what is missing; inputs that were always 0 stay so. */
void shifts() {
  for (const std::size_t n : {8u, 48u, 300u})
    for (const double below : {1e-10, 1e-7, 1.3e-5}) {
      std::vector<double> gram(n * n);
      for (std::size_t i = 0; i + 1 < n; ++i)
        for (std::size_t j = 0; j + 1 < n; ++j)
          gram[i * n + j] = (i == j ? 1 : 0) - (1 + below) / static_cast<double>(n - 1);
      const GivenGram given = givenGram(gram.data(), nullptr, n);
      CHECK_LE(below, given.shift * (1 + 1e-6));
      CHECK_LE(given.shift, 2 * below);
      CHECK(given.data.h(0, 0) == gram[0] + given.shift);
      CHECK(given.data.h(n - 1, n - 1) == 0);
      // All ones are the direction in which outputs had a negative square; of many inputs its pivot is many times the shift.
      const std::size_t rank = factorOf(given).rows();
      CHECK((rank == n - 2 || (n > 16 && rank == n - 1)));
    }
}

/** Ranks of data of many kinds, summed in float64, from pivots: those of the rows themselves. */
void ranks() {
  std::mt19937_64 random(9);
  for (const std::size_t n : {30u, 200u})
    for (const std::size_t m : {n / 5, n - 1, 3 * n})
      for (int kind = 0; kind < 5; ++kind) {
        Matrix x = kind == 1 ? repeating(random, m, n) : gaussian(random, m, n);
        for (std::size_t i = 0; i < m; ++i)
          for (std::size_t j = 0; j < n; ++j) {
            double& value = x(i, j);
            if (kind == 2) value = std::abs(value);                                  // as after ReLU
            if (kind == 3 && j > 0) value = 0.95 * x(i, j - 1) + 0.3 * value;        // neighbours alike
            if (kind == 4) value *= std::ldexp(1.0, -static_cast<int>(10 * j / n));  // of falling scale
          }
        const GivenGram given = givenGram(gramOf<double>(x).data(), nullptr, n);
        const Matrix r = factorOf(given);
        CHECK(given.shift == 0);
        CHECK(r.rows() == std::min(m, kind == 1 ? n / 2 : n));
        for (int trial = 0; trial < 5; ++trial) {
          const std::vector<double> v = normals(random, n);
          CHECK_LE(std::abs(norm(r, v) - norm(x, v)), 1e-7 * norm(x, v));
        }
        CHECK(std::equal(r.data(), r.data() + r.rows() * n, factorOf(given, 3).data()));
      }
}

/** Whatever the matrix, a cancelled job ends at the next of many polls. */
void cancelled() {
  std::mt19937_64 random(10);
  const std::size_t n = 600;
  const Matrix x = gaussian(random, n / 3, n);
  for (const bool bent : {false, true}) {
    const std::vector<double> gram = bent ? gramOf<float>(x) : gramOf<double>(x);
    JobControl control;
    const GivenGram given = givenGram(gram.data(), nullptr, n, 2, control);
    control.cancel();
    CHECK_THROWS_AS(givenGram(gram.data(), nullptr, n, 2, control), Cancelled);
    CHECK_THROWS_AS(factorOf(given, 2, control), Cancelled);
  }
}

void crossGrams() {
  const std::vector<double> gram{0x1p1000, 0, 0, 0x1p1000}, cross{0x1p1000, 0x1p999, 0, 0x1p1001};
  const GivenGram given = givenGram(gram.data(), cross.data(), 2);
  CHECK(given.data.h(0, 0) == 1);
  CHECK(given.data.cross(0, 0) == 1);
  CHECK(given.data.cross(0, 1) == 0.5);
  CHECK(given.data.cross(1, 0) == 0);
  CHECK(given.data.cross(1, 1) == 2);
  CHECK(given.data.target.cols() == 0);
  const std::vector<double> small{0x1p-1000, 0, 0, 0x1p-1000};
  try {
    givenGram(small.data(), cross.data(), 2);
    CHECK(false);
  } catch (const Error& error) {
    CHECK(error.code() == "ERR_VERTEXQ_GRAM");
    CHECK(std::string(error.what()).find("row 0, column 0") != std::string::npos);
  }
}

}  // namespace

TEST_CASE("factors") { factors(); }
TEST_CASE("not semidefinite") { notSemidefinite(); }
TEST_CASE("float32 sums") { float32Sums(); }
TEST_CASE("shifts") { shifts(); }
TEST_CASE("ranks") { ranks(); }
TEST_CASE("cancelled") { cancelled(); }
TEST_CASE("cross grams") { crossGrams(); }
