// Scales: alphabets of given steps, the error decomposition, the search over groups and the refit against plain loops.
#include <doctest/doctest.h>

#include <cmath>

#include "decode/damping.h"
#include "decode_test_data.h"
#include "linalg/blas.h"
#include "scales/group_search.h"
#include "scales/neuron_block.h"
#include "scales/refit.h"

using namespace vertexq;
using namespace vertexq::testing;

namespace {

/** Errors in float32 against float64, relative: sums of squares of centres that are sums of N products. */
constexpr double kFloatError = 2e-3;

void stepsGiveBackCoveringAlphabets() {
  std::mt19937_64 random(51);
  for (const GridChoice& choice : gridChoices())
    for (int trial = 0; trial < 50; ++trial) {
      const std::vector<double> v = normals(random, 2);
      const double scale = std::pow(10.0, trial % 9 - 4);
      const Alphabet a = Alphabet::covering(choice, scale * std::min(v[0], v[1]), scale * std::max(v[0], v[1]),
                                            ScalePrecision::Float32);
      const Alphabet b = Alphabet::withStep(choice, a.step(), a.zeroPoint(), ScalePrecision::Float32);
      CHECK(
          (a.minCode() == b.minCode() && a.maxCode() == b.maxCode() && b.maxCode() - b.minCode() == choice.levels - 1));
      CHECK((a.step() == b.step() && a.zeroPoint() == b.zeroPoint()));
      for (int code = a.minCode(); code <= a.maxCode(); ++code) {
        CHECK(a.level(code) == b.level(code));
        if (choice.table)
          CHECK(b.level(code) == (*choice.table)[static_cast<std::size_t>(code)] * b.step());
        else if (choice.grid == Grid::Minimum)
          CHECK(b.level(code) == code * b.step() + b.minimum());
        else
          CHECK(b.level(code) == (code - b.zeroPoint()) * b.step());
      }
    }
  // Zero codes beyond the alphabet's own are brought back; the other kinds have no choice.
  CHECK(Alphabet::withStep({Grid::Asymmetric, 4}, 1, 9).zeroPoint() == 1);
  CHECK(Alphabet::withStep({Grid::Asymmetric, 4}, 1, -9).zeroPoint() == -2);
  CHECK(Alphabet::withStep({Grid::ZeroFree, 4}, 1, 9).zeroPoint() == -0.5);
  CHECK(Alphabet::withStep({Grid::Integer, 7}, 1, 9).zeroPoint() == 0);
  CHECK(Alphabet::withStep({Grid::Integer, 7}, 0, 0).level(3) == 0);
}

/** A loaded block, and its weights and H in the block's own units for the reference. */
struct Problem {
  Problem(std::mt19937_64& random, const std::string& kind, std::size_t n, std::size_t neurons, GridChoice choice,
          std::size_t groupSize, double scale)
      : layer(random, n, neurons, choice, groupSize, scale),
        h(damped(gramOf(data(kind, random, 2 * n + 3, n)), 0.01)),
        system(h, groupSize, 1, control),
        block(system, {choice.grid, choice.levels, groupSize, ScalePrecision::Float32, choice.table}),
        unit(h) {
    block.load({layer.weights.data(), neurons, n}, 0, neurons);
    for (std::size_t i = 0; i < n * n; ++i) unit.data()[i] *= system.scale();
  }
  double errorOf(const Attempt& attempt, std::size_t l) const {
    const std::size_t n = layer.inputs;
    std::vector<double> w(n), q(n);
    for (std::size_t i = 0; i < n; ++i) {
      w[i] = block.weights(l)[i];
      q[i] = block.view(attempt).of(l, i).level(attempt.codes[i + l * n]);
      CHECK(static_cast<float>(q[i]) == attempt.values[i + l * n]);
    }
    return reference::outputError(unit, w.data(), q.data());
  }

