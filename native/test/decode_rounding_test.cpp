// Successive rounding: GPTQ and GPFQ against the papers' own loops, and every code the nearest to its centre.
#include <doctest/doctest.h>

#include <limits>
#include <numeric>

#include "decode/coefficients.h"
#include "decode/damping.h"
#include "decode/successive_rounding.h"
#include "decode_test_data.h"
#include "error.h"
#include "linalg/blas.h"

using namespace vertexq;
using namespace vertexq::testing;

namespace {

template <typename Real>
struct Decoded {
  std::vector<std::int8_t> codes;
  std::vector<Real> values;
};

template <typename Real>
Decoded<Real> decode(const Coefficients<Real>& coefficients, const std::vector<double>& weights,
                     const LayerAlphabets& alphabets, const Real* centres = nullptr, unsigned threads = 1) {
  const std::vector<Real> w = castTo<Real>(weights);
  Decoded<Real> out{std::vector<std::int8_t>(w.size()), std::vector<Real>(w.size())};
  RoundingTask<Real> task;
  task.weights = w.data();
  task.centres = centres;
  task.neurons = w.size() / alphabets.inFeatures;
  task.alphabets = alphabets;
  task.codes = out.codes.data();
  task.values = out.values.data();
  JobControl control;
  successiveRounding(coefficients, task, threads, control);
  CHECK(control.done() == task.neurons);
  return out;
}

/** Values that are hard to round: levels, middles between them, their neighbours, far outside. */
template <typename Real>
std::vector<double> hardValues(const Alphabet& a) {
  std::vector<double> values = {0, 1e-30, -1e-30, 1e30, -1e30};
  for (int code = a.nearest(a.lowest()); code <= a.nearest(a.highest()); ++code) {
    const Real level = static_cast<Real>(a.level(code));
    const Real middle = static_cast<Real>((a.level(code) + a.level(std::min(code + 1, a.maxCode()))) / 2);
    for (const Real v : {level, middle})
      for (const Real to : {-std::numeric_limits<Real>::max(), v, std::numeric_limits<Real>::max()})
        values.push_back(std::nextafter(v, to));
  }
  return values;
}

/** With nothing to compensate (H = I), the codes are Alphabet::nearest's to the last tie. */
template <typename Real>
void identityIsNearest(ScalePrecision precision) {
  for (const GridChoice choice : gridChoices())
    for (const double bound : {1.0, 0.7, 1.0 / 3, 1e-20, 1e20, 0.0}) {
      // All of the 130 neurons of an alphabet, so that a block is not full, and hardValues() around in them.
      const Alphabet a = Alphabet::covering(choice, -0.6 * bound, bound, precision);
      const std::vector<double> hard = hardValues<Real>(a);
      const std::size_t n = 3, neurons = (hard.size() + n - 1) / n;
      std::vector<double> weights(n * neurons);
      std::copy(hard.begin(), hard.end(), weights.begin());
      const std::vector<Alphabet> list(neurons, a);
      Coefficients<Real> none;
      none.m = BasicMatrix<Real>(n, n);
      none.order = {2, 0, 1};
      const Decoded<Real> out = decode(none, weights, {list.data(), n, n});
      for (std::size_t i = 0; i < weights.size(); ++i) {
        const int code = a.nearest(static_cast<Real>(weights[i]));
        CHECK(out.codes[i] == code);
        // A step that is no float32 number makes a float32 level that is off by a rounding.
        const double slack = sizeof(Real) == 4 && precision == ScalePrecision::Float64 ? 2e-7 : 0;
        if (choice.grid == Grid::Minimum) {
          CHECK(out.values[i] == static_cast<Real>(a.level(code)));
          continue;
        }
        CHECK_LE(std::abs(out.values[i] - static_cast<Real>(a.level(code))), slack * std::abs(a.level(code)));
      }
    }
}

/** A minimum that is many steps away, and further than float32 counts: places are Alphabet::nearest's. */
template <typename Real>
void farMinima() {
  for (const double step : {1e-3, 1e-7, 1e-45}) {
    const Alphabet a = Alphabet::withStep({Grid::Minimum, 16}, step, -7.0 / step, ScalePrecision::Float32);
    CHECK(a.minimum() == 7);
    std::vector<double> weights;
    for (int code = 0; code < 16; ++code)
      for (const double part : {0.0, 0.3, 0.7}) weights.push_back(static_cast<Real>(a.level(code) + part * step));
    weights.insert(weights.end(), {-1e9, 1e9, 0});
    const std::size_t neurons = weights.size() / 3;
    const std::vector<Alphabet> list(neurons, a);
    Coefficients<Real> none;
    none.m = BasicMatrix<Real>(3, 3);
    none.order = {0, 1, 2};
    const Decoded<Real> out = decode(none, weights, {list.data(), 3, 3});
    for (std::size_t i = 0; i < weights.size(); ++i) {
      CHECK(out.codes[i] == a.nearest(weights[i]));
      CHECK(out.values[i] == static_cast<Real>(a.level(out.codes[i])));
    }
  }
}

/** Each code is the nearest to the centre that the codes before it make, whatever the data. */
template <typename Real>
void everyCodeIsNearest(double tolerance) {
  std::mt19937_64 random(11);
  const std::vector<GridChoice> grids = gridChoices();
  std::size_t round = 0;
  for (const std::string& kind : kinds())
    for (const std::size_t n : {1u, 31u, 64u, 150u})
      for (const bool gpfq : {false, true}) {
        const GridChoice choice = grids[++round % grids.size()];
        const std::size_t groupSize = round % 3 == 0 ? n : std::min<std::size_t>(n, 7);
        const TestLayer layer(random, n, 9, choice, groupSize);
        const auto h = castTo<Real>(gramOf(data(kind, random, 50, n)));
        const DecodeOrder order = round % 2 ? DecodeOrder::Activation : DecodeOrder::Natural;
        const auto c = gpfq ? gpfqCoefficients(h, order) : nearestPlaneCoefficients(h, 0.01, order, 1, JobControl());
        const Decoded<Real> out = decode(c, layer.weights, layer.alphabets);
        for (std::size_t k = 0; k < layer.neurons; ++k) {
          const double* w = &layer.weights[k * n];
          const Real* q = &out.values[k * n];
          for (std::size_t i = 0; i < n; ++i) {
            const auto input = static_cast<std::size_t>(c.order[i]);
            double centre = w[input], size = std::abs(w[input]);
            for (std::size_t p = 0; p < i; ++p) {
              const double term = c.m(p, i) * (q[c.order[p]] - w[c.order[p]]);
              centre -= term;
              size += std::abs(term);
            }
            const Alphabet& a = layer.alphabets.of(k, input);
            CHECK(isNearest(a, q[input], centre, tolerance * (1 + size / std::max(a.step(), 1e-9))));
            CHECK(q[input] == static_cast<Real>(a.level(out.codes[k * n + input])));
          }
        }
      }
}

/** The three forms agree: GPTQ with its inverse, Babai along the factor, the blocked kernel. */
template <typename Real>
void matchGptq(double tolerance) {
  std::mt19937_64 random(12);
  double fastError = 0, referenceError = 0;
  std::size_t different = 0, all = 0;
  for (const std::size_t n : {1u, 5u, 67u, 130u})
    for (const DecodeOrder kind : {DecodeOrder::Natural, DecodeOrder::Activation}) {
      const TestLayer layer(random, n, 6, {Grid::Asymmetric, 8}, std::min<std::size_t>(n, 32));
      const Matrix x = gaussian(random, 200, n);
      const Matrix h = gramOf(x), hDamped = damped(h, 0.01);
      const auto c = nearestPlaneCoefficients(castTo<Real>(h), 0.01, kind, 1, JobControl());
      const Decoded<Real> out = decode(c, layer.weights, layer.alphabets);
      const Matrix m = reference::nearestPlaneCoefficients(hDamped, c.order);
      for (std::size_t k = 0; k < layer.neurons; ++k) {
        const reference::Neuron neuron = layer.neuron(k);
        const std::vector<double> paper = reference::gptq(hDamped, c.order, neuron);
        CHECK(paper == reference::successiveRounding(m, c.order, neuron));
        const std::vector<double> fast(&out.values[k * n], &out.values[k * n] + n);
        for (std::size_t i = 0; i < n; ++i) different += static_cast<Real>(paper[i]) != static_cast<Real>(fast[i]);
        all += n;
        fastError += reference::outputError(h, neuron.weights, fast.data());
        referenceError += reference::outputError(h, neuron.weights, paper.data());
      }
    }
  CHECK_LE(std::abs(fastError - referenceError), tolerance * referenceError);
  CHECK_LE(static_cast<double>(different), tolerance * static_cast<double>(all));
}

template <typename Real>
void matchGpfq(double tolerance) {
  std::mt19937_64 random(13);
  std::size_t different = 0, all = 0;
  for (const char* kind : {"gaussian", "zero columns", "duplicated columns", "zero"})
    for (const bool corrected : {false, true}) {
      const std::size_t n = 70, m = 25;
      const TestLayer layer(random, n, 7, {Grid::ZeroFree, 4}, 16);
      const Matrix quantized = data(kind, random, m, n);
      Matrix x = quantized;
      const Matrix noise = gaussian(random, m, n);
      for (std::size_t i = 0; corrected && i < m * n; ++i) x.data()[i] += 0.1 * noise.data()[i];
      const auto h = castTo<Real>(gramOf(quantized));
      const auto c = gpfqCoefficients(h, DecodeOrder::Natural);
      BasicMatrix<Real> centres;
      if (corrected) {
        Matrix cross(n, n);
        for (std::size_t j = 0; j < n; ++j)
          for (std::size_t i = 0; i < n; ++i)
            for (std::size_t s = 0; s < m; ++s) cross(i, j) += quantized(s, i) * x(s, j);
        const std::vector<Real> w = castTo<Real>(layer.weights);
        centres = gpfqCentres(h, castTo<Real>(cross), c, w.data(), layer.neurons);
      }
      const Decoded<Real> out = decode(c, layer.weights, layer.alphabets, corrected ? centres.data() : nullptr);
      for (std::size_t k = 0; k < layer.neurons; ++k) {
        const std::vector<double> paper = reference::gpfq(x, quantized, layer.neuron(k));
        for (std::size_t i = 0; i < n; ++i)
          different += static_cast<Real>(paper[i]) != static_cast<Real>(out.values[k * n + i]);
        all += n;
      }
    }
  CHECK_LE(static_cast<double>(different), tolerance * static_cast<double>(all));
}

template <typename Real>
void sameBytesForAnyThreads() {
  std::mt19937_64 random(14);
  const std::size_t n = 130;
  const TestLayer layer(random, n, 1000, {Grid::Integer, 15}, 32);
  const auto h = castTo<Real>(gramOf(gaussian(random, 300, n)));
  const auto c = nearestPlaneCoefficients(h, 0.003, DecodeOrder::Activation, 1, JobControl());
  const Decoded<Real> one = decode(c, layer.weights, layer.alphabets);
  for (const unsigned threads : {2u, 7u}) {
    const Decoded<Real> many = decode<Real>(c, layer.weights, layer.alphabets, nullptr, threads);
    CHECK(one.codes == many.codes);
    CHECK(one.values == many.values);
  }
}

void refusals() {
  std::mt19937_64 random(15);
  const TestLayer layer(random, 10, 3, {Grid::Integer, 15}, 10);
  auto c = gpfqCoefficients(gramOf(gaussian(random, 30, 10)), DecodeOrder::Natural);
  std::vector<std::int8_t> codes(30);
  RoundingTask<double> task;
  task.weights = layer.weights.data();
  task.neurons = 3;
  task.alphabets = layer.alphabets;
  task.codes = codes.data();  // and no values
  JobControl control;
  successiveRounding(c, task, 1, control);
  CHECK(codes == decode(c, layer.weights, layer.alphabets).codes);
  control.cancel();
  CHECK_THROWS_AS([&] { successiveRounding(c, task, 1, control); }(), Cancelled);
  c.m(2, 3) = std::nan("");
  std::string message;
  try {
    decode(c, layer.weights, layer.alphabets);
  } catch (const Error& error) {
    CHECK(error.code() == "ERR_VERTEXQ_NUMERIC");
    message = error.what();
  }
  CHECK(message.find("neuron 0, input 3") != std::string::npos);
}

}  // namespace

