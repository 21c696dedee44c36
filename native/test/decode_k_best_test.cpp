// The K-best search: the nearest plane with one answer, the optimum with all of them.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "alphabet/scale_search.h"
#include "decode/k_best.h"
#include "linalg/blas.h"
#include "linalg/real_blas.h"
#include "test_data.h"

using namespace vertexq;
using namespace vertexq::testing;

namespace {

struct Problem {
  Matrix factor;  // L
  std::vector<double> targets;
  std::vector<Alphabet> alphabets;
  std::vector<const Alphabet*> pointers;

  Problem(std::mt19937_64& random, std::size_t size, Grid grid, int levels, const LevelTable* table = nullptr)
      : factor(size, size) {
    const Matrix x = gaussian(random, size + 3, size);
    linalg::syrk(CblasLower, linalg::kTransposed, size, size + 3, 1.0, x.data(), size + 3, 0.0, factor.data(), size);
    CHECK(linalg::potrf('L', size, factor.data(), size) == 0);
    targets = normals(random, size);
    for (std::size_t i = 0; i < size; ++i)
      alphabets.push_back(coveringAlphabet({grid, levels, table}, targets.data(), size, ScalePrecision::Float64));
    for (const Alphabet& a : alphabets) pointers.push_back(&a);
  }

  std::size_t size() const { return targets.size(); }

  /** ‖Lᵀ(q - c)‖² */
  double error(const std::vector<std::int8_t>& codes) const {
    double total = 0;
    for (std::size_t i = 0; i < size(); ++i) {
      double sum = 0;
      for (std::size_t k = i; k < size(); ++k) sum += factor(k, i) * (alphabets[k].level(codes[k]) - targets[k]);
      total += sum * sum;
    }
    return total;
  }

