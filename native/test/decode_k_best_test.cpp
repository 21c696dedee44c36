// The K-best search: the nearest plane with one answer, the optimum with all of them.
#include <algorithm>
#include <cmath>
#include <limits>

#include "alphabet/scale_search.h"
#include "check.h"
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

  Problem(std::mt19937_64& random, std::size_t size, Grid grid, int levels) : factor(size, size) {
    const Matrix x = gaussian(random, size + 3, size);
    linalg::syrk(CblasLower, linalg::kTransposed, size, size + 3, 1.0, x.data(), size + 3, 0.0, factor.data(), size);
    CHECK(linalg::potrf('L', size, factor.data(), size) == 0);
    targets = normals(random, size);
    for (std::size_t i = 0; i < size; ++i)
      alphabets.push_back(coveringAlphabet(grid, levels, targets.data(), size, ScalePrecision::Float64));
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
    CHECK_AT_MOST(problem.error(problem.search(std::size_t{1} << size)), least * (1 + 1e-12));
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

void hostile() {
  std::mt19937_64 random(65);
  Problem problem(random, 5, Grid::Integer, 3);
  problem.targets[2] = std::nan("");
  KBestRounding<double> search(5, 4);
  std::vector<std::int8_t> codes(5);
  CHECK(!search.run(5, 4, problem.factor.data(), 5, problem.targets.data(), problem.pointers.data(), codes.data()));
  CHECK(search.run(0, 4, problem.factor.data(), 5, problem.targets.data(), problem.pointers.data(), codes.data()));
}

}  // namespace

int main() {
  pinBlasToOneThread();
  oneAnswerIsNearestPlane();
  allAnswersHoldTheOptimum();
  moreAnswersHelpOnAverage();
  hostile();
  return report();
}
