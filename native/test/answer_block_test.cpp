// Blocks of answers: what is better is kept, polished and refitted.
#include "method/answer_block.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "vertex_test_data.h"

using namespace vertexq;
using namespace vertexq::testing;

namespace {

/** Blocks of every width, so of GEMV and GEMM, not at the layer's beginning, filled with answers good and bad. */
void keepsWhatIsBetter() {
  std::mt19937_64 random(71);
  const GridChoice choices[] = {{Grid::FullRange, 8},
                                {Grid::ZeroFree, 2},
                                {Grid::Integer, 3},
                                {Grid::Asymmetric, 8},
                                {Grid::ZeroFree, 256},
                                {Grid::Minimum, 8},
                                {Grid::Table, 16, &kUnevenTable}};
  std::size_t turn = 0, better = 0;
  for (const std::string& name : kinds())
    for (const std::size_t count : {std::size_t{1}, std::size_t{3}, std::size_t{4}, AnswerBlock::kWidth}) {
      const std::size_t n = count == AnswerBlock::kWidth ? 12 : 33;
      Problem problem(random, data(name, random, 50, n), count + 5, choices[turn++ % 7], 16, 0.003);
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
  for (const GridChoice choice : {GridChoice{Grid::ZeroFree, 4}, GridChoice{Grid::Asymmetric, 8},
                                  GridChoice{Grid::Minimum, 8}, GridChoice{Grid::Table, 5, &kLopsidedTable}}) {
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
      CHECK((a.minCode() == b.minCode() && a.maxCode() == b.maxCode()));
      CHECK((a.zeroPoint() == b.zeroPoint() || choice.grid == Grid::Minimum));
      CHECK(a.minimum() == static_cast<float>(a.minimum()));
      const std::size_t k = i / 3;
      if (problem.best.errors[k] == before[k] || k < 5 || k >= 25) CHECK(a.step() == b.step());
    }
  }
}

}  // namespace

TEST_CASE("keeps what is better") { keepsWhatIsBetter(); }
TEST_CASE("kept answers are polished") { keptAnswersArePolished(); }
TEST_CASE("refits") { refits(); }
