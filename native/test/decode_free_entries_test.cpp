// Free entries: least squares, then nearest plane, against plain loops; their limits where all or nothing is free.
#include <doctest/doctest.h>

#include <numeric>

#include "decode/coefficients.h"
#include "decode/damping.h"
#include "decode/free_entries.h"
#include "decode/successive_rounding.h"
#include "decode_test_data.h"
#include "error.h"
#include "linalg/blas.h"

using namespace vertexq;
using namespace vertexq::testing;

namespace {

/** `count` of n inputs; sorted, or in the order drawn. */
std::vector<int> draw(std::mt19937_64& random, std::size_t n, std::size_t count, bool sorted) {
  std::vector<int> inputs(n);
  std::iota(inputs.begin(), inputs.end(), 0);
  std::shuffle(inputs.begin(), inputs.end(), random);
  inputs.resize(count);
  if (sorted) std::sort(inputs.begin(), inputs.end());
  return inputs;
}

/** On data of every kind: a level each, F untouched, the least-squares condition, an error near the reference's. */
template <typename Real>
void matchReference(double residualTolerance, double errorTolerance) {
  std::mt19937_64 random(21);
  const std::vector<GridChoice> grids = gridChoices();
  std::size_t round = 0;
  for (const std::string& kind : kinds())
    for (const std::size_t n : {1u, 7u, 64u, 101u}) {
      const GridChoice choice = grids[++round % grids.size()];
      const TestLayer layer(random, n, 6, choice, round % 3 ? n : std::min<std::size_t>(n, 10));
      const Matrix hWide = damped(gramOf(data(kind, random, 60, n)), 0.01);
      const auto h = castTo<Real>(hWide);
      const FreeEntrySystem<Real> system(h);
      FreeEntryDecoder<Real> decoder(system, n);
      double fastSum = 0, referenceSum = 0;
      for (std::size_t k = 0; k < layer.neurons; ++k) {
        const std::vector<int> free = draw(random, n, (k * n) / 5, k % 2);
        const reference::Neuron neuron = layer.neuron(k);
        const std::vector<double> start = layer.rounded(k);
        const std::vector<Real> w = castTo<Real>(std::vector<double>(neuron.weights, neuron.weights + n));
        std::vector<Real> q = castTo<Real>(start);
        for (const int i : free) q[static_cast<std::size_t>(i)] = static_cast<Real>(std::nan(""));
        std::vector<std::int8_t> codes(n, 99);
        const FreeEntryOutcome outcome =
            decoder.decode(w.data(), q.data(), codes.data(), free.data(), free.size(), layer.alphabets, k);
        CHECK(outcome.damping == 0);

        std::vector<bool> isFree(n);
        for (const int i : free) isFree[static_cast<std::size_t>(i)] = true;
        for (std::size_t i = 0; i < n; ++i) {
          if (isFree[i])
            CHECK(q[i] == static_cast<Real>(layer.alphabets.of(k, i).level(codes[i])));
          else
            CHECK((q[i] == static_cast<Real>(start[i]) && codes[i] == 99));
        }
        if (!free.empty()) {
          // H_T (target - w) = 0, against what is summed up there.
          for (const int t : free) {
            double sum = 0, size = 0;
            for (std::size_t i = 0; i < n; ++i) {
              const double shift = isFree[i] ? decoder.targetShifts()[i] : q[i] - w[i];
              sum += hWide(static_cast<std::size_t>(t), i) * shift;
              size += std::sqrt(hWide(static_cast<std::size_t>(t), static_cast<std::size_t>(t)) * hWide(i, i)) *
                      std::abs(shift);
            }
            CHECK_LE(std::abs(sum), residualTolerance * size);
          }
        }
        const std::vector<double> paper = reference::freeEntries(hWide, neuron, start, free);
        const std::vector<double> fast(q.begin(), q.end());
        fastSum += reference::outputError(hWide, neuron.weights, fast.data());
        referenceSum += reference::outputError(hWide, neuron.weights, paper.data());
      }
      CHECK_LE(std::abs(fastSum - referenceSum), errorTolerance * referenceSum + 1e-30);
    }
}

/** On well-conditioned data the codes themselves agree, although the factor is in float32. */
template <typename Real>
void codesOfGoodData(double tolerance) {
  std::mt19937_64 random(22);
  std::size_t different = 0, all = 0;
  for (const std::size_t n : {40u, 128u, 150u}) {
    const TestLayer layer(random, n, 10, {Grid::Asymmetric, 8}, 32);
    const Matrix hWide = damped(gramOf(gaussian(random, 4 * n, n)), 0.01);
    const auto h = castTo<Real>(hWide);
    const FreeEntrySystem<Real> system(h);
    FreeEntryDecoder<Real> decoder(system, n);
    const std::vector<Real> weights = castTo<Real>(layer.weights);
    for (std::size_t k = 0; k < layer.neurons; ++k) {
      const std::vector<int> free = draw(random, n, 3 * n / 4, true);
      std::vector<Real> q = castTo<Real>(layer.rounded(k));
      std::vector<std::int8_t> codes(n);
      const auto outcome =
          decoder.decode(&weights[k * n], q.data(), codes.data(), free.data(), free.size(), layer.alphabets, k);
      CHECK(!outcome.doublePrecision);
      const std::vector<double> paper = reference::freeEntries(hWide, layer.neuron(k), layer.rounded(k), free);
      for (std::size_t i = 0; i < n; ++i) different += static_cast<Real>(paper[i]) != q[i];
      all += n;
    }
  }
  CHECK_LE(static_cast<double>(different), tolerance * static_cast<double>(all));
}

/**
 * Nothing fixed: successive rounding. Nothing free: nothing happens. One free entry: nearest to its least-squares
 * target.
 */
template <typename Real>
void limits() {
  std::mt19937_64 random(23);
  const std::size_t n = 90;
  const TestLayer layer(random, n, 8, {Grid::ZeroFree, 8}, n);
  const Matrix hWide = damped(gramOf(gaussian(random, 300, n)), 0.01);
  const auto h = castTo<Real>(hWide);
  const FreeEntrySystem<Real> system(h);
  FreeEntryDecoder<Real> decoder(system, n);
  const std::vector<Real> weights = castTo<Real>(layer.weights);
  for (const DecodeOrder order : {DecodeOrder::Natural, DecodeOrder::Activation}) {
    const auto c = nearestPlaneCoefficients(h, 0, order, 1, JobControl());
    std::vector<std::int8_t> expected(n * 8), codes(n * 8);
    RoundingTask<Real> task;
    task.weights = weights.data();
    task.neurons = 8;
    task.alphabets = layer.alphabets;
    task.codes = expected.data();
    JobControl control;
    successiveRounding(c, task, 1, control);
    std::vector<Real> q(n);
    for (std::size_t k = 0; k < 8; ++k)
      decoder.decode(&weights[k * n], q.data(), &codes[k * n], c.order.data(), n, layer.alphabets, k);
    CHECK(codes == expected);
  }
  for (std::size_t k = 0; k < 8; ++k) {
    const std::vector<Real> before = castTo<Real>(layer.rounded(k));
    std::vector<Real> q = before;
    std::vector<std::int8_t> codes(n, 99);
    decoder.decode(&weights[k * n], q.data(), codes.data(), nullptr, 0, layer.alphabets, k);
    CHECK((q == before && codes == std::vector<std::int8_t>(n, 99)));
    const int one = static_cast<int>(3 * k);
    decoder.decode(&weights[k * n], q.data(), codes.data(), &one, 1, layer.alphabets, k);
    const double target = reference::freeTargets(hWide, layer.neuron(k), layer.rounded(k), {one})[0];
    CHECK(isNearest(layer.alphabets.of(k, 3 * k), q[3 * k], target, 1e-5));
  }
}

/** H without full rank and without damping: float64, then damping, and still an answer. */
template <typename Real>
void singular() {
  std::mt19937_64 random(24);
  const std::size_t n = 50;
  for (const std::string& kind : kinds()) {
    const TestLayer layer(random, n, 3, {Grid::Integer, 7}, n);
    const auto h = castTo<Real>(gramOf(data(kind, random, 20, n)));
    const FreeEntrySystem<Real> system(h);
    FreeEntryDecoder<Real> decoder(system, n);
    const std::vector<Real> weights = castTo<Real>(layer.weights);
    for (std::size_t k = 0; k < 3; ++k) {
      const std::vector<int> free = draw(random, n, 40, true);
      std::vector<Real> q = castTo<Real>(layer.rounded(k));
      std::vector<std::int8_t> codes(n);
      if (kind == "zero" || kind == "zero columns") continue;  // damped() takes care of dead inputs
      const auto outcome = decoder.decode(&weights[k * n], q.data(), codes.data(), free.data(), 40, layer.alphabets, k);
      CHECK((outcome.doublePrecision && outcome.damping > 0));
      for (std::size_t i = 0; i < n; ++i) CHECK(std::isfinite(q[i]));
    }
  }
}

/** A float64 system beyond float32's range; one that float32's precision cannot refine. */
void wideSystems() {
  std::mt19937_64 random(25);
  const std::size_t n = 60;
  const TestLayer layer(random, n, 4, {Grid::Asymmetric, 4}, n);
  const Matrix h = damped(gramOf(gaussian(random, 100, n)), 0.01);
  const std::vector<int> free = draw(random, n, 45, true);
  for (std::size_t k = 0; k < 4; ++k) {
    std::vector<std::vector<std::int8_t>> answers;
    for (const int exponent : {0, 600, -600}) {
      Matrix scaled = h;
      for (std::size_t i = 0; i < n * n; ++i) scaled.data()[i] = std::ldexp(h.data()[i], exponent);
      const FreeEntrySystem<double> system(scaled);
      FreeEntryDecoder<double> decoder(system, n);
      std::vector<double> q = layer.rounded(k);
      std::vector<std::int8_t> codes(n);
      CHECK(!decoder.decode(&layer.weights[k * n], q.data(), codes.data(), free.data(), free.size(), layer.alphabets, k)
                 .doublePrecision);
      answers.push_back(codes);
    }
    CHECK((answers[0] == answers[1] && answers[0] == answers[2]));
  }
  const Matrix hard = damped(gramOf(data("low rank", random, 30, n)), 1e-10);
  const FreeEntrySystem<double> system(hard);
  FreeEntryDecoder<double> decoder(system, n);
  for (std::size_t k = 0; k < 4; ++k) {
    std::vector<double> q = layer.rounded(k);
    std::vector<std::int8_t> codes(n);
    const auto outcome =
        decoder.decode(&layer.weights[k * n], q.data(), codes.data(), free.data(), free.size(), layer.alphabets, k);
    CHECK((outcome.doublePrecision && outcome.damping == 0));
  }
  Matrix broken = h;
  broken(free[1], free[0]) = broken(free[0], free[1]) = std::nan("");
  const FreeEntrySystem<double> brokenSystem(broken);
  FreeEntryDecoder<double> brokenDecoder(brokenSystem, n);
  std::vector<double> q = layer.rounded(0);
  std::vector<std::int8_t> codes(n);
  CHECK_THROWS_AS(
      [&] {
        brokenDecoder.decode(layer.weights.data(), q.data(), codes.data(), free.data(), free.size(), layer.alphabets,
                             0);
      }(),
      Error);
}

/** H(q - w) */
std::vector<double> gradientOf(const Matrix& h, const double* w, const std::vector<double>& q) {
  std::vector<double> gradient(q.size());
  for (std::size_t j = 0; j < q.size(); ++j)
    for (std::size_t i = 0; i < q.size(); ++i) gradient[i] += h(i, j) * (q[j] - w[j]);
  return gradient;
}

/** Its targets q_T - H_TT⁻¹g_T are those of decode(): on well-conditioned data both find the same codes, T alone changed. */
template <typename Real>
void redecodesAsDecodes() {
  std::mt19937_64 random(26);
  for (const std::size_t n : {1u, 9u, 64u, 150u})
    for (const GridChoice choice : {GridChoice{Grid::Asymmetric, 8}, GridChoice{Grid::ZeroFree, 2}}) {
      const TestLayer layer(random, n, 6, choice, std::min<std::size_t>(n, 32));
      Matrix hWide = damped(gramOf(gaussian(random, 4 * n + 4, n)), 0.01);
      const auto h = castTo<Real>(hWide);
      for (std::size_t i = 0; i < n * n; ++i) hWide.data()[i] = static_cast<double>(h.data()[i]);
      const FreeEntrySystem<Real> system(h);
      FreeEntryDecoder<Real> decoder(system, n, 8), other(system, n, 8);
      for (std::size_t k = 0; k < layer.neurons; ++k)
        for (const std::size_t width : {2u, 5u, 8u}) {
          const std::vector<int> free = draw(random, n, k == 0 ? n : (n + 1) / 2, k % 2);
          const double* w = &layer.weights[k * n];
          const std::vector<double> q = layer.rounded(k);
          std::vector<std::int8_t> start(n);
          for (std::size_t i = 0; i < n; ++i)
            start[i] = static_cast<std::int8_t>(layer.alphabets.of(k, i).nearest(w[i]));
          std::vector<std::int8_t> expected = start, codes = start;
          const std::vector<Real> weights = castTo<Real>(std::vector<double>(w, w + n));
          std::vector<Real> values = castTo<Real>(q);
          other.decode(weights.data(), values.data(), expected.data(), free.data(), free.size(), layer.alphabets, k,
                       width);
          const std::vector<double> gradient = gradientOf(hWide, w, q);
          CHECK(decoder.redecode(q.data(), gradient.data(), codes.data(), free.data(), free.size(), layer.alphabets, k,
                                 width));
          std::vector<bool> isFree(n);
          for (const int i : free) isFree[static_cast<std::size_t>(i)] = true;
          for (std::size_t i = 0; i < n; ++i) CHECK((isFree[i] || codes[i] == start[i]));
          if (codes == expected) continue;
          // A neuron of values on levels and ties may be as well off with other codes.
          const auto error = [&](const std::vector<std::int8_t>& found) {
            std::vector<double> v(n);
            for (std::size_t i = 0; i < n; ++i) v[i] = layer.alphabets.of(k, i).level(found[i]);
            return reference::outputError(hWide, w, v.data());
          };
          CHECK(k % 5 == 2);
          CHECK_LE(std::abs(error(codes) - error(expected)), 1e-2 * error(expected));
        }
    }
}

/** Where float32 cannot do it, nothing is written and the answer is false; the next call is as good as any. */
void redecodeRefuses() {
  std::mt19937_64 random(27);
  const std::size_t n = 40;
  const TestLayer layer(random, n, 1, {Grid::Asymmetric, 4}, n);
  const std::vector<double> q = layer.rounded(0);
  const std::vector<int> inputs = draw(random, n, 20, false);
  const auto refuses = [&](FreeEntryDecoder<float>& decoder, const std::vector<double>& gradient) {
    std::vector<std::int8_t> codes(n, 99);
    const bool done =
        decoder.redecode(q.data(), gradient.data(), codes.data(), inputs.data(), 20, layer.alphabets, 0, 8);
    CHECK((done || codes == std::vector<std::int8_t>(n, 99)));
    return !done;
  };
  const Matrix h = damped(gramOf(gaussian(random, 200, n)), 0.01);
  const auto good = castTo<float>(h);
  const FreeEntrySystem<float> system(good);
  FreeEntryDecoder<float> decoder(system, n, 8);
  const std::vector<double> gradient = gradientOf(h, layer.weights.data(), q);
  for (const double bad : {std::nan(""), HUGE_VAL, -HUGE_VAL}) {
    std::vector<double> broken = gradient;
    broken[static_cast<std::size_t>(inputs[7])] = bad;
    CHECK(refuses(decoder, broken));
    CHECK(!refuses(decoder, gradient));
  }
  FloatMatrix indefinite = good;
  const auto first = static_cast<std::size_t>(inputs[3]), second = static_cast<std::size_t>(inputs[5]);
  indefinite(first, second) = indefinite(second, first) = 2 * std::max(good(first, first), good(second, second));
  FloatMatrix negative = good;
  negative(first, first) = -1;
  FloatMatrix notANumber = good;
  notANumber(first, second) = notANumber(second, first) = std::nanf("");
  const auto singular = castTo<float>(gramOf(data("low rank", random, 12, n)));
  for (const FloatMatrix& bad : {indefinite, negative, notANumber, singular}) {
    const FreeEntrySystem<float> badSystem(bad);
    FreeEntryDecoder<float> badDecoder(badSystem, n, 8);
    CHECK(refuses(badDecoder, gradient));
  }
  // No gradient: the answer is where it should be. No inputs: nothing happens.
  std::vector<std::int8_t> codes(n);
  for (std::size_t i = 0; i < n; ++i)
    codes[i] = static_cast<std::int8_t>(layer.alphabets.of(0, i).nearest(layer.weights[i]));
  const std::vector<std::int8_t> before = codes;
  const std::vector<double> zero(n);
  CHECK(decoder.redecode(q.data(), zero.data(), codes.data(), inputs.data(), 20, layer.alphabets, 0, 8));
  CHECK(codes == before);
  CHECK(decoder.redecode(q.data(), gradient.data(), codes.data(), nullptr, 0, layer.alphabets, 0, 8));
  CHECK(codes == before);
}

}  // namespace

TEST_CASE("match reference: double, 1e-8, 1e-2") { matchReference<double>(1e-8, 1e-2); }
TEST_CASE("match reference: float, 1e-4, 1e-1") { matchReference<float>(1e-4, 1e-1); }
TEST_CASE("codes of good data: double, 1e-3") { codesOfGoodData<double>(1e-3); }
TEST_CASE("codes of good data: float, 1e-2") { codesOfGoodData<float>(1e-2); }
TEST_CASE("limits: double") { limits<double>(); }
TEST_CASE("limits: float") { limits<float>(); }
TEST_CASE("singular: double") { singular<double>(); }
TEST_CASE("singular: float") { singular<float>(); }
TEST_CASE("wide systems") { wideSystems(); }
TEST_CASE("redecodes as decodes: double") { redecodesAsDecodes<double>(); }
TEST_CASE("redecodes as decodes: float") { redecodesAsDecodes<float>(); }
TEST_CASE("redecode refuses") { redecodeRefuses(); }
