#include "scales/even_groups.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "packing/ggml_rows.h"
#include "scales/block_search.h"

using namespace vertexq;

namespace {

constexpr std::size_t kWeights = kGroupLanes * kLaneWeights;

/** The least error of a group of very many steps, and of one more that they give by least squares. */
double leastError(const EvenLevels& levels, const float* w) {
  double largest = 0, best = 0;
  for (std::size_t i = 0; i < kLaneWeights; ++i) {
    if (std::abs(w[i]) > std::abs(largest)) largest = w[i];
    best += static_cast<double>(w[i]) * w[i];
  }
  const auto errorOf = [&](double step, double& better) {
    double error = 0, product = 0, square = 0;
    for (std::size_t i = 0; i < kLaneWeights; ++i) {
      const double code =
          std::clamp(std::nearbyint(w[i] / step), static_cast<double>(levels.least), static_cast<double>(levels.most));
      error += (w[i] - step * code) * (w[i] - step * code);
      product += w[i] * code;
      square += code * code;
    }
    better = square > 0 ? product / square : step;
    return error;
  };
  if (largest == 0) return 0;
  for (const double end : {levels.least, levels.most})
    for (int k = 0; k < 200 && (levels.eitherSign || largest / end > 0); ++k) {
      double better, none;
      best = std::min(best, errorOf(largest / end / (0.9 + 0.004 * k), better));
      best = std::min(best, errorOf(better, none));
    }
  return best;
}

}  // namespace

TEST_CASE(
    "groups rounded sixteen at once have the nearest codes of their steps, and hardly more error than the best of 400 "
    "steps") {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  for (const char* name : {"Q4_0", "Q5_0", "Q8_0"}) {
    const GgmlType& type = *ggmlType(name);
    const auto least = static_cast<float>(type.offset());
    const EvenLevels levels{least, least + static_cast<float>(type.levels - 1), type.alphabet().eitherSign};
    double ours = 0, best = 0, searched = 0;
    BlockSearch search(type.alphabet());
    for (int repeat = 0; repeat < 12; ++repeat) {
      std::vector<float> weights(kWeights);
      for (float& w : weights) w = normal(random) * (repeat % 3 == 0 ? 1 : std::abs(normal(random)));
      if (repeat % 4 == 1) std::fill_n(weights.begin(), kLaneWeights, 0.0F);
      if (repeat % 4 == 2) weights[40] = 300;
      EvenGroups made;
      roundEvenGroups(levels, weights.data(), made);
      double error = 0;
      for (std::size_t g = 0; g < kGroupLanes; ++g) {
        REQUIRE(made.isDone[g]);
        const double step = made.steps[g];
        CHECK(step == roundedTo(step, ScalePrecision::Float16));
        const float* w = weights.data() + g * kLaneWeights;
        for (std::size_t i = 0; i < kLaneWeights; ++i) {
          const double code = made.codes[g * kLaneWeights + i], rest = w[i] - step * code;
          REQUIRE((code >= levels.least && code <= levels.most));
          if (step != 0)
            REQUIRE(std::abs(code - std::clamp<double>(w[i] / step, levels.least, levels.most)) <= 0.5 + 1e-4);
          error += rest * rest;
        }
        best += leastError(levels, w);
        std::int8_t codes[kLaneWeights];
        float scale;
        searched += search.runOne(w, nullptr, codes, &scale, nullptr);
      }
      ours += error;
    }
    CAPTURE(name);
    CHECK(ours < 1.01 * best);
    CHECK(ours < 1.004 * searched);
  }
}

TEST_CASE("rows of even levels: tiny, huge and mixed ones are rounded, and values that are none are named") {
  JobControl control;
  for (const char* name : {"Q4_0", "Q5_0", "Q8_0"}) {
    const GgmlType& type = *ggmlType(name);
    // Eighteen blocks a row: lanes that are left over.
    const std::size_t rows = 3, cols = 576;
    std::mt19937 random(2);
    std::normal_distribution<float> normal;
    std::vector<float> weights(rows * cols);
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const float sizes[] = {1, 1e-6F, 1e4F, 0, 1e-12F};
      weights[i] = normal(random) * sizes[i / 32 % 5];
    }
    std::vector<unsigned char> bytes(rows * cols / 32 * type.bytes), again(bytes.size());
    const RawRows raw{reinterpret_cast<const unsigned char*>(weights.data()), NumberType::Float32, rows, cols};
    const RowSums sums = roundGgml(type, raw, nullptr, 0, bytes.data(), 2, control);
    std::vector<float> values(weights.size());
    const RowSums read =
        unpackGgml(type, bytes.data(), rows, cols, 0, {nullptr, nullptr, nullptr, values.data()}, &raw, 1, control);
    CHECK(sums.error == read.error);
    CHECK(sums.signal == read.signal);
    for (std::size_t b = 0; b < weights.size() / 32; ++b) {
      double error = 0, signal = 0;
      for (std::size_t i = 32 * b; i < 32 * b + 32; ++i) {
        error += (weights[i] - values[i]) * (weights[i] - values[i]);
        signal += weights[i] * weights[i];
      }
      // Steps of 1e-12 are none of float16.
      if (b % 5 < 4) CHECK(error <= (b % 5 == 1 ? 0.3 : 0.03) * signal);
    }
    CHECK(roundGgml(type, raw, nullptr, 0, again.data(), 1, control).error == sums.error);
    CHECK(again == bytes);
    weights[cols + 3] = std::nanf("");
    CHECK_THROWS_WITH(roundGgml(type, raw, nullptr, 5, bytes.data(), 1, control), "neuron 6, input 3 is NaN");
    weights[cols + 3] = 1e30F;
    CHECK_THROWS_AS(roundGgml(type, raw, nullptr, 5, bytes.data(), 1, control), Error);
  }
}
