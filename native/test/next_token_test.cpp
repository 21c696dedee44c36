// What networks say of the next token, summed panel by panel, against sums over all logits that read like their definitions.
#include "evaluate/next_token.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

using namespace vertexq;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Case {
  std::size_t tokens, size, vocabulary, sides;
  double scale, cap;
  std::vector<float> hidden, weights;  // of each side, one behind the other
  std::vector<std::int32_t> next;
};

Case drawn(std::size_t tokens, std::size_t size, std::size_t vocabulary, double scale, double cap, unsigned seed) {
  Case made{tokens, size, vocabulary, 3, scale, cap, {}, {}, {}};
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  for (std::size_t i = 0; i < made.sides * tokens * size; ++i) made.hidden.push_back(normal(random));
  for (std::size_t i = 0; i < made.sides * vocabulary * size; ++i) made.weights.push_back(normal(random));
  for (std::size_t i = 0; i < tokens; ++i) made.next.push_back(static_cast<std::int32_t>(random() % vocabulary));
  return made;
}

std::vector<double> logitsOf(const Case& given, std::size_t side, std::size_t token) {
  std::vector<double> logits;
  for (std::size_t v = 0; v < given.vocabulary; ++v) {
    double sum = 0;
    for (std::size_t k = 0; k < given.size; ++k)
      sum += static_cast<double>(given.hidden[(side * given.tokens + token) * given.size + k]) *
             given.weights[(side * given.vocabulary + v) * given.size + k];
    logits.push_back(given.cap == 0 ? given.scale * sum : given.cap * std::tanh(given.scale * sum / given.cap));
  }
  return logits;
}

NextTokenSums reference(const Case& given, std::size_t side, std::size_t token) {
  const std::vector<double> x = logitsOf(given, 0, token), y = logitsOf(given, side, token);
  NextTokenSums sums{-kInfinity, 0, -1, y[static_cast<std::size_t>(given.next[token])], 0};
  double most = -kInfinity;
  for (std::size_t v = 0; v < y.size(); ++v) {
    most = std::max(most, x[v]);
    if (y[v] > sums.most) {
      sums.most = y[v];
      sums.best = static_cast<double>(v);
    }
  }
  for (std::size_t v = 0; v < y.size(); ++v) {
    sums.sum += std::exp(y[v] - sums.most);
    sums.cross += std::exp(x[v] - most) * (x[v] - y[v]);
  }
  return sums;
}

/** In panels of `step` tokens of the vocabulary. */
std::vector<NextTokenSums> summed(const Case& given, std::size_t step, unsigned threads) {
  std::vector<NextTokenSums> sums(given.sides * given.tokens, {-kInfinity, 0, -1, 0, 0});
  for (std::size_t first = 0; first < given.vocabulary; first += step) {
    HeadPanel panel;
    panel.tokens = given.tokens;
    panel.size = given.size;
    panel.first = first;
    panel.count = std::min(step, given.vocabulary - first);
    panel.scale = given.scale;
    panel.cap = given.cap;
    panel.next = given.next.data();
    for (std::size_t s = 0; s < given.sides; ++s)
      panel.sides.push_back({given.hidden.data() + s * given.tokens * given.size,
                             given.weights.data() + (s * given.vocabulary + first) * given.size,
                             sums.data() + s * given.tokens});
    addNextTokens(panel, threads, JobControl());
  }
  return sums;
}

bool equal(const NextTokenSums& a, const NextTokenSums& b) {
  return a.most == b.most && a.sum == b.sum && a.best == b.best && a.target == b.target && a.cross == b.cross;
}

}  // namespace

TEST_CASE("sums are those of all logits, whatever the panels") {
  unsigned seed = 0;
  for (const double cap : {0.0, 3.0})
    for (const double scale : {1.0, 0.3})
      for (const auto& [tokens, size, vocabulary] :
           {std::array<std::size_t, 3>{1, 1, 1}, {3, 5, 7}, {70, 16, 300}, {530, 4, 1030}}) {
        const Case given = drawn(tokens, size, vocabulary, scale, cap, ++seed);
        const std::size_t steps[] = {vocabulary, (vocabulary + 2) / 3, 257};
        for (const std::size_t step : steps) {
          const std::vector<NextTokenSums> sums = summed(given, step, 2);
          for (std::size_t side = 0; side < given.sides; ++side)
            for (std::size_t token = 0; token < tokens; token += 1 + tokens / 20) {
              const NextTokenSums own = sums[side * tokens + token], want = reference(given, side, token);
              CHECK(own.most == doctest::Approx(want.most).epsilon(1e-5));
              CHECK(own.sum == doctest::Approx(want.sum).epsilon(1e-5));
              CHECK(own.best == want.best);
              CHECK(own.target == doctest::Approx(want.target).epsilon(1e-5));
              CHECK(std::abs(own.cross - want.cross) <= 1e-4 * (1 + std::abs(want.cross)));
            }
        }
      }
}

TEST_CASE("the same bytes for every number of threads") {
  const Case given = drawn(600, 8, 2000, 1, 0, 5);
  const std::vector<NextTokenSums> one = summed(given, 2000, 1), many = summed(given, 2000, 7);
  for (std::size_t i = 0; i < one.size(); ++i) CHECK(equal(one[i], many[i]));
}

TEST_CASE("of equal logits the first is the largest, and networks that are equal do not differ") {
  Case given = drawn(2, 3, 600, 1, 0, 9);
  given.sides = 2;
  std::fill(given.weights.begin(), given.weights.end(), 0.5F);
  std::copy_n(given.hidden.begin(), 6, given.hidden.begin() + 6);
  for (const NextTokenSums& own : summed(given, 250, 2)) {
    CHECK(own.best == 0);
    CHECK(own.sum == 600);
    CHECK(own.cross == 0);
  }
}

TEST_CASE("very unlike logits, and those that are not finite") {
  Case given = drawn(1, 1, 900, 1, 0, 3);
  given.sides = 1;
  given.hidden = {1};
  given.weights.assign(900, -1e4F);
  given.weights[700] = 2e4F;
  given.next = {5};
  const NextTokenSums far = summed(given, 300, 1)[0];
  CHECK(far.sum == doctest::Approx(1).epsilon(1e-12));
  CHECK(far.best == 700);
  CHECK(far.target == -1e4);
  for (const float odd : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity()}) {
    given.weights[3] = odd;
    for (const double cap : {0.0, 2.0}) {
      given.cap = cap;
      // Capped, an infinite logit would be a finite one.
      CHECK(std::isnan(summed(given, 300, 1)[0].sum));
    }
  }
}
