// Weighted rows against rows that were scaled beforehand, by a reference that reads like the definition.
#include "calibration/row_weights.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "calibration/gram.h"
#include "error.h"
#include "linalg/blas.h"

using namespace vertexq;

namespace {

std::vector<float> drawn(std::mt19937_64& random, std::size_t count) {
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

/** Σ s·x_i·x_j. */
double weightedSum(const std::vector<float>& rows, const std::vector<float>& weights, std::size_t n, std::size_t i,
                   std::size_t j) {
  double sum = 0;
  for (std::size_t row = 0; row < weights.size(); ++row)
    sum += static_cast<double>(weights[row]) * rows[row * n + i] * rows[row * n + j];
  return sum;
}

std::string messageOf(const std::vector<float>& weights) {
  try {
    rowScales(weights.data(), weights.size());
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("scaled rows give XᵀSX; rows of weight 0 count for nothing, and those of weight 1 stay as they are") {
  setUpBlas();
  std::mt19937_64 random(11);
  constexpr std::size_t n = 13, m = 700;
  const std::vector<float> rows = drawn(random, m * n);
  std::vector<float> weights(m);
  for (float& weight : weights) weight = random() % 4 == 0 ? 0 : std::exp(drawn(random, 1)[0]);
  std::vector<float> scaled = rows;
  scaleRows(scaled.data(), n, rowScales(weights.data(), m));
  GramAccumulator sums(n, GramPrecision::Exact);
  JobControl control;
  sums.add(scaled.data(), m, 2, control);
  const Matrix gram = sums.gram();
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j < n; ++j)
      CHECK(std::abs(gram(i, j) - weightedSum(rows, weights, n, i, j)) < 1e-6 * std::sqrt(gram(i, i) * gram(j, j)));
  CHECK(sums.samples() == m);
  std::vector<float> same = rows;
  scaleRows(same.data(), n, rowScales(std::vector<float>(m, 1).data(), m));
  CHECK(same == rows);
}

TEST_CASE("patches are scaled by their output positions, also where only some of them are taken") {
  std::mt19937_64 random(12);
  const std::vector<std::int64_t> shape{3, 4, 9, 11};
  const std::vector<float> values = drawn(random, 3 * 4 * 9 * 11);
  // Padding wide enough that some patches are all of it, and are left out.
  const ConvPatches patches(values.data(), shape, {{3, 2}, {2, 1}, {1, 2}, {4, 3, 3, 0}, 2});
  std::vector<float> weights(patches.rows());
  for (float& weight : weights) weight = std::abs(drawn(random, 1)[0]);
  const std::vector<double> scales = rowScales(weights.data(), weights.size());
  JobControl control;
  for (const std::size_t every : {std::size_t{1}, std::size_t{3}})
    for (std::size_t group = 0; group < 2; ++group) {
      const ConvPatches::Group plain = patches.group(group, every);
      const WeightedPatches weighted(plain, scales);
      CHECK((weighted.count() == plain.count() && weighted.zeros() == plain.zeros()));
      weighted.requireFinite(control);
      const std::size_t width = plain.width();
      std::vector<float> rows(plain.count() * width), all(patches.rows() * width), own(width);
      weighted.read(0, plain.count(), rows.data());
      patches.fill(group, 0, patches.rows(), all.data());
      for (std::size_t i = 0; i < plain.count(); ++i) {
        const std::size_t place = plain.place(i);
        for (std::size_t k = 0; k < width; ++k)
          CHECK(rows[i * width + k] == static_cast<float>(all[place * width + k] * scales[place]));
      }
    }
}

TEST_CASE("weights that are none are refused by their row, and rows that leave the range of float32") {
  CHECK(messageOf({1, 0, 3}).empty());
  CHECK(messageOf({1, -2}).find("the weight of row 1 is -2") != std::string::npos);
  CHECK(messageOf({1, 1, std::nanf("")}).find("the weight of row 2 is NaN") != std::string::npos);
  CHECK(messageOf({std::numeric_limits<float>::infinity()}).find("the weight of row 0 is inf") != std::string::npos);
  std::vector<float> rows{1, 1e38F};
  CHECK_THROWS_WITH(scaleRows(rows.data(), 2, {4000.0}), doctest::Contains("input 1 out of the range"));
}