TEST_CASE("identity is nearest: double, ScalePrecision::Float32") {
  identityIsNearest<double>(ScalePrecision::Float32);
}
TEST_CASE("identity is nearest: double, ScalePrecision::Float64") {
  identityIsNearest<double>(ScalePrecision::Float64);
}
TEST_CASE("identity is nearest: float, ScalePrecision::Float32") { identityIsNearest<float>(ScalePrecision::Float32); }
TEST_CASE("identity is nearest: float, ScalePrecision::Float64") { identityIsNearest<float>(ScalePrecision::Float64); }
TEST_CASE("every code is nearest: double, 1e-12") { everyCodeIsNearest<double>(1e-12); }
TEST_CASE("every code is nearest: float, 1e-5") { everyCodeIsNearest<float>(1e-5); }
TEST_CASE("match gptq: double, 1e-9") { matchGptq<double>(1e-9); }
TEST_CASE("match gptq: float, 1e-2") { matchGptq<float>(1e-2); }
TEST_CASE("match gpfq: double, 1e-9") { matchGpfq<double>(1e-9); }
TEST_CASE("match gpfq: float, 1e-2") { matchGpfq<float>(1e-2); }
TEST_CASE("same bytes for any threads: double") { sameBytesForAnyThreads<double>(); }
TEST_CASE("same bytes for any threads: float") { sameBytesForAnyThreads<float>(); }
TEST_CASE("far minima") {
  farMinima<float>();
  farMinima<double>();
}
TEST_CASE("refusals") { refusals(); }
