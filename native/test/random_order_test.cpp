// Random orders of the inputs, and decoding in them.
#include "method/random_order.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "method/answer_block.h"
#include "vertex_test_data.h"

using namespace vertexq;
using namespace vertexq::testing;

namespace {

void randomOrders() {
  std::mt19937_64 random(74);
  // 600: several blocks of columns, and of rows below them, for the threads.
  for (const std::size_t n : {1u, 2u, 65u, 600u}) {
    Matrix x = gaussian(random, n > 300 ? 20 : n + 20, n);
    for (std::size_t j = 0; j < n; ++j) {
      const double scale = std::exp2(static_cast<double>(random() % 8));
      for (std::size_t i = 0; i < x.rows(); ++i) x(i, j) *= scale;
    }
    const Problem problem(random, x, 1, {Grid::ZeroFree, 4}, n, 0.1);
    const LayerFit fit = problem.fit();
    const RandomOrder order(fit, 1, 1, JobControl()), same(fit, 1, 3, JobControl()), other(fit, 2, 2, JobControl());
    const std::vector<std::size_t>& places = order.places();
    std::vector<std::size_t> sorted = places, all(n);
    std::sort(sorted.begin(), sorted.end());
    std::iota(all.begin(), all.end(), std::size_t{0});
    CHECK(sorted == all);
    CHECK(same.places() == places);
    CHECK(std::equal(order.factor().data(), order.factor().data() + n * n, same.factor().data()));
    if (n > 2) CHECK((other.places() != places && places != all));
    // Near act-order, backwards: an input much larger than another is decoded before it.
    double largest = 0;
    for (const std::size_t input : places) {
      CHECK_LE(largest, problem.h(input, input) * std::exp(5.0));
      largest = std::max(largest, problem.h(input, input));
    }
    const FloatMatrix& factor = order.factor();
    for (std::size_t j = 0; j<n; j += n> 300 ? 37 : 1)
      for (std::size_t i = 0; i < n; ++i) {
        if (i < j) {
          CHECK(factor(i, j) == 0);
          continue;
        }
        double product = 0;
        for (std::size_t k = 0; k <= j; ++k) product += static_cast<double>(factor(i, k)) * factor(j, k);
        const double expected = problem.h(places[i], places[j]);
        const double size = std::sqrt(problem.h(places[i], places[i]) * problem.h(places[j], places[j]));
        CHECK_LE(std::abs(product - expected), 2e-7 * size);
      }
  }
}

/** Answers on the alphabets, the same whoever is decoded beside them; better than the given ones, before polish. */
void orderedDecoding() {
  std::mt19937_64 random(75);
  const std::size_t n = 45, neurons = 37;  // more than go through the factor together
  for (const GridChoice choice : {GridChoice{Grid::ZeroFree, 2}, GridChoice{Grid::Asymmetric, 8}}) {
    Problem problem(random, data("gaussian", random, 70, n), neurons, choice, 16, 0.003);
    const LayerFit fit = problem.fit();
    const FloatMatrix h = single(problem.h);
    const FreeEntrySystem<float> system(h);
    AnswerBlock block(fit, system), alone(fit, system);
    OrderedDecoder decoder(fit), other(fit);
    const std::vector<double> before = problem.best.errors;
    double total = 0;
    for (const std::size_t seed : {1u, 2u, 3u}) {
      const RandomOrder order(fit, seed, 2, JobControl());
      block.select(0, neurons);
      decoder.run(order, block, JobControl());
      total = 0;
      for (std::size_t k = 0; k < neurons; ++k) {
        total += problem.error(k, block.codes(k));
        const std::vector<double> q = problem.values(k, block.codes(k));
        CHECK(std::equal(q.begin(), q.end(), block.values(k)));
      }
      CHECK_LE(total, 0.9 * sum(before));
      for (const std::size_t k : {std::size_t{0}, std::size_t{15}, std::size_t{16}, neurons - 1}) {
        alone.select(k, 1);
        other.run(order, alone, JobControl());
        CHECK(std::equal(alone.codes(0), alone.codes(0) + n, block.codes(k)));
      }
      const std::vector<double> last = problem.best.errors;
      block.keepBetter(problem.best, 0, JobControl());
      problem.check(last);
    }
    CHECK_LE(sum(problem.best.errors), total);
    JobControl cancelled;
    cancelled.cancel();
    const RandomOrder order(fit, 1, 1, JobControl());
    CHECK_THROWS_AS([&] { decoder.run(order, block, cancelled); }(), Cancelled);
    CHECK_THROWS_AS([&] { RandomOrder(fit, 1, 1, cancelled); }(), Cancelled);
  }
}

}  // namespace

TEST_CASE("random orders") { randomOrders(); }
TEST_CASE("ordered decoding") { orderedDecoding(); }