  JobControl control;
  TestLayer layer;
  Matrix h;
  RoundingSystem system;
  NeuronBlock block;
  Matrix unit;
};

void agreesWithin(double a, double b, double tolerance) {
  CHECK_LE(std::abs(a - b), tolerance * std::max(a, b) + 1e-9);
}

void searchesAndRefits() {
  std::mt19937_64 random(52);
  const std::vector<GridChoice> grids = gridChoices();
  std::size_t round = 0;
  for (const std::string& kind : kinds())
    for (const std::size_t n : {1u, 2u, 37u, 90u})
      for (const std::size_t groupSize : {std::size_t(16), n}) {
        const GridChoice choice = grids[++round % grids.size()];
        const double scale = round % 5 == 0 ? 1e-12 : round % 5 == 1 ? 1e12 : 1;
        Problem p(random, kind, n, 7, choice, std::min(groupSize, n), scale);
        Attempt covering = p.block.blank();
        p.block.decode(p.system.grouped(), covering, p.control);
        Attempt searched;
        GroupSearch(p.block, {}).run(searched, p.control);
        Attempt refitted = searched;
        ScaleRefit(p.block).run(refitted, p.control);
        for (std::size_t l = 0; l < 7; ++l) {
          agreesWithin(covering.errors[l], p.errorOf(covering, l), kFloatError);
          agreesWithin(searched.errors[l], p.errorOf(searched, l), kFloatError);
          agreesWithin(refitted.errors[l], p.errorOf(refitted, l), kFloatError);
          // With one group the covering alphabet was tried as a whole.
          if (p.block.groups() == 1) CHECK_LE(searched.errors[l], covering.errors[l] * (1 + kFloatError) + 1e-9);
          CHECK_LE(refitted.errors[l], searched.errors[l] * (1 + kFloatError) + 1e-9);
          for (const Alphabet& a : refitted.alphabets) CHECK((a.step() >= 0 && std::isfinite(a.step())));
          for (std::size_t g = 0; g < p.block.groups(); ++g) {
            const Alphabet a = p.block.original(l, refitted.alphabets[l * p.block.groups() + g]);
            CHECK(static_cast<double>(static_cast<float>(a.step())) == a.step());
          }
        }
      }
}

/** After a refit no step can be changed for the better with the codes held: the gradient by each step is 0. */
void refitIsStationary() {
  std::mt19937_64 random(53);
  for (const GridChoice choice : {GridChoice{Grid::Asymmetric, 4},
                                  {Grid::ZeroFree, 8},
                                  {Grid::Integer, 15},
                                  {Grid::FullRange, 16},
                                  {Grid::Minimum, 4},
                                  {Grid::Minimum, 16},
                                  {Grid::Table, 16, &kUnevenTable}}) {
    Problem p(random, "gaussian", 60, 5, choice, 16, 1);
    Attempt attempt;
    GroupSearch(p.block, {}).run(attempt, p.control);
    ScaleRefit refit(p.block);
    for (int k = 0; k < 2; ++k) refit.run(attempt, p.control);
    for (std::size_t l = 0; l < 5; ++l)
      for (std::size_t g = 0; g < p.block.groups(); ++g)
        for (const double factor : {0.99, 1.01}) {
          Attempt moved = attempt;
          Alphabet& a = moved.alphabets[l * p.block.groups() + g];
          a = p.block.withStep(l, a.step() * factor, a.zeroPoint());
          p.block.revalue(moved);
          CHECK_LE(p.errorOf(attempt, l), p.errorOf(moved, l) * (1 + 1e-6));
          if (choice.grid != Grid::Minimum) continue;
          moved = attempt;  // nor the minimum
          a = p.block.withStep(l, a.step(), a.zeroPoint() + factor - 1);
          p.block.revalue(moved);
          CHECK_LE(p.errorOf(attempt, l), p.errorOf(moved, l) * (1 + 1e-6));
        }
  }
}

/** On data with a falling spectrum the search must be worth its time. */
void searchGains() {
  std::mt19937_64 random(54);
  for (const std::size_t groupSize : {64u, 16u}) {
    Problem p(random, "graded", 64, 40, {Grid::Asymmetric, 4}, groupSize, 1);
    Attempt covering = p.block.blank(), searched;
    p.block.decode(p.system.natural(), covering, p.control);
    GroupSearch(p.block, {}).run(searched, p.control);
    double before = 0, after = 0;
    for (const double e : covering.errors) before += e;
    for (const double e : searched.errors) after += e;
    CHECK_LE(after, 0.7 * before);
  }
}

}  // namespace

TEST_CASE("steps give back covering alphabets") { stepsGiveBackCoveringAlphabets(); }
TEST_CASE("searches and refits") { searchesAndRefits(); }
TEST_CASE("refit is stationary") { refitIsStationary(); }
TEST_CASE("search gains") { searchGains(); }
