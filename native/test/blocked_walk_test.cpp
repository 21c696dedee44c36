// The blocked walk against the plain one, in both forms and precisions, on random and adversarial tableaux.
#include "walk/blocked_walk.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "alphabet/scale_search.h"
#include "linalg/blas.h"
#include "reference/vertex_walk.h"
#include "test_data.h"

using namespace vertexq;
using namespace vertexq::testing;

namespace {

struct Neuron {
  std::vector<double> w, low, high;
};

enum class Boxes { Cell, Saturate, Groups };

Neuron neuronOf(std::vector<double> w, Boxes boxes, Grid grid, int levels) {
  const std::size_t n = w.size();
  Neuron neuron{w, std::vector<double>(n), std::vector<double>(n)};
  const std::size_t size = boxes == Boxes::Groups ? 16 : n;
  for (std::size_t first = 0; first < n; first += size) {
    const std::size_t count = std::min(size, n - first);
    const Alphabet a = coveringAlphabet({grid, levels}, w.data() + first, count, ScalePrecision::Float64);
    for (std::size_t i = first; i < first + count; ++i) {
      const Alphabet::Cell cell = boxes == Boxes::Saturate ? Alphabet::Cell{a.lowest(), a.highest()} : a.cell(w[i]);
      neuron.low[i] = cell.low;
      neuron.high[i] = cell.high;
    }
  }
  return neuron;
}

/** ‖T(ŵ - w)‖ / ‖T w‖, T = [I t] in the order of the tableau's columns. */
double relativeResidual(const Tableau& tableau, const std::vector<double>& w, const std::vector<double>& walked) {
  long double error = 0, signal = 0;
  for (std::size_t k = 0; k < tableau.rank(); ++k) {
    const auto first = static_cast<std::size_t>(tableau.columns[k]);
    long double e = static_cast<long double>(walked[first]) - w[first], s = w[first];
    for (std::size_t j = 0; j < tableau.entering(); ++j) {
      const auto i = static_cast<std::size_t>(tableau.columns[tableau.rank() + j]);
      e += tableau.t(k, j) * (static_cast<long double>(walked[i]) - w[i]);
      s += static_cast<long double>(tableau.t(k, j)) * w[i];
    }
    error += e * e;
    signal += s * s;
  }
  return signal > 0 ? static_cast<double>(std::sqrt(error / signal)) : static_cast<double>(error);
}

std::size_t offBounds(const Neuron& neuron, const std::vector<double>& walked) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < walked.size(); ++i) {
    CHECK((walked[i] >= neuron.low[i] && walked[i] <= neuron.high[i]));
    count += walked[i] == neuron.low[i] || walked[i] == neuron.high[i] ? 0 : 1;
  }
  return count;
}

/** What must hold of any vertex, whatever way led there. */
void checkVertex(const Tableau& tableau, const Neuron& neuron, const std::vector<double>& walked, double tolerance) {
  CHECK(offBounds(neuron, walked) <= tableau.rank());
  CHECK_LE(relativeResidual(tableau, neuron.w, walked), tolerance);
}

template <typename Real>
std::vector<double> walkOnce(BlockedWalk<Real>& walk, const Neuron& neuron) {
  std::vector<double> w = neuron.w;
  walk.run(w.data(), neuron.low.data(), neuron.high.data(), JobControl());
  return w;
}

FloatMatrix single(const Matrix& t) {
  FloatMatrix f(t.rows(), t.cols());
  std::copy_n(t.data(), t.rows() * t.cols(), f.data());
  return f;
}

void checkForms(const Tableau& tableau, const std::vector<Neuron>& neurons, bool generic) {
  const FloatMatrix t = single(tableau.t);
  reference::VertexWalk plain(tableau);
  for (const WalkForm form : {WalkForm::Auto, WalkForm::Tableau, WalkForm::Inverse}) {
    BlockedWalk<double> exact(tableau, tableau.t, form);
    BlockedWalk<float> rough(tableau, t, form);
    for (const Neuron& neuron : neurons) {
      std::vector<double> reference = neuron.w;
      plain.run(reference.data(), neuron.low.data(), neuron.high.data(), JobControl());
      const std::vector<double> walked = walkOnce(exact, neuron);
      checkVertex(tableau, neuron, reference, 1e-9);
      checkVertex(tableau, neuron, walked, 1e-9);
      checkVertex(tableau, neuron, walkOnce(rough, neuron), 2e-5);
      CHECK(walked == walkOnce(exact, neuron));  // workspace left by one neuron does not reach the next
      if (!generic) continue;
      // No ties, so there is one way to walk: the vertices are the same up to rounding.
      for (std::size_t i = 0; i < walked.size(); ++i) {
        const double width = neuron.high[i] - neuron.low[i];
        CHECK_LE(std::abs(walked[i] - reference[i]), 1e-8 * width);
        if (reference[i] == neuron.low[i] || reference[i] == neuron.high[i]) CHECK(walked[i] == reference[i]);
      }
    }
  }
}

void sameVertices() {
  std::mt19937_64 random(21);
  const std::size_t sizes[][2] = {{1, 2},    {1, 90},   {3, 200},   {8, 9},     {31, 97},
                                  {64, 128}, {65, 300}, {100, 131}, {150, 600}, {200, 260}};
  for (const auto& [rank, n] : sizes) {
    const Tableau tableau = tableauOf(gaussian(random, rank, n));
    std::vector<Neuron> neurons;
    neurons.push_back(neuronOf(normals(random, n), Boxes::Cell, Grid::Asymmetric, 8));
    neurons.push_back(neuronOf(normals(random, n), Boxes::Saturate, Grid::ZeroFree, 2));
    neurons.push_back(neuronOf(normals(random, n), Boxes::Groups, Grid::ZeroFree, 4));
    checkForms(tableau, neurons, true);
  }
}

