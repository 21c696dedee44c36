// The vertex method: answers that only get better, and the optimum of layers small enough to know it.
#include "method/vertex.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <thread>

#include "error.h"
#include "method/random_order.h"
#include "vertex_test_data.h"

using namespace vertexq;
using namespace vertexq::testing;

namespace {

VertexOptions optionsOf(const Problem& problem, std::size_t passes, bool refit) {
  return {std::max<std::size_t>(1, 3 * problem.inputs() / 4), passes, refit, problem.kind};
}

VertexOutcome run(Problem& problem, std::size_t passes, bool refit, unsigned threads = 2) {
  JobControl control;
  const LayerFit fit = problem.fit();
  const VertexOutcome outcome =
      vertexLayer(fit, problem.alphabets, problem.best, optionsOf(problem, passes, refit), threads, control);
  CHECK(control.done() == (passes + 1) * problem.neurons());
  return outcome;
}

/** H without full rank and without damping: a ridge for the factor, and answers. Only where nothing helps an error is thrown. */
void rankDeficient() {
  std::mt19937_64 random(76);
  for (const std::string& name : kinds())
    for (const std::size_t n : {1u, 8u, 50u}) {
      Problem problem(random, data(name, random, 20, n), 6, {Grid::Asymmetric, 4}, n, 0);
      const LayerFit fit = problem.fit();
      const RandomOrder order(fit, 3, 2, JobControl());
      for (std::size_t i = 0; i < n; ++i) CHECK((std::isfinite(order.factor()(i, i)) && order.factor()(i, i) > 0));
      const std::vector<double> before = problem.best.errors;
      for (const bool refit : {false, true}) run(problem, 3, refit);
      problem.check(before, 1e-9);
    }
  // One input so small that float32 does not hold its square, or the factor's entry, or float64 does not.
  for (const double small : {1e-30, 1e-60, 1e-160}) {
    Matrix x = gaussian(random, 40, 12);
    for (std::size_t i = 0; i < 40; ++i) x(i, 5) *= small;
    Problem problem(random, x, 6, {Grid::Asymmetric, 4}, 12, 0.003);
    const std::vector<double> before = problem.best.errors;
    run(problem, 3, true);
    problem.check(before);
  }
  Problem problem(random, gaussian(random, 40, 12), 2, {Grid::ZeroFree, 4}, 12, 0.003);
  const auto hopeless = [&](double value) {
    const Matrix kept = problem.h;
    problem.h(3, 7) = problem.h(7, 3) = value;
    const LayerFit fit = problem.fit();
    bool thrown = false;
    try {
      RandomOrder(fit, 1, 1, JobControl());
    } catch (const Error& error) {
      thrown = error.code() == "ERR_VERTEXQ_NUMERIC";
    }
    CHECK(thrown);
    problem.h = kept;
  };
  hopeless(std::nan(""));
  hopeless(1e9);
}

/** More passes continue what fewer did, and no neuron ever gets worse. */
void morePassesNeverHurt() {
  std::mt19937_64 random(77);
  for (const bool refit : {false, true}) {
    const Problem given(random, gaussian(random, 120, 48), 20, {Grid::ZeroFree, 4}, refit ? 16 : 48, 0.003);
    std::vector<double> before = given.best.errors;
    std::vector<double> totals;
    for (const std::size_t passes : {0u, 1u, 2u, 7u, 8u, 9u, 20u}) {
      Problem problem = given;
      const VertexOutcome outcome = run(problem, passes, refit);
      CHECK((outcome.walked > 0 && outcome.walked <= 20));
      problem.check(before);
      before = problem.best.errors;
      totals.push_back(sum(before));
      if (refit) continue;
      for (std::size_t i = 0; i < given.alphabets.size(); ++i)
        CHECK(problem.alphabets[i].step() == given.alphabets[i].step());
    }
    CHECK_LE(totals.back(), 0.99 * totals.front());
    CHECK_LE(totals.front(), 0.8 * sum(given.best.errors));
  }
}

/** Blocks of one, two and four neurons. */
void threadsDoNotMatter() {
  std::mt19937_64 random(78);
  for (const std::size_t neurons : {9u, 70u, 150u}) {
    const Problem given(random, gaussian(random, 80, 30), neurons, {Grid::Asymmetric, 4}, 16, 0.003);
    Problem expected = given;
    const VertexOutcome outcome = run(expected, 9, true, 1);
    for (const unsigned threads : {2u, 3u, 7u}) {
      Problem problem = given;
      CHECK(run(problem, 9, true, threads).walked == outcome.walked);
      CHECK(problem.best.codes == expected.best.codes);
      CHECK(problem.best.errors == expected.best.errors);
      for (std::size_t i = 0; i < given.alphabets.size(); ++i)
        CHECK(problem.alphabets[i].step() == expected.alphabets[i].step());
    }
  }
}

void cancelled() {
  std::mt19937_64 random(79);
  Problem problem(random, gaussian(random, 60, 24), 40, {Grid::ZeroFree, 4}, 24, 0.003);
  const LayerFit fit = problem.fit();
  const auto start = [&](JobControl& control) {
    CHECK_THROWS_AS(vertexLayer(fit, problem.alphabets, problem.best, optionsOf(problem, 1000000, true), 2, control),
                    Cancelled);
  };
  JobControl early;
  early.cancel();
  start(early);
  CHECK(early.done() == 0);
  JobControl control;
  std::thread other([&] {
    while (control.done() < 100) std::this_thread::yield();
    control.cancel();
  });
  start(control);
  other.join();
}

/** Passes as long as there is time: as many passes, without the clock, make the same. */
void timed() {
  std::mt19937_64 random(80);
  const Problem given(random, gaussian(random, 60, 24), 40, {Grid::ZeroFree, 4}, 24, 0.003);
  const auto runFor = [&](Problem& problem, double seconds) {
    VertexOptions options = optionsOf(problem, 1000, true);
    options.seconds = seconds;
    JobControl control;
    const LayerFit fit = problem.fit();
    return vertexLayer(fit, problem.alphabets, problem.best, options, 2, control).passes;
  };
  for (const double seconds : {0.0, 0.002, 0.02, 1e6}) {
    Problem problem = given, again = given;
    const std::size_t passes = runFor(problem, seconds);
    CHECK((seconds > 0 ? passes >= 1 : passes == 0));
    CHECK((seconds < 1e6 || passes == 1000));
    CHECK(run(again, passes, true).passes == passes);
    CHECK(problem.best.codes == again.best.codes);
  }
}

/** Counts, the first code fastest. False after the last of all answers. */
bool advance(std::vector<std::int8_t>& codes, const Alphabet& alphabet) {
  for (std::int8_t& code : codes) {
    if (code < alphabet.maxCode()) {
      ++code;
      return true;
    }
    code = static_cast<std::int8_t>(alphabet.minCode());
  }
  return false;
}

/** Tiny layers, whose every answer can be tried. */
void nearTheOptimum() {
  std::mt19937_64 random(80);
  for (const GridChoice choice :
       {GridChoice{Grid::ZeroFree, 2}, GridChoice{Grid::Integer, 3}, GridChoice{Grid::Asymmetric, 3},
        GridChoice{Grid::FullRange, 4}, GridChoice{Grid::Minimum, 4}, GridChoice{Grid::Table, 5, &kLopsidedTable}}) {
    double found = 0, optimal = 0;
    for (std::size_t n = 1; n <= 6; ++n)
      for (int trial = 0; trial < 3; ++trial) {
        Problem problem(random, gaussian(random, n + 1, n), 6, choice, n, 0.003);
        run(problem, 8, false);
        for (std::size_t k = 0; k < problem.neurons(); ++k) {
          double least = std::numeric_limits<double>::infinity();
          std::vector<std::int8_t> codes(n, static_cast<std::int8_t>(problem.alphabets[k].minCode()));
          do least = std::min(least, problem.error(k, codes.data()));
          while (advance(codes, problem.alphabets[k]));
          CHECK_LE(least, problem.best.errors[k] * (1 + 1e-9));
          found += problem.best.errors[k];
          optimal += least;
        }
      }
    CHECK_LE(found, 1.05 * optimal);
  }
}

}  // namespace

TEST_CASE("rank deficient") { rankDeficient(); }
TEST_CASE("more passes never hurt") { morePassesNeverHurt(); }
TEST_CASE("threads do not matter") { threadsDoNotMatter(); }
TEST_CASE("cancelled") { cancelled(); }
TEST_CASE("timed") { timed(); }
TEST_CASE("near the optimum") { nearTheOptimum(); }
