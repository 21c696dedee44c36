// The vertex method's parts: answers that only get better, random orders, and the optimum of layers small enough to know it.
#include "method/vertex.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <thread>

#include "decode/damping.h"
#include "decode_test_data.h"
#include "error.h"
#include "linalg/blas.h"
#include "method/answer_block.h"
#include "method/random_order.h"

using namespace vertexq;
using namespace vertexq::testing;

namespace {

/** A layer to fit, with each weight rounded by itself as the answer to start from. */
struct Problem {
  AlphabetOptions kind;
  Matrix h, weights;
  std::vector<Alphabet> alphabets;
  LayerCodes best;

  /** Alphabets that cover `cover` of the range of the weights. */
  Problem(std::mt19937_64& random, const Matrix& x, std::size_t neurons, GridChoice choice, std::size_t groupSize,
          double damping, double cover = 0.8)
      : kind{choice.grid, choice.levels, std::min(groupSize, x.cols())},
        h(damped(gramOf(x), damping)),
        weights(gaussian(random, x.cols(), neurons)) {
    const double unit = unitScale(h);
    for (std::size_t i = 0; i < inputs() * inputs(); ++i) h.data()[i] *= unit;
    for (std::size_t k = 0; k < neurons; ++k) {
      double* w = weights.column(k);
      if (k % 7 == 3) std::fill_n(w, inputs(), 0.0);
      for (std::size_t first = 0; first < inputs(); first += kind.groupSize) {
        const auto [low, high] = std::minmax_element(w + first, w + std::min(first + kind.groupSize, inputs()));
        alphabets.push_back(
            Alphabet::covering(kind.grid, kind.levels, cover * *low, cover * *high, ScalePrecision::Float32));
      }
    }
    best.codes.resize(inputs() * neurons);
    best.errors.resize(neurons);
    for (std::size_t k = 0; k < neurons; ++k) {
      for (std::size_t i = 0; i < inputs(); ++i)
        codes(k)[i] = static_cast<std::int8_t>(view().of(k, i).nearest(weights(i, k)));
      best.errors[k] = error(k, codes(k));
    }
  }

  std::size_t inputs() const { return h.cols(); }
  std::size_t neurons() const { return weights.cols(); }
  LayerAlphabets view() const { return {alphabets.data(), inputs(), kind.groupSize}; }
  LayerFit fit() const { return {h, weights, view()}; }
  std::int8_t* codes(std::size_t k) { return best.codes.data() + k * inputs(); }

  std::vector<double> values(std::size_t k, const std::int8_t* from) const {
    std::vector<double> q(inputs());
    for (std::size_t i = 0; i < inputs(); ++i) {
      const Alphabet& a = view().of(k, i);
      CHECK((from[i] >= a.minCode() && from[i] <= a.maxCode()));
      q[i] = a.level(from[i]);
    }
    return q;
  }
  /** (q - w)ᵀH(q - w), anew. */
  double error(std::size_t k, const std::int8_t* from) const {
    return reference::outputError(h, weights.column(k), values(k, from).data());
  }

