// The paper's claims about the pre-processing, on hundreds of random and adversarial layers.
#include <doctest/doctest.h>

#include <cmath>

#include "calibration/calibration_rows.h"
#include "layer.h"
#include "linalg/blas.h"
#include "test_data.h"

using namespace vertexq;
using namespace vertexq::testing;

namespace {

struct Case {
  std::string kind;
  std::size_t m, n;
  Grid grid;
  int levels;
  Box box;
  std::size_t groupSize;
  const LevelTable* table = nullptr;
};

void checkCase(const Case& c, std::mt19937_64& random) {
  const std::size_t neurons = 3;
  const Matrix x = data(c.kind, random, c.m, c.n);
  std::vector<double> w = normals(random, neurons * c.n);
  for (std::size_t i = 0; i < c.n; ++i) w[2 * c.n + i] = i % 5 == 0 ? 1.5 : -0.25 * static_cast<double>(i % 4);  // ties
  const Weights weights{w.data(), neurons, c.n};
  JobControl control;
  const AlphabetOptions options{c.grid, c.levels, c.groupSize, ScalePrecision::Float64, c.table};
  const Walked walked = walkLayer(weights, x, options, c.box, {}, 2, control);
  const Rounded rounded = roundWalked(walked, options);
  const std::size_t groups = groupsOf(c.n, c.groupSize);

  CHECK(walked.rank <= std::min(c.m, c.n));
  for (std::size_t k = 0; k < neurons; ++k) {
    const double* walkedWeights = walked.weights.column(k);
    CHECK(walked.free[k].size() <= walked.rank);
    std::vector<bool> isFree(c.n);
    for (int i : walked.free[k]) isFree[static_cast<std::size_t>(i)] = true;
    std::vector<double> q(c.n);
    for (std::size_t i = 0; i < c.n; ++i) {
      const Alphabet& a = walked.alphabets[k * groups + i / c.groupSize];
      CHECK((walkedWeights[i] >= a.lowest() && walkedWeights[i] <= a.highest()));
      const Alphabet::Cell cell = a.cell(weights.neuron(k)[i]);
      const bool onBound = c.box == Box::Cell ? walkedWeights[i] == cell.low || walkedWeights[i] == cell.high
                                              : walkedWeights[i] == a.lowest() || walkedWeights[i] == a.highest();
      CHECK((onBound || isFree[i] || (c.box == Box::Saturate && a.contains(walkedWeights[i]))));
      if (c.box == Box::Cell) CHECK((walkedWeights[i] >= cell.low && walkedWeights[i] <= cell.high));
      q[i] = a.level(rounded.codes[k * c.n + i]);
      if (!isFree[i]) CHECK(q[i] == walkedWeights[i]);
    }
    double error, signal;
    residual(x, weights.neuron(k), walkedWeights, error, signal);
    if (signal > 0) CHECK_LE(error / signal, 1e-9);
    residual(x, weights.neuron(k), q.data(), error, signal);
    CHECK_LE(error, walked.bound[k] * (1 + 1e-12));
  }
}

void vertices() {
  std::mt19937_64 random(7);
  const std::size_t sizes[][2] = {{1, 1}, {1, 7}, {4, 37}, {16, 64}, {30, 31}, {40, 40}, {60, 30}, {33, 200}};
  for (const std::string& kind : kinds())
    for (const auto& size : sizes)
      for (const Box box : {Box::Saturate, Box::Cell}) {
        const std::size_t n = size[1];
        checkCase({kind, size[0], n, Grid::ZeroFree, 2, box, n}, random);
        checkCase({kind, size[0], n, Grid::Integer, 3, box, n}, random);
        checkCase({kind, size[0], n, Grid::ZeroFree, 4, box, 16}, random);
        checkCase({kind, size[0], n, Grid::Asymmetric, 16, box, 32}, random);
        checkCase({kind, size[0], n, Grid::Minimum, 8, box, 32}, random);
        checkCase({kind, size[0], n, Grid::Table, 16, box, 32, &kUnevenTable}, random);
      }
}

void largeAndIllConditioned() {
  std::mt19937_64 random(8);
  for (const char* kind : {"gaussian", "graded", "bad scale", "low rank"})
    checkCase({kind, 200, 500, Grid::Asymmetric, 8, Box::Cell, 500}, random);
}

void threadsDoNotMatter() {
  std::mt19937_64 random(9);
  const Matrix x = data("gaussian", random, 40, 120);
  const std::vector<double> w = normals(random, 130 * 120);
  std::vector<double> first;
  for (unsigned threads : {1u, 2u, 7u}) {
    JobControl control;
    const Walked walked = walkLayer({w.data(), 130, 120}, x, {Grid::ZeroFree, 4, 120, ScalePrecision::Float64},
                                    Box::Cell, {}, threads, control);
    std::vector<double> all(walked.weights.data(), walked.weights.data() + 130 * 120);
    all.insert(all.end(), walked.bound.begin(), walked.bound.end());
    all.push_back(walked.relativeResidual);
    if (first.empty()) first = all;
    CHECK(all == first);
    CHECK((control.done() == 130 && control.total() == 130));
  }
}

void tinyRanks() {
  std::mt19937_64 random(11);
  for (int trial = 0; trial < 2000; ++trial) {
    const std::size_t m = 2 + static_cast<std::size_t>(trial) % 3;
    const std::vector<double> a = normals(random, m);
    Matrix x(m, 3);
    for (std::size_t j = 0; j < 3; ++j)
      for (std::size_t i = 0; i < m; ++i) x(i, j) = a[i];
    CHECK(tableauOf(x).rank() == 1);
  }
}

void fewerDirections() {
  std::mt19937_64 random(10);
  Matrix x = data("gaussian", random, 300, 60);
  for (std::size_t j = 0; j < 60; ++j)
    for (std::size_t i = 0; i < 300; ++i) x(i, j) /= static_cast<double>(j + 1);
  const std::vector<double> w = normals(random, 4 * 60);
  for (const RankRule rule : {RankRule{RankRule::Kind::AtMost, 20}, RankRule{RankRule::Kind::Auto, 0}}) {
    JobControl control;
    const Walked walked = walkLayer({w.data(), 4, 60}, x, {Grid::Asymmetric, 8, 60, ScalePrecision::Float64}, Box::Cell,
                                    rule, 1, control);
    CHECK((rule.kind == RankRule::Kind::Auto ? walked.rank > 0 && walked.rank < 60 : walked.rank == 20));
    const Rounded rounded = roundWalked(walked, {Grid::Asymmetric, 8, 60});
    for (std::size_t k = 0; k < 4; ++k) {
      CHECK(walked.free[k].size() <= walked.rank);
      std::vector<double> q(60);
      for (std::size_t i = 0; i < 60; ++i) q[i] = walked.alphabets[k].level(rounded.codes[k * 60 + i]);
      double error, signal;
      residual(x, w.data() + k * 60, q.data(), error, signal);
      CHECK_LE(error, walked.bound[k]);
    }
  }
}

void hostile() {
  const std::vector<double> nan = {1, std::nan("")};
  const std::vector<double> huge = {1e300, -1e300};
  Matrix x(1, 2);
  x(0, 0) = x(0, 1) = 1;
  JobControl control;
  CHECK_THROWS_AS(
      [&] {
        walkLayer({nan.data(), 1, 2}, x, {Grid::ZeroFree, 2, 2, ScalePrecision::Float64}, Box::Cell, {}, 1, control);
      }(),
      Error);
  CHECK_THROWS_AS(
      [&] {
        walkLayer({huge.data(), 1, 2}, x, {Grid::ZeroFree, 2, 2, ScalePrecision::Float32}, Box::Cell, {}, 1, control);
      }(),
      Error);
  control.cancel();
  const std::vector<double> w = {1, 2};
  CHECK_THROWS_AS(
      [&] {
        walkLayer({w.data(), 1, 2}, x, {Grid::ZeroFree, 2, 2, ScalePrecision::Float64}, Box::Cell, {}, 1, control);
      }(),
      Cancelled);
}

}  // namespace

TEST_CASE("vertices") { vertices(); }
TEST_CASE("large and ill conditioned") { largeAndIllConditioned(); }
TEST_CASE("threads do not matter") { threadsDoNotMatter(); }
TEST_CASE("tiny ranks") { tinyRanks(); }
TEST_CASE("fewer directions") { fewerDirections(); }
TEST_CASE("hostile") { hostile(); }
