// What is drawn for outputs: shares of classes by their definition, signs, and that neither threads nor cuts matter.
#include "curvature/output_draws.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "error.h"

using namespace vertexq;

namespace {

std::vector<float> draw(OutputKind kind, const std::vector<float>& values, std::size_t size, std::uint64_t seed = 0,
                        unsigned threads = 1, std::uint64_t first = 0) {
  std::vector<float> cotangents(values.size());
  JobControl control;
  drawOutputs({kind, values.data(), values.size() / size, size, seed, first}, cotangents.data(), threads, control);
  return cotangents;
}

/** softmax, as one writes it. */
std::vector<double> softmax(const float* x, std::size_t size) {
  std::vector<double> p(size);
  double sum = 0;
  for (std::size_t i = 0; i < size; ++i) sum += p[i] = std::exp(static_cast<double>(x[i]));
  for (double& share : p) share /= sum;
  return p;
}

}  // namespace

TEST_CASE("classes are drawn from the softmax, and all three forms of an output tell of the same ones") {
  constexpr std::size_t size = 7, rows = 4000;
  std::mt19937_64 random(3);
  std::normal_distribution<float> normal;
  std::vector<float> one(size), logits, shares, logarithms;
  for (float& x : one) x = normal(random);
  const std::vector<double> p = softmax(one.data(), size);
  for (std::size_t row = 0; row < rows; ++row)
    for (std::size_t i = 0; i < size; ++i) {
      logits.push_back(one[i]);
      shares.push_back(static_cast<float>(p[i]));
      logarithms.push_back(static_cast<float>(std::log(p[i])));
    }
  const std::vector<float> x = draw(OutputKind::Logits, logits, size), s = draw(OutputKind::Shares, shares, size),
                           l = draw(OutputKind::Logarithms, logarithms, size);
  std::vector<double> counts(size);
  for (std::size_t row = 0; row < rows; ++row) {
    std::size_t y = 0;
    while (x[row * size + y] > 0) ++y;
    ++counts[y];
    for (std::size_t i = 0; i < size; ++i) {
      const double e = i == y ? 1 : 0;
      CHECK(std::abs(x[row * size + i] - (p[i] - e)) < 1e-6);
      CHECK(std::abs(s[row * size + i] + e / p[i]) < 1e-5 * (1 / p[i]));
      CHECK(l[row * size + i] == static_cast<float>(-e));
    }
  }
  // Within four standard errors.
  for (std::size_t i = 0; i < size; ++i)
    CHECK(std::abs(counts[i] / rows - p[i]) < 4 * std::sqrt(p[i] * (1 - p[i]) / rows));
}

TEST_CASE("signs are ±1, as many of each, and others with another seed") {
  const std::vector<float> values(100 * 130);
  const std::vector<float> signs = draw(OutputKind::Signs, values, 130);
  double sum = 0;
  for (const float sign : signs) {
    CHECK(std::abs(sign) == 1);
    sum += sign;
  }
  CHECK(std::abs(sum) < 4 * std::sqrt(static_cast<double>(signs.size())));
  CHECK(draw(OutputKind::Signs, values, 130, 1) != signs);
}

TEST_CASE("the bytes depend neither on the threads nor on how rows are cut") {
  constexpr std::size_t size = 9000, rows = 40;
  std::mt19937_64 random(4);
  std::normal_distribution<float> normal;
  std::vector<float> values(rows * size);
  for (float& x : values) x = normal(random);
  for (const OutputKind kind : {OutputKind::Logits, OutputKind::Signs}) {
    const std::vector<float> all = draw(kind, values, size, 5, 1);
    CHECK(draw(kind, values, size, 5, 3) == all);
    constexpr std::size_t begin = 13;
    const std::vector<float> rest(values.begin() + begin * size, values.end());
    CHECK(draw(kind, rest, size, 5, 2, begin) == std::vector<float>(all.begin() + begin * size, all.end()));
  }
}

TEST_CASE("classes by themselves are those that cotangents tell of, whatever the threads and cuts") {
  constexpr std::size_t size = 9000, rows = 40;
  std::mt19937_64 random(5);
  std::normal_distribution<float> normal;
  std::vector<float> values(rows * size);
  for (float& x : values) x = normal(random);
  values[11 * size + 7] = 1e4F;  // Certain: its cotangent is 0.
  const auto classes = [&](std::size_t begin, std::size_t end, unsigned threads) {
    std::vector<std::int32_t> y(end - begin);
    JobControl control;
    drawClasses({OutputKind::Logits, values.data() + begin * size, end - begin, size, 5, begin}, y.data(), threads,
                control);
    return y;
  };
  const std::vector<std::int32_t> all = classes(0, rows, 1);
  CHECK(classes(0, rows, 3) == all);
  CHECK(classes(13, rows, 2) == std::vector<std::int32_t>(all.begin() + 13, all.end()));
  CHECK(all[11] == 7);
  const std::vector<float> cotangents = draw(OutputKind::Logits, values, size, 5);
  for (std::size_t row = 0; row < rows; ++row)
    if (row != 11) CHECK(cotangents[row * size + static_cast<std::size_t>(all[row])] < 0);
}

TEST_CASE("outputs that are no distribution are told by their row") {
  for (const OutputKind kind : {OutputKind::Logits, OutputKind::Shares, OutputKind::Logarithms}) {
    std::vector<float> values(12, 1.0F);
    values[9] = std::numeric_limits<float>::quiet_NaN();
    try {
      draw(kind, values, 4);
      CHECK_MESSAGE(false, "no error");
    } catch (const Error& error) {
      CHECK(std::string(error.what()).find("row 2 of the output") != std::string::npos);
    }
  }
}