  /** That the errors are those of the codes, up to `floor`, and none above `before`. */
  void check(const std::vector<double>& before, double floor = 0) {
    for (std::size_t k = 0; k < neurons(); ++k) {
      const double anew = error(k, codes(k));
      CHECK_LE(std::abs(best.errors[k] - anew), 1e-9 * anew + floor * before[k]);
      CHECK_LE(best.errors[k], before[k]);
      CHECK_LE(anew, before[k] * (1 + 1e-9 + floor));
    }
  }
};

double sum(const std::vector<double>& values) { return std::accumulate(values.begin(), values.end(), 0.0); }

FloatMatrix single(const Matrix& h) { return castTo<float>(h); }

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

/** Blocks of every width, so of GEMV and GEMM, not at the layer's beginning, filled with answers good and bad. */
void keepsWhatIsBetter() {
  std::mt19937_64 random(71);
  const GridChoice choices[] = {
      {Grid::FullRange, 8}, {Grid::ZeroFree, 2}, {Grid::Integer, 3}, {Grid::Asymmetric, 8}, {Grid::ZeroFree, 256}};
  std::size_t turn = 0, better = 0;
  for (const std::string& name : kinds())
    for (const std::size_t count : {std::size_t{1}, std::size_t{3}, std::size_t{4}, AnswerBlock::kWidth}) {
      const std::size_t n = count == AnswerBlock::kWidth ? 12 : 33;
      Problem problem(random, data(name, random, 50, n), count + 5, choices[turn++ % 5], 16, 0.003);
      const LayerFit fit = problem.fit();
      const FloatMatrix h = single(problem.h);
      const FreeEntrySystem<float> system(h);
      AnswerBlock block(fit, system);
      block.select(3, count);
      CHECK((block.first() == 3 && block.count() == count));
      for (int trial = 0; trial < 6; ++trial) {
        const std::vector<double> before = problem.best.errors;
        const std::vector<std::int8_t> codesBefore = problem.best.codes;
        block.load(problem.best);
        for (std::size_t k = 0; k < count; ++k)
          for (std::size_t i = 0; i < n; ++i) {
            const Alphabet& a = fit.alphabets.of(3 + k, i);
            const int any = a.minCode() + static_cast<int>(random() % static_cast<unsigned>(problem.kind.levels));
            // The same answer again, a few entries changed by a level, all drawn anew.
            const int near =
                std::clamp(block.codes(k)[i] + static_cast<int>(random() % 3) - 1, a.minCode(), a.maxCode());
            if (trial > 3) block.codes(k)[i] = static_cast<std::int8_t>(any);
            if (trial > 0 && trial < 4 && random() % 4 == 0) block.codes(k)[i] = static_cast<std::int8_t>(near);
          }
        block.dequantize();
        block.keepBetter(problem.best, 0, JobControl());
        problem.check(before);
        for (std::size_t k = 0; k < problem.neurons(); ++k) {
          better += problem.best.errors[k] < before[k] ? 1 : 0;
          if (k >= 3 && k < 3 + count) continue;
          CHECK(problem.best.errors[k] == before[k]);
          CHECK(std::equal(problem.codes(k), problem.codes(k) + n, &codesBefore[k * n]));
        }
        for (std::size_t k = 0; k < count; ++k) {
          // What the block holds is an answer too.
          const std::vector<double> q = problem.values(3 + k, block.codes(k));
          CHECK(std::equal(q.begin(), q.end(), block.values(k)));
          CHECK_LE(problem.best.errors[3 + k], problem.error(3 + k, block.codes(k)) * (1 + 1e-9));
        }
      }
    }
  CHECK(better > 200);
}

/** No single change of a kept answer helps. */
void keptAnswersArePolished() {
  std::mt19937_64 random(72);
  const std::size_t n = 24;
  Problem problem(random, gaussian(random, 60, n), 20, {Grid::Asymmetric, 8}, n, 0.003);
  const LayerFit fit = problem.fit();
  const FloatMatrix h = single(problem.h);
  const FreeEntrySystem<float> system(h);
  AnswerBlock block(fit, system);
  block.select(0, 20);
  block.load(problem.best);
  block.keepBetter(problem.best, 0, JobControl());
  for (std::size_t k = 0; k < 20; ++k) {
    std::vector<std::int8_t> changed(problem.codes(k), problem.codes(k) + n);
    for (std::size_t i = 0; i < n; ++i) {
      const Alphabet& a = fit.alphabets.of(k, i);
      for (int code = a.minCode(); code <= a.maxCode(); ++code) {
        changed[i] = static_cast<std::int8_t>(code);
        CHECK_LE(problem.best.errors[k], problem.error(k, changed.data()) * (1 + 1e-9));
      }
      changed[i] = problem.codes(k)[i];
    }
  }
  JobControl cancelled;
  cancelled.cancel();
  CHECK_THROWS_AS([&] { block.keepBetter(problem.best, 0, cancelled); }(), Cancelled);
  CHECK_THROWS_AS([&] { block.refit(problem.kind, 0, problem.alphabets, problem.best, cancelled); }(), Cancelled);
}

/** Refits keep what lowers the error, leave other neurons alone, and steps stay float32 numbers. */
void refits() {
  std::mt19937_64 random(73);
  for (const GridChoice choice : {GridChoice{Grid::ZeroFree, 4}, GridChoice{Grid::Asymmetric, 8}}) {
    const std::size_t n = 40;
    Problem problem(random, gaussian(random, 90, n), 30, choice, 16, 0.003, 1.3);
    const std::vector<double> before = problem.best.errors;
    const std::vector<Alphabet> given = problem.alphabets;
    const LayerFit fit = problem.fit();
    const FloatMatrix h = single(problem.h);
    const FreeEntrySystem<float> system(h);
    AnswerBlock block(fit, system);
    block.select(5, 20);
    block.refit(problem.kind, 0, problem.alphabets, problem.best, JobControl());
    problem.check(before);
    CHECK_LE(sum(problem.best.errors), 0.95 * sum(before));
    for (std::size_t i = 0; i < problem.alphabets.size(); ++i) {
      const Alphabet &a = problem.alphabets[i], &b = given[i];
      CHECK(a.step() == static_cast<float>(a.step()));
      CHECK((a.minCode() == b.minCode() && a.maxCode() == b.maxCode() && a.zeroPoint() == b.zeroPoint()));
      const std::size_t k = i / 3;
      if (problem.best.errors[k] == before[k] || k < 5 || k >= 25) CHECK(a.step() == b.step());
    }
  }
}

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
  for (const GridChoice choice : {GridChoice{Grid::ZeroFree, 2}, GridChoice{Grid::Integer, 3},
                                  GridChoice{Grid::Asymmetric, 3}, GridChoice{Grid::FullRange, 4}}) {
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

TEST_CASE("keeps what is better") { keepsWhatIsBetter(); }
TEST_CASE("kept answers are polished") { keptAnswersArePolished(); }
TEST_CASE("refits") { refits(); }
TEST_CASE("random orders") { randomOrders(); }
TEST_CASE("ordered decoding") { orderedDecoding(); }
TEST_CASE("rank deficient") { rankDeficient(); }
TEST_CASE("more passes never hurt") { morePassesNeverHurt(); }
TEST_CASE("threads do not matter") { threadsDoNotMatter(); }
TEST_CASE("cancelled") { cancelled(); }
TEST_CASE("near the optimum") { nearTheOptimum(); }
