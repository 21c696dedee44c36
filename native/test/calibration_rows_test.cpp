// Folded rows against the rows themselves.
#include "calibration/calibration_rows.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "linalg/blas.h"
#include "test_data.h"

using namespace vertexq;
using namespace vertexq::testing;

namespace {

double norm(const Matrix& r, const std::vector<double>& v) {
  double error, signal;
  residual(r, v.data(), std::vector<double>(v.size()).data(), error, signal);
  return signal;
}

void sameNorms() {
  std::mt19937_64 random(3);
  for (const std::size_t m : {0u, 1u, 5u, 24u, 25u, 255u, 256u, 257u, 900u}) {
    const std::size_t n = 24;
    const Matrix x = gaussian(random, m, n);
    CalibrationRows rows(n);
    JobControl control;
    // In batches of uneven size, in float64.
    std::vector<double> batch;
    for (std::size_t i = 0; i < m; ++i) {
      for (std::size_t j = 0; j < n; ++j) batch.push_back(x(i, j));
      if (i % 7 == 3 || i + 1 == m) {
        rows.add(batch.data(), batch.size() / n, control);
        batch.clear();
      }
    }
    CHECK(rows.samples() == m);
    const Matrix r = rows.factor();
    CHECK((r.rows() == std::min(m, n) && r.cols() == n));
    for (int trial = 0; trial < 5; ++trial) {
      const std::vector<double> v = normals(random, n);
      CHECK_LE(std::abs(norm(r, v) - norm(x, v)), 1e-12 * (norm(x, v) + 1));
    }
  }
}

void notFinite() {
  JobControl control;
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    CalibrationRows rows(2);
    const float values[] = {1, 2, 3, bad};
    try {
      rows.add(values, 2, control);
      CHECK(false);
    } catch (const Error& error) {
      CHECK(error.code() == "ERR_VERTEXQ_NOT_FINITE");
      CHECK(std::string(error.what()).find("sample 1, input 1") != std::string::npos);
    }
    CHECK(rows.samples() == 0);
  }
  CalibrationRows large(1);
  const double huge[] = {1e308, 1e308, 1e308, 1e308, 1e308};
  CHECK_THROWS_AS(
      [&] {
        large.add(huge, 5, control);
        large.factor();
      }(),
      Error);
}

}  // namespace

TEST_CASE("same norms") { sameNorms(); }
TEST_CASE("not finite") { notFinite(); }