void adversarial() {
  std::mt19937_64 random(22);
  for (const std::string& kind : kinds())
    for (const auto& [m, n] : {std::pair<std::size_t, std::size_t>{40, 150}, {90, 120}, {30, 500}, {300, 300}}) {
      const Tableau tableau = tableauOf(data(kind, random, m, n));
      std::vector<double> ties(n), equal(n, 0.3), huge = normals(random, n), tiny = huge;
      for (std::size_t i = 0; i < n; ++i) ties[i] = i % 5 == 0 ? 1.5 : -0.25 * static_cast<double>(i % 4);
      for (double& v : huge) v *= 1e140;
      for (double& v : tiny) v *= 1e-140;
      std::vector<Neuron> neurons;
      for (const Boxes boxes : {Boxes::Cell, Boxes::Saturate, Boxes::Groups})
        for (const auto& w : {normals(random, n), ties, equal, huge, tiny, std::vector<double>(n)})
          neurons.push_back(neuronOf(w, boxes, Grid::ZeroFree, 4));
      checkForms(tableau, neurons, false);
    }
}

/** Columns that nearly depend on each other make the smallest pivots; a walk of many columns piles up what they cost. */
void nearDependence() {
  std::mt19937_64 random(23);
  for (const double apart : {1e-3, 1e-8, 1e-14}) {
    Matrix x = gaussian(random, 60, 700);
    const std::vector<double> noise = normals(random, 60 * 700);
    for (std::size_t j = 0; j < 700; ++j)
      for (std::size_t i = 0; i < 60; ++i) x(i, j) = x(i, j % 70) + apart * noise[i + 60 * j];
    const Tableau tableau = tableauOf(x);
    std::vector<Neuron> neurons;
    for (int k = 0; k < 4; ++k) neurons.push_back(neuronOf(normals(random, 700), Boxes::Cell, Grid::Integer, 7));
    checkForms(tableau, neurons, false);
  }
}

void longWalk() {
  std::mt19937_64 random(24);
  const Tableau tableau = tableauOf(gaussian(random, 96, 4096));
  std::vector<Neuron> neurons;
  for (int k = 0; k < 2; ++k) neurons.push_back(neuronOf(normals(random, 4096), Boxes::Cell, Grid::Asymmetric, 8));
  const FloatMatrix t = single(tableau.t);
  BlockedWalk<double> exact(tableau, tableau.t);
  BlockedWalk<float> rough(tableau, t);
  for (const Neuron& neuron : neurons) {
    checkVertex(tableau, neuron, walkOnce(exact, neuron), 1e-9);
    checkVertex(tableau, neuron, walkOnce(rough, neuron), 2e-5);
  }
}

/** A tableau that no pivoted QR would give loses digits at every pivot: that is noticed and mended. */
void refactoring() {
  std::mt19937_64 random(25);
  std::size_t doubles = 0;
  for (int trial = 0; trial < 10; ++trial) {
    Tableau tableau{std::vector<int>(600), gaussian(random, 80, 520)};
    std::iota(tableau.columns.begin(), tableau.columns.end(), 0);
    const std::vector<double> exponents = normals(random, 80 * 520);
    for (std::size_t i = 0; i < 80 * 520; ++i) tableau.t.data()[i] *= std::pow(10.0, 2 * exponents[i]);
    const FloatMatrix t = single(tableau.t);
    const WalkForm form = trial % 2 == 0 ? WalkForm::Inverse : WalkForm::Tableau;
    BlockedWalk<float> rough(tableau, t, form);
    BlockedWalk<double> exact(tableau, tableau.t, form);
    const Neuron neuron = neuronOf(normals(random, 600), Boxes::Cell, Grid::Asymmetric, 8);
    checkVertex(tableau, neuron, walkOnce(exact, neuron), 1e-9);
    checkVertex(tableau, neuron, walkOnce(rough, neuron), 2e-5);
    CHECK((exact.refactorings() > 0 && rough.refactorings() > 0));
    doubles += rough.walkedInDouble();
  }
  CHECK(doubles > 0);
}

void workspace() {
  std::mt19937_64 random(26);
  for (const auto& [rank, n] : {std::pair<std::size_t, std::size_t>{256, 512}, {384, 512}, {512, 1024}, {256, 2048}}) {
    const Tableau tableau = tableauOf(gaussian(random, rank, n));
    BlockedWalk<double> walk(tableau, tableau.t);
    walkOnce(walk, neuronOf(normals(random, n), Boxes::Cell, Grid::Asymmetric, 8));
    const auto r = static_cast<double>(rank);
    CHECK_LE(static_cast<double>(walk.bytes()) / sizeof(double),
             (n - rank > rank ? 1 : 3) * r * r + 400 * r + 12.0 * static_cast<double>(n));
  }
}

void cancelled() {
  std::mt19937_64 random(27);
  const Tableau tableau = tableauOf(gaussian(random, 20, 100));
  BlockedWalk<double> walk(tableau, tableau.t);
  Neuron neuron = neuronOf(normals(random, 100), Boxes::Cell, Grid::Asymmetric, 8);
  JobControl control;
  control.cancel();
  CHECK_THROWS_AS([&] { walk.run(neuron.w.data(), neuron.low.data(), neuron.high.data(), control); }(), Cancelled);
}

}  // namespace

TEST_CASE("same vertices") { sameVertices(); }
TEST_CASE("adversarial") { adversarial(); }
TEST_CASE("near dependence") { nearDependence(); }
TEST_CASE("long walk") { longWalk(); }
TEST_CASE("refactoring") { refactoring(); }
TEST_CASE("workspace") { workspace(); }
TEST_CASE("cancelled") { cancelled(); }
