// Channels that make up for each other: moved to where the reference says, a lower loss of all together, and nothing moved where nothing goes together.
#include "method/output_feedback.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "decode/damping.h"
#include "decode/successive_rounding.h"
#include "decode_test_data.h"
#include "error.h"
#include "linalg/blas.h"
#include "method/layer_values.h"

using namespace vertexq;
using namespace vertexq::testing;

namespace {

struct Layer {
  std::size_t inputs, neurons;
  std::vector<double> w;
  GramData data;
  Matrix outputs;  // G

  Layer(std::mt19937_64& random, const std::string& kind, std::size_t n, std::size_t out, std::size_t samples)
      : inputs(n),
        neurons(out),
        w(normals(random, out * n)),
        outputs(gramOf(vertexq::testing::data(kind, random, samples, out))) {
    data.h = gramOf(gaussian(random, 3 * n, n));
  }
  Weights weights() const { return {w.data(), neurons, inputs}; }
};

FitOptions optionsOf(CodeSearch search, std::size_t groupSize) {
  FitOptions options;
  options.search = search;
  options.alphabet = {Grid::Asymmetric, 8, groupSize};
  if (search == vertexCodes) options.passes = 4;
  return options;
}

Fitted fit(const Layer& layer, FitOptions options, bool isFedBack, unsigned threads = 2) {
  options.outputGram = isFedBack ? &layer.outputs : nullptr;
  JobControl control;
  Fitted fitted = fitLayer(layer.weights(), layer.data, nullptr, options, threads, control);
  CHECK(control.done() == control.total());
  return fitted;
}

/** T - Q, N × neurons. */
Matrix errorsOf(const Layer& layer, const Rounded& rounded, std::size_t groupSize) {
  const LayerAlphabets alphabets = layerView(rounded.alphabets, layer.inputs, groupSize);
  Matrix errors(layer.inputs, layer.neurons);
  for (std::size_t k = 0; k < layer.neurons; ++k)
    for (std::size_t i = 0; i < layer.inputs; ++i)
      errors(i, k) = layer.w[k * layer.inputs + i] - alphabets.of(k, i).level(rounded.codes[k * layer.inputs + i]);
  return errors;
}

/** tr(E H Eᵀ G), both damped as the fit damps them. */
double loss(const Layer& layer, const Rounded& rounded, std::size_t groupSize) {
  const std::size_t n = layer.inputs, out = layer.neurons;
  const Matrix e = errorsOf(layer, rounded, groupSize);
  const Matrix h = damped(layer.data.h, FitOptions::kDefaultDamping), g = damped(layer.outputs, kOutputDamping);
  double total = 0;
  for (std::size_t j = 0; j < out; ++j)
    for (std::size_t k = 0; k < out; ++k) {
      double form = 0;
      for (std::size_t b = 0; b < n; ++b)
        for (std::size_t a = 0; a < n; ++a) form += e(a, j) * h(a, b) * e(b, k);
      total += g(j, k) * form;
    }
  return total;
}

/** What a search was asked for, block by block. */
std::vector<Matrix> asked;

/** Every weight by itself; notes what it is asked for. */
LayerCodes notingCodes(const FitProblem& problem, Fitted& fitted) {
  const Matrix& targets = problem.targets;
  const std::size_t n = targets.rows(), neurons = targets.cols(), size = problem.options.alphabet.groupSize;
  asked.push_back(targets);
  const std::size_t groups = groupsOf(n, size);
  fitted.rounded.alphabets.resize(neurons * groups);
  LayerCodes codes{std::vector<std::int8_t>(neurons * n), std::vector<double>(neurons)};
  for (std::size_t k = 0; k < neurons; ++k)
    plainAlphabets(targets.column(k), nullptr, n, problem.options.alphabet, ScaleRule::Max,
                   &fitted.rounded.alphabets[k * groups]);
  const LayerAlphabets alphabets = layerView(fitted.rounded.alphabets, n, size);
  for (std::size_t k = 0; k < neurons; ++k)
    for (std::size_t i = 0; i < n; ++i)
      codes.codes[k * n + i] = static_cast<std::int8_t>(alphabets.of(k, i).nearest(targets(i, k)));
  return codes;
}

void asTheReference() {
  std::mt19937_64 random(81);
  for (const std::string& kind : kinds())
    for (const std::size_t out : {std::size_t{1}, kNeuronBlock, 2 * kNeuronBlock + 20}) {
      const Layer layer(random, kind, 6, out, 2 * out);
      asked.clear();
      const Fitted fitted = fit(layer, optionsOf(notingCodes, 4), true);
      const Matrix errors = errorsOf(layer, fitted.rounded, 4);
      JobControl control;
      const OutputFactor factor(layer.outputs, 1, control);
      const std::vector<std::size_t>& order = factor.order();
      const std::vector<int> channels(order.begin(), order.end());
      CHECK(asked.size() == (out + kNeuronBlock - 1) / kNeuronBlock);
      for (std::size_t block = 0, first = 0; block < asked.size(); first += asked[block++].cols()) {
        const Matrix best = reference::bestLeft(damped(layer.outputs, kOutputDamping), channels, first, errors);
        for (std::size_t k = 0; k < asked[block].cols(); ++k)
          for (std::size_t i = 0; i < layer.inputs; ++i) {
            const double t = layer.w[order[first + k] * layer.inputs + i];
            CHECK_LE(std::abs(asked[block](i, k) - (t - best(i, k))), 1e-7 * (1 + std::abs(t) + std::abs(best(i, k))));
          }
      }
    }
}

void lowersTheLoss() {
  std::mt19937_64 random(82);
  for (const CodeSearch search : {vertexCodes, gptqCodes, gpfqCodes})
    for (const char* kind : {"gaussian", "low rank", "duplicated columns"}) {
      const std::size_t out = 2 * kNeuronBlock + 30;
      const Layer layer(random, kind, 24, out, out / 4);
      const FitOptions options = optionsOf(search, 24);
      const Rounded alone = fit(layer, options, false).rounded, together = fit(layer, options, true).rounded;
      CHECK_LE(loss(layer, together, 24), 0.9 * loss(layer, alone, 24));
    }
}

/** Channels that have nothing in common are fitted each for itself. */
void apart() {
  std::mt19937_64 random(83);
  Layer layer(random, "gaussian", 20, kNeuronBlock + 9, 300);
  for (const bool isZero : {false, true}) {
    for (std::size_t j = 0; j < layer.neurons; ++j)
      for (std::size_t k = 0; k < layer.neurons; ++k)
        layer.outputs(j, k) = j == k && !isZero ? 1 + static_cast<double>(j % 5) : 0;
    for (const CodeSearch search : {vertexCodes, gptqCodes}) {
      const FitOptions options = optionsOf(search, 10);
      const double alone = loss(layer, fit(layer, options, false).rounded, 10);
      CHECK_LE(std::abs(loss(layer, fit(layer, options, true).rounded, 10) - alone), 1e-3 * alone);
    }
  }
}

void threadsAndUnitsDoNotMatter() {
  std::mt19937_64 random(84);
  Layer layer(random, "gaussian", 32, 3 * kNeuronBlock, 400);
  for (const CodeSearch search : {vertexCodes, gptqCodes}) {
    const FitOptions options = optionsOf(search, 16);
    const Fitted one = fit(layer, options, true, 1);
    for (const unsigned threads : {2u, 7u})
      CHECK(fit(layer, options, true, threads).rounded.codes == one.rounded.codes);
    Layer scaled = layer;
    for (const int exponent : {-900, 900}) {
      for (std::size_t i = 0; i < layer.neurons * layer.neurons; ++i)
        scaled.outputs.data()[i] = std::ldexp(layer.outputs.data()[i], exponent);
      CHECK(fit(scaled, options, true).rounded.codes == one.rounded.codes);
    }
  }
}

void hostile() {
  std::mt19937_64 random(85);
  Layer layer(random, "gaussian", 8, 5, 20);
  for (std::size_t j = 0; j < 5; ++j) layer.outputs(j, (j + 1) % 5) = layer.outputs((j + 1) % 5, j) = 1e6;
  CHECK_THROWS_AS([&] { fit(layer, optionsOf(gptqCodes, 8), true); }(), Error);
  Layer large(random, "gaussian", 8, 5, 20);
  large.w[3 * 8 + 2] = 1e39;
  try {
    fit(large, optionsOf(gptqCodes, 8), true);
    CHECK(false);
  } catch (const Error& error) {
    CHECK(std::string(error.what()).find("neuron 3") != std::string::npos);
  }
  JobControl control;
  control.cancel();
  FitOptions options = optionsOf(gptqCodes, 8);
  const Layer fine(random, "gaussian", 8, 5, 20);
  options.outputGram = &fine.outputs;
  CHECK_THROWS_AS([&] { fitLayer(fine.weights(), fine.data, nullptr, options, 1, control); }(), Cancelled);
}

}  // namespace

TEST_CASE("as the reference") { asTheReference(); }
TEST_CASE("lowers the loss") { lowersTheLoss(); }
TEST_CASE("apart") { apart(); }
TEST_CASE("threads and units do not matter") { threadsAndUnitsDoNotMatter(); }
TEST_CASE("hostile") { hostile(); }
