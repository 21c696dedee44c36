// Coordinate descent: the error never rises, no single change is left that helps.
#include <doctest/doctest.h>

#include "decode/coordinate_descent.h"
#include "decode/damping.h"
#include "decode_test_data.h"
#include "linalg/blas.h"

using namespace vertexq;
using namespace vertexq::testing;

namespace {

template <typename Real>
struct Descended {
  std::vector<Real> values;
  std::vector<std::int8_t> codes;
  std::vector<DescentOutcome> outcomes;
};

template <typename Real>
Descended<Real> descendFrom(const BasicMatrix<Real>& h, const TestLayer& layer, const std::vector<double>& start,
                            unsigned threads = 1) {
  Descended<Real> d{castTo<Real>(start), std::vector<std::int8_t>(start.size()), {}};
  for (std::size_t i = 0; i < start.size(); ++i)
    d.codes[i] = static_cast<std::int8_t>(layer.alphabets.of(i / layer.inputs, i % layer.inputs).nearest(start[i]));
  const std::vector<Real> w = castTo<Real>(layer.weights);
  JobControl control;
  d.outcomes = descend(h, w.data(), layer.neurons, layer.alphabets, d.codes.data(), d.values.data(), threads, control);
  CHECK(control.done() == layer.neurons);
  return d;
}

/** Plain rounding of every neuron, or every entry at a random level of its alphabet. */
std::vector<double> startOf(std::mt19937_64& random, const TestLayer& layer, bool wild) {
  std::vector<double> start;
  for (std::size_t k = 0; k < layer.neurons; ++k) {
    const std::vector<double> q = layer.rounded(k);
    start.insert(start.end(), q.begin(), q.end());
  }
  for (std::size_t i = 0; wild && i < start.size(); ++i) {
    const Alphabet& a = layer.alphabets.of(i / layer.inputs, i % layer.inputs);
    std::uniform_real_distribution<double> anywhere(a.lowest(), a.highest());
    start[i] = a.level(a.nearest(a.highest() > a.lowest() ? anywhere(random) : a.lowest()));
  }
  return start;
}

template <typename Real>
void neverRises(double tolerance) {
  std::mt19937_64 random(31);
  const std::vector<GridChoice> grids = gridChoices();
  std::size_t round = 0;
  double fastSum = 0, referenceSum = 0;
  for (const std::string& kind : kinds())
    for (const std::size_t n : {1u, 17u, 64u, 131u})
      for (const bool wild : {false, true}) {
        const GridChoice choice = grids[++round % grids.size()];
        // Undamped half of the time: then H is singular, and directions without cost invite cycles.
        const Matrix gram = gramOf(data(kind, random, 40, n));
        const auto h = castTo<Real>(round % 2 ? gram : damped(gram, 0.01));
        Matrix hWide(n, n);  // h itself, not what it was rounded from
        std::copy(h.data(), h.data() + n * n, hWide.data());
        const double scale = round % 5 == 0 ? 1e-12 : round % 5 == 1 ? 1e12 : 1;
        const TestLayer layer(random, n, 7, choice, round % 3 ? n : std::min<std::size_t>(n, 10), scale);
        std::vector<double> start = startOf(random, layer, wild);
        for (double& q : start) q = static_cast<Real>(q);
        const Descended<Real> d = descendFrom(h, layer, start);
        bool settled = true;
        for (std::size_t k = 0; k < layer.neurons; ++k) {
          const double* w = &layer.weights[k * n];
          const std::vector<double> q(&d.values[k * n], &d.values[k * n] + n);
          const double before = reference::outputError(hWide, w, &start[k * n]);
          const double after = reference::outputError(hWide, w, q.data());
          const DescentOutcome& outcome = d.outcomes[k];
          CHECK_LE(after, before);
          CHECK((outcome.changes == 0 || after < before));
          // Along the valley of a singular H a fine alphabet takes many small changes: there their bound may end it.
          CHECK((outcome.converged || (choice.levels >= 32 && outcome.changes == kMostDescentChanges * n)));
          settled = settled && outcome.converged;
          CHECK_LE(std::abs(before - after - outcome.decrease), tolerance * before);
          for (std::size_t i = 0; i < n; ++i)
            CHECK(q[i] == static_cast<Real>(layer.alphabets.of(k, i).level(d.codes[k * n + i])));
          // What is left to gain by one change is within the noise.
          double noise = 0;
          for (std::size_t i = 0; i < n; ++i) noise += std::sqrt(hWide(i, i)) * std::abs(q[i] - w[i]);
          for (std::size_t i = 0; outcome.converged && i < n; ++i) {
            if (!(hWide(i, i) > 0)) continue;
            double gradient = 0;
            for (std::size_t j = 0; j < n; ++j) gradient += hWide(i, j) * (q[j] - w[j]);
            const Alphabet& a = layer.alphabets.of(k, i);
            // Of one weight's group the levels may be nearer than numbers of Real are.
            if (a.step() < std::numeric_limits<Real>::epsilon() * std::abs(a.minimum())) continue;
            const double change = static_cast<Real>(a.level(a.nearest(q[i] - gradient / hWide(i, i)))) - q[i];
            const double gain = -(2 * gradient + hWide(i, i) * change) * change;
            CHECK_LE(gain, tolerance * std::abs(change) * std::sqrt(hWide(i, i)) *
                               (noise + std::sqrt(hWide(i, i)) * std::abs(change)));
          }
          if (scale != 1) continue;
          const std::vector<double> paper =
              reference::coordinateDescent(hWide, layer.neuron(k), {&start[k * n], &start[k * n] + n}, 100);
          fastSum += after;
          referenceSum += reference::outputError(hWide, w, paper.data());
        }
        if (!settled) continue;
        // A fixed point: nothing to do the second time.
        const std::vector<double> again(d.values.begin(), d.values.end());
        for (const DescentOutcome& outcome : descendFrom(h, layer, again).outcomes) CHECK(outcome.changes == 0);
      }
  // Best change first ends elsewhere than sweeps do, and not worse by much on the whole.
  CHECK_LE(fastSum, 1.05 * referenceSum);
}

template <typename Real>
void sameBytesForAnyThreads() {
  std::mt19937_64 random(32);
  const TestLayer layer(random, 100, 400, {Grid::Asymmetric, 8}, 32);
  const auto h = castTo<Real>(gramOf(gaussian(random, 120, 100)));
  const std::vector<double> start = startOf(random, layer, false);
  const Descended<Real> one = descendFrom(h, layer, start);
  for (const unsigned threads : {2u, 7u}) {
    const Descended<Real> many = descendFrom(h, layer, start, threads);
    CHECK((one.codes == many.codes && one.values == many.values));
  }
}

void cancels() {
  std::mt19937_64 random(33);
  const TestLayer layer(random, 10, 3, {Grid::Asymmetric, 8}, 10);
  const Matrix h = gramOf(gaussian(random, 20, 10));
  std::vector<double> values = startOf(random, layer, false);
  std::vector<std::int8_t> codes(30);
  JobControl control;
  control.cancel();
  CHECK_THROWS_AS(
      [&] { descend(h, layer.weights.data(), 3, layer.alphabets, codes.data(), values.data(), 1, control); }(),
      Cancelled);
}

}  // namespace

TEST_CASE("never rises: double, 1e-11") { neverRises<double>(1e-11); }
TEST_CASE("never rises: float, 1e-4") { neverRises<float>(1e-4); }
TEST_CASE("same bytes for any threads: double") { sameBytesForAnyThreads<double>(); }
TEST_CASE("same bytes for any threads: float") { sameBytesForAnyThreads<float>(); }
TEST_CASE("cancels") { cancels(); }
