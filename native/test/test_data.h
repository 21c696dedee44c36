// Random and adversarial layers.
#pragma once

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "alphabet/alphabet.h"
#include "linalg/matrix.h"

namespace vertexq::testing {

/** The levels of ggml's IQ4_NL. */
inline const LevelTable kUnevenTable = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
/** Few, lopsided, with two that are near each other and none at 0. */
inline const LevelTable kLopsidedTable = {-3, -0.125F, 0.125F, 0.5F, 1};

inline std::vector<double> normals(std::mt19937_64& random, std::size_t count) {
  std::normal_distribution<double> normal;
  std::vector<double> values(count);
  for (double& v : values) v = normal(random);
  return values;
}

inline Matrix gaussian(std::mt19937_64& random, std::size_t rows, std::size_t cols) {
  Matrix x(rows, cols);
  const std::vector<double> values = normals(random, rows * cols);
  std::copy(values.begin(), values.end(), x.data());
  return x;
}

/** Kinds of data a layer may meet: each a way to break a walk. */
inline const std::vector<std::string>& kinds() {
  static const std::vector<std::string> names = {
      "gaussian", "low rank", "duplicated columns", "zero columns", "bad scale", "graded", "zero", "ternary"};
  return names;
}

inline Matrix data(const std::string& kind, std::mt19937_64& random, std::size_t m, std::size_t n) {
  Matrix x = gaussian(random, m, n);
  if (kind == "zero") return Matrix(m, n);
  if (kind == "low rank") {
    const std::size_t r = 1 + std::min(m, n) / 3;
    const Matrix a = gaussian(random, m, r), b = gaussian(random, r, n);
    Matrix product(m, n);
    for (std::size_t j = 0; j < n; ++j)
      for (std::size_t k = 0; k < r; ++k)
        for (std::size_t i = 0; i < m; ++i) product(i, j) += a(i, k) * b(k, j);
    return product;
  }
  for (std::size_t j = 0; j < n; ++j)
    for (std::size_t i = 0; i < m; ++i) {
      if (kind == "duplicated columns" && j >= n / 2) x(i, j) = x(i, j - n / 2);
      if (kind == "zero columns" && j % 3 == 0) x(i, j) = 0;
      // Columns from 1e-4 to 1e4, rows from 1 to 1e-8: condition about 1e8 either way.
      if (kind == "bad scale") x(i, j) *= std::pow(10, 8.0 * static_cast<double>(j) / static_cast<double>(n) - 4);
      if (kind == "graded") x(i, j) *= std::pow(10, -8.0 * static_cast<double>(i) / static_cast<double>(m));
      if (kind == "ternary") x(i, j) = x(i, j) > 0.8 ? 1 : x(i, j) < -0.8 ? -1 : 0;
    }
  return x;
}

/** ‖X(a - b)‖ and ‖X a‖ by plain sums in long double, per neuron. */
inline void residual(const Matrix& x, const double* a, const double* b, double& error, double& signal) {
  long double e = 0, s = 0;
  for (std::size_t i = 0; i < x.rows(); ++i) {
    long double d = 0, y = 0;
    for (std::size_t j = 0; j < x.cols(); ++j) {
      d += static_cast<long double>(x(i, j)) * (static_cast<long double>(a[j]) - b[j]);
      y += static_cast<long double>(x(i, j)) * a[j];
    }
    e += d * d;
    s += y * y;
  }
  error = static_cast<double>(std::sqrt(e));
  signal = static_cast<double>(std::sqrt(s));
}

}  // namespace vertexq::testing
