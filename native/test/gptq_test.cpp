// The strongest GPTQ: never worse than GPTQ as shipped or plain rounding, on any layer; deterministic; cancellable.
#include "method/gptq.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>

#include "alphabet/scale_search.h"
#include "decode/coefficients.h"
#include "decode/damping.h"
#include "decode/successive_rounding.h"
#include "decode_test_data.h"
#include "error.h"
#include "linalg/blas.h"

using namespace vertexq;
using namespace vertexq::testing;

namespace {

/** Room for the rounding of float64 sums over N products, and of centres in float32 that decide near ties. */
constexpr double kSlack = 1e-6;

GptqOptions optionsFor(GridChoice choice, std::size_t groupSize) {
  GptqOptions options;
  options.alphabets = {choice.grid, choice.levels, groupSize, ScalePrecision::Float32, choice.table};
  return options;
}

/** Covering scales, natural order, float64. */
std::vector<double> shipped(const TestLayer& layer, const Matrix& h, GridChoice choice, std::size_t groupSize) {
  const std::size_t n = layer.inputs;
  std::vector<Alphabet> list;
  for (std::size_t k = 0; k < layer.neurons; ++k)
    for (std::size_t first = 0; first < n; first += groupSize)
      list.push_back(coveringAlphabet(choice, &layer.weights[k * n + first], std::min(groupSize, n - first),
                                      ScalePrecision::Float32));
  const LayerAlphabets alphabets{list.data(), n, groupSize};
  const auto coefficients = nearestPlaneCoefficients(h, 0, DecodeOrder::Natural, 1, JobControl());
  std::vector<double> errors;
  for (std::size_t k = 0; k < layer.neurons; ++k) {
    const std::vector<double> q =
        reference::successiveRounding(coefficients.m, coefficients.order, {&layer.weights[k * n], alphabets, k});
    errors.push_back(reference::outputError(h, &layer.weights[k * n], q.data()));
  }
  return errors;
}

void checkResult(const TestLayer& layer, const Matrix& h, const GptqResult& r, std::size_t groupSize) {
  const std::size_t n = layer.inputs;
  const LayerAlphabets alphabets{r.alphabets.data(), n, groupSize};
  CHECK(r.alphabets.size() == layer.neurons * alphabets.groups());
  for (const Alphabet& a : r.alphabets) {
    CHECK((a.step() >= 0 && std::isfinite(a.step())));
    CHECK(static_cast<double>(static_cast<float>(a.step())) == a.step());
    CHECK(static_cast<double>(static_cast<float>(a.minimum())) == a.minimum());
  }
  for (std::size_t k = 0; k < layer.neurons; ++k) {
    const double* w = &layer.weights[k * n];
    std::vector<double> plain(n);
    double largest = 0;
    for (std::size_t i = 0; i < n; ++i) {
      const Alphabet& a = alphabets.of(k, i);
      const int code = r.codes[k * n + i];
      CHECK((code >= a.minCode() && code <= a.maxCode() && r.values[k * n + i] == a.level(code)));
      plain[i] = a.level(a.nearest(w[i]));
      largest = std::max(largest, std::abs(w[i]));
    }
    const double error = reference::outputError(h, w, &r.values[k * n]);
    CHECK_LE(std::abs(error - r.errors[k]), 1e-9 * error + 1e-12 * largest * largest * h(0, 0));
    CHECK_LE(error, reference::outputError(h, w, plain.data()) * (1 + kSlack));
    if (largest == 0) CHECK(error == 0);
  }
}

void neverWorse() {
  std::mt19937_64 random(61);
  const std::vector<GridChoice> grids = gridChoices();
  std::size_t round = 0;
  for (const std::string& kind : kinds())
    for (const std::size_t n : {1u, 3u, 31u, 64u, 97u})
      for (const std::size_t samples : {n / 2 + 1, 2 * n}) {
        const GridChoice choice = grids[++round % grids.size()];
        const std::size_t groupSize = round % 3 == 0 ? n : std::min<std::size_t>(n, round % 3 == 1 ? 16 : 23);
        const double scale = round % 5 == 0 ? 1e-12 : round % 5 == 1 ? 1e12 : 1;
        const TestLayer layer(random, n, 6, choice, groupSize, scale);
        const Matrix h = damped(gramOf(data(kind, random, samples, n)), round % 4 == 0 ? 1e-6 : 0.01);
        JobControl control;
        control.expect(layer.neurons);
        const GptqResult r = gptqLayer({layer.weights.data(), 6, n}, h, optionsFor(choice, groupSize), 1, control);
        CHECK(control.done() == control.total());
        checkResult(layer, h, r, groupSize);
        // Centres in float32 and float64 part at near ties, after which the roundings differ: compared where they agree
        // on the whole, in the sum over the neurons.
        double ours = 0, theirs = 0;
        for (const double e : r.errors) ours += e;
        for (const double e : shipped(layer, h, choice, groupSize)) theirs += e;
        CHECK_LE(ours, theirs * (1 + kSlack));
      }
}

/** Weights whose squares leave float32, steps among its denormals, neurons of very different size in one block. */
void extremeScales() {
  std::mt19937_64 random(62);
  const std::size_t n = 24;
  for (const GridChoice choice : {GridChoice{Grid::Asymmetric, 4}, {Grid::ZeroFree, 4}, {Grid::Integer, 7}})
    for (const std::size_t groupSize : {n, std::size_t(16)}) {
      TestLayer layer(random, n, 6, choice, groupSize);
      const double sizes[] = {1e-43, 1, 1e-30, 1e36, 1e-38, 1e20};
      for (std::size_t k = 0; k < 6; ++k)
        for (std::size_t i = 0; i < n; ++i) layer.weights[k * n + i] *= sizes[k];
      const Matrix h = damped(gramOf(data("gaussian", random, 40, n)), 0.01);
      JobControl control;
      checkResult(layer, h, gptqLayer({layer.weights.data(), 6, n}, h, optionsFor(choice, groupSize), 1, control),
                  groupSize);
    }
  std::vector<double> w = {3e38, -3e38};
  w[0] = 1e39;
  JobControl control;
  const Matrix h = damped(gramOf(gaussian(random, 5, 2)), 0.01);
  CHECK_THROWS_AS([&] { gptqLayer({w.data(), 1, 2}, h, optionsFor({Grid::ZeroFree, 2}, 0), 1, control); }(), Error);
  w[0] = std::nan("");
  CHECK_THROWS_AS([&] { gptqLayer({w.data(), 1, 2}, h, optionsFor({Grid::ZeroFree, 2}, 0), 1, control); }(), Error);
}

/** The unit of H does not matter: powers of two give the same codes. */
void unitOfH() {
  std::mt19937_64 random(63);
  const TestLayer layer(random, 40, 9, {Grid::Asymmetric, 4}, 16);
  const Matrix h = damped(gramOf(gaussian(random, 60, 40)), 0.01);
  JobControl control;
  const GptqOptions options = optionsFor({Grid::Asymmetric, 4}, 16);
  const GptqResult one = gptqLayer({layer.weights.data(), 9, 40}, h, options, 1, control);
  for (const int power : {-400, -60, 60, 400}) {
    Matrix scaled = h;
    for (std::size_t i = 0; i < 40 * 40; ++i) scaled.data()[i] = std::ldexp(scaled.data()[i], power);
    CHECK(gptqLayer({layer.weights.data(), 9, 40}, scaled, options, 1, control).codes == one.codes);
  }
}

void sameBytesForAnyThreads() {
  std::mt19937_64 random(64);
  const TestLayer layer(random, 100, 300, {Grid::ZeroFree, 4}, 32);
  const Matrix h = damped(gramOf(gaussian(random, 130, 100)), 0.01);
  JobControl control;
  for (const std::size_t groupSize : {0u, 32u}) {
    const GptqOptions options = optionsFor({Grid::ZeroFree, 4}, groupSize);
    const GptqResult one = gptqLayer({layer.weights.data(), 300, 100}, h, options, 1, control);
    for (const unsigned threads : {2u, 7u}) {
      const GptqResult many = gptqLayer({layer.weights.data(), 300, 100}, h, options, threads, control);
      CHECK((one.codes == many.codes && one.values == many.values && one.errors == many.errors));
    }
  }
}

/** Each part earns its place, on data with a falling spectrum. */
void partsHelp() {
  std::mt19937_64 random(65);
  const TestLayer layer(random, 96, 128, {Grid::Asymmetric, 4}, 96);
  const Matrix h = damped(gramOf(data("graded", random, 200, 96)), 0.01);
  JobControl control;
  for (const std::size_t groupSize : {96u, 32u}) {
    GptqOptions options = optionsFor({Grid::Asymmetric, 4}, groupSize);
    const auto total = [&] {
      double sum = 0;
      for (const double e : gptqLayer({layer.weights.data(), 128, 96}, h, options, 2, control).errors) sum += e;
      return sum;
    };
    const double full = total();
    options.rounds = 0;
    options.refit = false;
    const double descended = total();
    options.descent = false;
    const double searched = total();
    double plain = 0;
    for (const double e : shipped(layer, h, {Grid::Asymmetric, 4}, groupSize)) plain += e;
    CHECK_LE(full, 0.98 * descended);
    CHECK_LE(descended, 0.98 * searched);
    CHECK_LE(searched, 0.7 * plain);
  }
}

void cancelsAndEmpty() {
  std::mt19937_64 random(66);
  const Matrix h = damped(gramOf(gaussian(random, 20, 10)), 0.01);
  const std::vector<double> w = normals(random, 30);
  JobControl control;
  CHECK(gptqLayer({w.data(), 0, 10}, h, {}, 1, control).codes.empty());
  CHECK(gptqLayer({w.data(), 3, 0}, Matrix(0, 0), {}, 1, control).codes.empty());
  control.cancel();
  CHECK_THROWS_AS([&] { gptqLayer({w.data(), 3, 10}, h, {}, 1, control); }(), Cancelled);
}

}  // namespace

TEST_CASE("never worse") { neverWorse(); }
TEST_CASE("extreme scales") { extremeScales(); }
TEST_CASE("unit of h") { unitOfH(); }
TEST_CASE("same bytes for any threads") { sameBytesForAnyThreads(); }
TEST_CASE("parts help") { partsHelp(); }
TEST_CASE("cancels and empty") { cancelsAndEmpty(); }