  std::vector<std::int8_t> search(std::size_t width) const {
    KBestRounding<double> search(size(), width);
    return run(search, width);
  }
  std::vector<std::int8_t> run(KBestRounding<double>& search, std::size_t width) const {
    std::vector<std::int8_t> codes(size());
    CHECK(search.run(size(), width, factor.data(), size(), targets.data(), pointers.data(), codes.data()));
    return codes;
  }
};

void oneAnswerIsNearestPlane() {
  std::mt19937_64 random(61);
  for (const std::size_t size : {1u, 2u, 7u, 40u}) {
    const Problem problem(random, size, Grid::Asymmetric, 8);
    std::vector<std::int8_t> codes(size);
    std::vector<double> errors(size);
    for (std::size_t p = size; p-- > 0;) {
      double sum = 0;
      for (std::size_t k = p + 1; k < size; ++k) sum += problem.factor(k, p) * errors[k];
      codes[p] =
          static_cast<std::int8_t>(problem.alphabets[p].nearest(problem.targets[p] - sum / problem.factor(p, p)));
      errors[p] = problem.alphabets[p].level(codes[p]) - problem.targets[p];
    }
    CHECK(problem.search(1) == codes);
  }
}

void allAnswersHoldTheOptimum() {
  std::mt19937_64 random(62);
  for (int trial = 0; trial < 100; ++trial) {
    const std::size_t size = 1 + static_cast<std::size_t>(trial) % 9;
    // Of two levels the two nearest are all.
    const Problem problem(random, size, Grid::ZeroFree, 2);
    double least = std::numeric_limits<double>::infinity();
    for (unsigned bits = 0; bits < 1u << size; ++bits) {
      std::vector<std::int8_t> codes(size);
      for (std::size_t i = 0; i < size; ++i) codes[i] = static_cast<std::int8_t>(bits >> i & 1u ? 0 : -1);
      least = std::min(least, problem.error(codes));
    }
    CHECK_LE(problem.error(problem.search(std::size_t{1} << size)), least * (1 + 1e-12));
  }
}

void moreAnswersHelpOnAverage() {
  std::mt19937_64 random(63);
  double before = std::numeric_limits<double>::infinity();
  for (const std::size_t width : {1u, 2u, 4u, 16u}) {
    std::mt19937_64 same(64);
    double total = 0;
    for (int trial = 0; trial < 40; ++trial) {
      const Problem problem(same, 60, Grid::ZeroFree, 4);
      total += problem.error(problem.search(width));
    }
    CHECK(total < before);
    before = total;
  }
}

/** Plain loops: every answer a vector of its own, all continuations sorted, of equal ones the first. */
std::vector<std::int8_t> plainSearch(const Problem& problem, std::size_t width) {
  struct Partial {
    double error;
    std::vector<std::int8_t> codes;
  };
  const std::size_t size = problem.size();
  std::vector<Partial> answers = {{0, std::vector<std::int8_t>(size)}};
  for (std::size_t p = size; p-- > 0;) {
    const Alphabet& alphabet = problem.alphabets[p];
    std::vector<Partial> next;
    for (const Partial& answer : answers) {
      double centre = problem.targets[p];
      for (std::size_t k = p + 1; k < size; ++k)
        centre -= problem.factor(k, p) / problem.factor(p, p) *
                  (problem.alphabets[k].level(answer.codes[k]) - problem.targets[k]);
      // The levels on either side of the centre, the nearer first; beyond the alphabet's end the end alone.
      const Alphabet::Cell cell = alphabet.cell(centre);
      const int nearest = alphabet.nearest(centre), low = alphabet.nearest(cell.low);
      std::vector<int> codes = {nearest};
      if (width > 1 && cell.low != cell.high) codes.push_back(nearest == low ? low + 1 : low);
      const auto distance = [&](int code) { return std::abs(alphabet.level(code) - centre); };
      for (const int code : codes) {
        Partial longer = answer;
        longer.codes[p] = static_cast<std::int8_t>(code);
        longer.error += std::pow(problem.factor(p, p) * distance(code), 2);
        next.push_back(longer);
      }
    }
    std::stable_sort(next.begin(), next.end(), [](const Partial& a, const Partial& b) { return a.error < b.error; });
    next.resize(std::min(next.size(), width));
    answers = std::move(next);
  }
  return answers.front().codes;
}

/** All grids, the targets partly beyond the alphabets' ends. */
void matchPlainSearch() {
  std::mt19937_64 random(66);
  const GridKind grids[] = {{Grid::Integer, 3},
                            {Grid::ZeroFree, 2},
                            {Grid::Asymmetric, 3},
                            {Grid::ZeroFree, 4},
                            {Grid::Asymmetric, 16},
                            {Grid::FullRange, 16},
                            {Grid::Minimum, 4},
                            {Grid::Table, 16, &kUnevenTable},
                            {Grid::Table, 5, &kLopsidedTable}};
  for (const auto& [grid, levels, table, eitherSign, mirrored] : grids)
    for (const std::size_t size : {1u, 3u, 33u}) {
      Problem problem(random, size, grid, levels, table);
      for (std::size_t i = 0; i < size; ++i) problem.targets[i] *= i % 3 ? 0.999 : 5;  // none a level
      for (std::size_t width = 1; width <= 8; ++width) {
        const std::vector<std::int8_t> codes = problem.search(width);
        CHECK(codes == plainSearch(problem, width));
        for (std::size_t i = 0; i < size; ++i)
          CHECK((codes[i] >= problem.alphabets[i].minCode() && codes[i] <= problem.alphabets[i].maxCode()));
      }
    }
}

/** Searches of several widths on one factor, entry by entry in turns, one of them left alone halfway and begun again. */
void turns() {
  std::mt19937_64 random(67);
  const std::size_t size = 37, most = 41;
  const Problem shared(random, size, Grid::Asymmetric, 4);
  std::vector<Problem> problems;
  std::vector<KBestRounding<double>> searches;
  const auto widthOf = [](std::size_t k) { return 2 + k % 7; };
  for (std::size_t k = 0; k < 9; ++k) {
    problems.push_back(shared);
    problems.back().targets = normals(random, size);
    problems.back().alphabets.clear();
    const Grid grid = k % 2 ? Grid::ZeroFree : Grid::Integer;
    for (std::size_t i = 0; i < size; ++i)
      problems.back().alphabets.push_back(Alphabet::withStep({grid, k % 2 ? 4 : 3}, 0.3 + 0.1 * (i % 4), 0));
    problems.back().pointers.clear();
    searches.emplace_back(most, 8);  // room for more than is asked for
  }
  for (Problem& problem : problems)
    for (const Alphabet& a : problem.alphabets) problem.pointers.push_back(&a);
  const auto step = [&](std::size_t k, std::size_t p) {
    return searches[k].step(p, shared.factor.column(p) + p, problems[k].targets[p], problems[k].alphabets[p]);
  };
  searches[4].start(size, 8);
  for (std::size_t p = size; p-- > size / 2;) CHECK(step(4, p));
  for (std::size_t k = 0; k < problems.size(); ++k) searches[k].start(size, widthOf(k));
  for (std::size_t p = size; p-- > 0;)
    for (std::size_t k = 0; k < problems.size(); ++k) CHECK(step((k + p) % problems.size(), p));
  for (std::size_t k = 0; k < problems.size(); ++k) {
    std::vector<std::int8_t> codes(size), again(size);
    searches[k].finish(codes.data());
    searches[k].finish(again.data());
    CHECK(codes == problems[k].search(widthOf(k)));
    CHECK(codes == again);
    CHECK(codes == problems[k].run(searches[k], widthOf(k)));
  }
}

void hostile() {
  std::mt19937_64 random(65);
  Problem problem(random, 5, Grid::Integer, 3);
  problem.targets[2] = std::nan("");
  KBestRounding<double> search(5, 4);
  std::vector<std::int8_t> codes(5);
  CHECK(!search.run(5, 4, problem.factor.data(), 5, problem.targets.data(), problem.pointers.data(), codes.data()));
  CHECK(search.run(0, 4, problem.factor.data(), 5, problem.targets.data(), problem.pointers.data(), codes.data()));
  // A step that fails, in the turns of another search, is that search's own affair.
  KBestRounding<double> other(5, 4);
  search.start(5, 4);
  other.start(5, 4);
  const std::vector<double> good(5, 0.1);
  bool whole = true;
  for (std::size_t p = 5; p-- > 0;) {
    const double* column = problem.factor.column(p) + p;
    if (whole) whole = search.step(p, column, problem.targets[p], problem.alphabets[p]);
    CHECK(whole == (p > 2));
    CHECK(other.step(p, column, good[p], problem.alphabets[p]));
  }
  problem.targets = good;
  other.finish(codes.data());
  CHECK(codes == problem.search(4));
  // An alphabet of one level.
  problem.alphabets[1] = Alphabet::withStep({Grid::Integer, 3}, 0, 0);
  for (const std::size_t width : {1u, 2u, 8u}) {
    const std::vector<std::int8_t> found = problem.search(width);
    CHECK(problem.alphabets[1].level(found[1]) == 0);
  }
}

}  // namespace

TEST_CASE("one answer is nearest plane") { oneAnswerIsNearestPlane(); }
TEST_CASE("all answers hold the optimum") { allAnswersHoldTheOptimum(); }
TEST_CASE("more answers help on average") { moreAnswersHelpOnAverage(); }
TEST_CASE("match plain search") { matchPlainSearch(); }
TEST_CASE("turns") { turns(); }
TEST_CASE("hostile") { hostile(); }
