// Methods that fit codes to Gram matrices: their errors are what they say, and none is worse than its parts.
#include "method/fit_layer.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "decode/damping.h"
#include "linalg/blas.h"
#include "method/gram_error.h"
#include "method/targets.h"
#include "method/vertex.h"
#include "test_data.h"

using namespace vertexq;
using namespace vertexq::testing;

namespace {

struct Layer {
  Matrix seen, meant;     // X̃ and X, samples × N
  std::vector<double> w;  // neurons × N
  std::size_t neurons;

  std::size_t inputs() const { return seen.cols(); }
  Weights weights() const { return {w.data(), neurons, inputs()}; }
};

/** AᵀB. */
Matrix product(const Matrix& a, const Matrix& b) {
  Matrix p(a.cols(), b.cols());
  for (std::size_t j = 0; j < b.cols(); ++j)
    for (std::size_t i = 0; i < a.cols(); ++i) {
      long double sum = 0;
      for (std::size_t s = 0; s < a.rows(); ++s) sum += static_cast<long double>(a(s, i)) * b(s, j);
      p(i, j) = static_cast<double>(sum);
    }
  return p;
}

GramData gramData(const Layer& layer, bool paired) {
  GramData data;
  data.h = product(layer.seen, layer.seen);
  if (paired) {
    data.cross = product(layer.seen, layer.meant);
    data.target = product(layer.meant, layer.meant);
  }
  return data;
}

Layer layerOf(const std::string& kind, std::mt19937_64& random, std::size_t m, std::size_t n, std::size_t neurons) {
  Layer layer{data(kind, random, m, n), {}, normals(random, neurons * n), neurons};
  if (kind == "outlier") layer.seen(m / 2, n / 2) = 1e4;
  layer.meant = layer.seen;
  const std::vector<double> noise = normals(random, m * n);
  for (std::size_t i = 0; i < m * n; ++i) layer.meant.data()[i] += 0.2 * std::abs(layer.seen.data()[i]) * noise[i];
  std::fill_n(layer.w.begin(), n, 0.0);  // a neuron of zeros
  if (neurons > 1)
    for (std::size_t i = 0; i < n; ++i) layer.w[n + i] = static_cast<double>(i % 3) - 1;  // ties
  return layer;
}

std::vector<double> values(const Rounded& rounded, std::size_t n, std::size_t groupSize) {
  std::vector<double> q(rounded.codes.size());
  const std::size_t groups = groupsOf(n, groupSize);
  for (std::size_t i = 0; i < q.size(); ++i) {
    const Alphabet& a = rounded.alphabets[i / n * groups + i % n / groupSize];
    q[i] = a.level(rounded.codes[i]);
    CHECK((q[i] >= a.lowest() && q[i] <= a.highest() && a.contains(q[i])));
  }
  return q;
}

/** ‖X̃q - Xw‖² of a neuron, by plain sums. */
double outputError(const Layer& layer, const Matrix& meant, const double* q, const double* w) {
  long double total = 0;
  for (std::size_t s = 0; s < layer.seen.rows(); ++s) {
    long double e = 0;
    for (std::size_t i = 0; i < layer.inputs(); ++i)
      e += static_cast<long double>(layer.seen(s, i)) * q[i] - static_cast<long double>(meant(s, i)) * w[i];
    total += e * e;
  }
  return static_cast<double>(total);
}

/** (q - w)ᵀ damped(H) (q - w) of every neuron. */
std::vector<double> dampedErrors(const Layer& layer, double damping, const std::vector<double>& q) {
  const std::size_t n = layer.inputs();
  const Matrix h = damped(product(layer.seen, layer.seen), damping);
  std::vector<double> errors(layer.neurons);
  for (std::size_t k = 0; k < layer.neurons; ++k) {
    long double sum = 0;
    for (std::size_t j = 0; j < n; ++j)
      for (std::size_t i = 0; i < n; ++i)
        sum += static_cast<long double>(h(i, j)) * (q[k * n + i] - layer.w[k * n + i]) *
               (q[k * n + j] - layer.w[k * n + j]);
    errors[k] = static_cast<double>(sum);
  }
  return errors;
}

Fitted fit(const Layer& layer, FitOptions options, bool paired = false, unsigned threads = 2) {
  JobControl control;
  Fitted fitted = fitLayer(layer.weights(), gramData(layer, paired), nullptr, options, threads, control);
  CHECK(control.done() == control.total());
  return fitted;
}

FitOptions optionsOf(CodeSearch method, Grid grid, int levels, std::size_t groupSize, ScaleRule scale) {
  FitOptions options;
  options.search = method;
  options.alphabet = {grid, levels, groupSize};
  options.scale = scale;
  if (method == vertexCodes) options.passes = 4;  // for gptq it would be rounds: another start than vertex has
  return options;
}

struct Kind {
  Grid grid;
  int levels;
  std::size_t groupSize;
  const LevelTable* table = nullptr;
};

void neverWorseThanItsParts() {
  std::mt19937_64 random(51);
  const std::size_t sizes[][3] = {{1, 1, 1}, {5, 3, 2}, {40, 17, 3}, {30, 64, 4}, {200, 48, 5}};
  std::vector<std::string> all = kinds();
  all.push_back("outlier");
  for (const std::string& kind : all)
    for (const auto& [m, n, neurons] : sizes)
      for (const ScaleRule scale : {ScaleRule::Max, ScaleRule::Search})
        for (const Kind& k : {Kind{Grid::ZeroFree, 2, n}, Kind{Grid::Integer, 3, 16}, Kind{Grid::Asymmetric, 8, n},
                              Kind{Grid::ZeroFree, 16, 32}, Kind{Grid::FullRange, 16, 32}, Kind{Grid::Minimum, 8, 32},
                              Kind{Grid::Table, 16, 32, &kUnevenTable}}) {
          const Layer layer = layerOf(kind, random, m, n, neurons);
          const std::size_t groupSize = std::min(k.groupSize, n);
          const auto errors = [&](CodeSearch method) {
            FitOptions options = optionsOf(method, k.grid, k.levels, groupSize, scale);
            options.alphabet.table = k.table;
            return dampedErrors(layer, options.damping, values(fit(layer, options).rounded, n, groupSize));
          };
          const std::vector<double> vertex = errors(vertexCodes), gptq = errors(gptqCodes);
          JobControl control;
          const Rounded plain =
              roundLayer(layer.weights(), nullptr, {k.grid, k.levels, groupSize, ScalePrecision::Float32, k.table},
                         ScaleRule::Max, 1, control);
          const std::vector<double> msq = dampedErrors(layer, FitOptions::kDefaultDamping, values(plain, n, groupSize));
          for (std::size_t neuron = 0; neuron < neurons; ++neuron) {
            const double slack = 1 + 1e-9, floor = 1e-9 * msq[neuron] + std::numeric_limits<double>::min();
            CHECK_LE(vertex[neuron], gptq[neuron] * slack + floor);
            CHECK_LE(gptq[neuron], msq[neuron] * slack + floor);
          }
          errors(gpfqCodes);
        }
}

void morePassesNeverHurt() {
  std::mt19937_64 random(52);
  for (const ScaleRule scale : {ScaleRule::Max, ScaleRule::Search}) {
    const Layer layer = layerOf("gaussian", random, 300, 80, 12);
    FitOptions options = optionsOf(vertexCodes, Grid::ZeroFree, 4, 80, scale);
    std::vector<double> before(12, std::numeric_limits<double>::infinity());
    double total = 0, first = 0;
    for (const std::size_t passes : {0, 1, 3, 9, 30}) {
      options.passes = passes;
      const Fitted fitted = fit(layer, options);
      CHECK((fitted.passes == passes && fitted.rank == 60));
      const std::vector<double> errors = dampedErrors(layer, options.damping, values(fitted.rounded, 80, 80));
      for (std::size_t k = 0; k < 12; ++k) CHECK_LE(errors[k], before[k] * (1 + 1e-9));
      before = errors;
      total = 0;
      for (const double e : errors) total += e;
      if (passes == 0) first = total;
    }
    CHECK(total < first);
  }
}

void threadsDoNotMatter() {
  std::mt19937_64 random(53);
  const Layer layer = layerOf("gaussian", random, 200, 96, 90);
  for (const CodeSearch method : {vertexCodes, gptqCodes, gpfqCodes}) {
    std::vector<std::int8_t> codes;
    std::vector<double> steps;
    for (const unsigned threads : {1u, 2u, 7u}) {
      const Fitted fitted = fit(layer, optionsOf(method, Grid::Asymmetric, 8, 32, ScaleRule::Search), true, threads);
      std::vector<double> found;
      for (const Alphabet& a : fitted.rounded.alphabets) found.push_back(a.step());
      if (codes.empty()) {
        codes = fitted.rounded.codes;
        steps = found;
      }
      CHECK((codes == fitted.rounded.codes && steps == found));
    }
  }
}

/** (damped H)(w* - w) = X̃ᵀ(X - X̃)w, and fitting to w* brings X̃q closer to Xw. */
void correctsErrors() {
  std::mt19937_64 random(54);
  const Layer layer = layerOf("gaussian", random, 400, 40, 8);
  const GramData data = gramData(layer, true);
  JobControl control;
  const Matrix h = damped(data.h, 0.01);
  const Matrix targets = fitTargets(layer.weights(), data, h, 2, control);
  for (std::size_t k = 0; k < 8; ++k)
    for (std::size_t i = 0; i < 40; ++i) {
      double left = 0, right = 0, size = 0;
      for (std::size_t j = 0; j < 40; ++j) {
        left += h(i, j) * (targets(j, k) - layer.w[k * 40 + j]);
        right += (data.cross(i, j) - data.h(i, j)) * layer.w[k * 40 + j];
        size += std::abs(h(i, j) * layer.w[k * 40 + j]);
      }
      CHECK_LE(std::abs(left - right), 1e-10 * size + 1e-300);
    }
  for (const CodeSearch method : {vertexCodes, gptqCodes}) {
    const FitOptions options = optionsOf(method, Grid::Asymmetric, 16, 40, ScaleRule::Search);
    const auto error = [&](bool paired) {
      const Fitted fitted = fit(layer, options, paired);
      const std::vector<double> q = values(fitted.rounded, 40, 40);
      double total = 0, signal = 0;
      const Matrix zero(layer.seen.rows(), 40);
      for (std::size_t k = 0; k < 8; ++k) {
        total += outputError(layer, layer.meant, &q[k * 40], &layer.w[k * 40]);
        signal += outputError({zero, {}, {}, 8}, layer.meant, &q[k * 40], &layer.w[k * 40]);
      }
      const Norms norms = gramError(layer.weights(), fitted.rounded, 40, data, options.damping, 2, control);
      CHECK_LE(std::abs(norms.error - std::sqrt(total)), 1e-6 * std::sqrt(signal));
      CHECK_LE(std::abs(norms.signal - std::sqrt(signal)), 1e-9 * std::sqrt(signal));
      return total;
    };
    CHECK_LE(error(true), error(false));
  }
}

/** With as few samples as inputs a correction fits their noise: held-out data damps it, and never makes it worse than none. */
void heldOutDataDampsTheCorrection() {
  std::mt19937_64 random(57);
  for (const std::size_t samples : {20, 45, 400}) {
    const Layer layer = layerOf("gaussian", random, samples, 40, 6), other = layerOf("gaussian", random, 300, 40, 6);
    Layer held = other;
    held.w = layer.w;
    const GramData data = gramData(layer, true), holdout = gramData(held, true);
    JobControl control;
    const Correction chosen = correctedTargets(layer.weights(), data, &holdout, 1, 2, control);
    const auto error = [&](const Matrix& v) {
      double total = 0;
      for (std::size_t k = 0; k < 6; ++k) total += outputError(held, held.meant, v.column(k), &layer.w[k * 40]);
      return total;
    };
    Matrix none(40, 6);
    std::copy(layer.w.begin(), layer.w.end(), none.data());
    CHECK_LE(error(chosen.targets), error(none) * (1 + 1e-9));
    for (const double damping : kCorrectionDampings)
      CHECK_LE(error(chosen.targets),
               error(fitTargets(layer.weights(), data, damped(data.h, damping), 2, control)) * (1 + 1e-9));
    CHECK(chosen.damping >= (samples == 20 ? 0.1 : 0));
    // Half of the way to the same targets.
    const Correction half = correctedTargets(layer.weights(), data, nullptr, 0.5, 2, control),
                     whole = correctedTargets(layer.weights(), data, nullptr, 1, 2, control);
    for (std::size_t i = 0; i < 40 * 6; ++i)
      CHECK(std::abs(half.targets.data()[i] - (layer.w[i] + whole.targets.data()[i]) / 2) < 1e-12);
  }
}

/** Scales from 1e-30 to 1e30 for weights and data alike, in float32 kernels: the codes are those of the unscaled layer. */
void scaleDoesNotMatter() {
  std::mt19937_64 random(55);
  const Layer layer = layerOf("gaussian", random, 120, 32, 5);
  const FitOptions options = optionsOf(vertexCodes, Grid::ZeroFree, 4, 32, ScaleRule::Search);
  const Fitted plain = fit(layer, options);
  for (const int exponent : {-100, 100}) {
    Layer scaled = layer;
    for (double& w : scaled.w) w = std::ldexp(w, exponent);
    for (std::size_t i = 0; i < 120 * 32; ++i) scaled.seen.data()[i] = std::ldexp(scaled.seen.data()[i], -exponent);
    const Fitted fitted = fit(scaled, options);
    CHECK(fitted.rounded.codes == plain.rounded.codes);
    CHECK((fitted.sphereGap && plain.sphereGap && std::abs(*fitted.sphereGap - *plain.sphereGap) < 1e-6));
  }
}

/** Plain rounding by a Gram matrix is that by the data's rows; its error too, whatever the units. */
void plainRounding() {
  std::mt19937_64 random(58);
  const Layer layer = layerOf("gaussian", random, 90, 24, 5);
  const GramData data = gramData(layer, false), paired = gramData(layer, true);
  JobControl control;
  for (const ScaleRule scale : {ScaleRule::Max, ScaleRule::Search}) {
    const AlphabetOptions alphabet{Grid::Asymmetric, 8, 8};
    const Rounded byGram = roundByGram(layer.weights(), data.h, alphabet, scale, 2, control);
    const Rounded byRows = roundLayer(layer.weights(), &layer.seen, alphabet, scale, 2, control);
    CHECK((byGram.codes == byRows.codes && byGram.offAlphabet == byRows.offAlphabet));
    const Norms rows = vertexq::outputError(layer.weights(), byRows, 8, &layer.seen, 2, control);
    const Norms norms = gramError(layer.weights(), byGram, 8, data, 0.003, 2, control);
    CHECK_LE(std::abs(norms.error - rows.error), 1e-9 * rows.error);
    CHECK_LE(std::abs(norms.signal - rows.signal), 1e-9 * rows.signal);
    // What a paired layer does by itself.
    const Norms own = ownError(layer.weights(), byGram, 8, paired.h, 2, control);
    CHECK_LE(std::abs(own.error - rows.error), 1e-9 * rows.error);
    CHECK_LE(std::abs(own.signal - rows.signal), 1e-9 * rows.signal);
    for (const GramData& plain : {data, paired}) {
      const Norms before = gramError(layer.weights(), byGram, 8, plain, 0.003, 2, control);
      for (const int weightExponent : {-100, 0, 100})
        for (const int dataExponent : {-1000, 0, 900}) {
          Layer scaled = layer;
          for (double& w : scaled.w) w = std::ldexp(w, weightExponent);
          Rounded codes = byGram;
          for (Alphabet& a : codes.alphabets) a = a.scaledBy(weightExponent);
          GramData matrices = plain;
          for (Matrix* m : {&matrices.h, &matrices.cross, &matrices.target})
            for (std::size_t i = 0; i < m->rows() * m->cols(); ++i)
              m->data()[i] = std::ldexp(m->data()[i], dataExponent);
          const Norms after = gramError(scaled.weights(), codes, 8, matrices, 0.003, 2, control);
          CHECK((after.signal > 0 && std::isfinite(after.signal)));
          CHECK_LE(std::abs(after.error / after.signal - before.error / before.signal), 1e-12);
          CHECK_LE(std::abs(std::ldexp(after.signal, -weightExponent - dataExponent / 2) / before.signal - 1), 1e-12);
        }
    }
  }
  const Matrix none(24, 24);
  const Rounded unseen = roundByGram(layer.weights(), none, {Grid::ZeroFree, 4, 24}, ScaleRule::Search, 1, control);
  GramData zeros;
  zeros.h = none;
  const Norms nothing = gramError(layer.weights(), unseen, 24, zeros, 0.003, 1, control);
  CHECK((nothing.error == 0 && nothing.signal == 0));
}

/** The first neuron whose step overflows float32 is named, whatever the method, the scales and the threads. */
void namesTheNeuron() {
  std::mt19937_64 random(59);
  Layer layer = layerOf("gaussian", random, 60, 12, 150);
  for (const std::size_t neuron : {70, 71, 149}) layer.w[neuron * 12 + 4] = 1e60;
  for (const CodeSearch method : {vertexCodes, gptqCodes, gpfqCodes})
    for (const ScaleRule scale : {ScaleRule::Max, ScaleRule::Search})
      for (const unsigned threads : {1u, 7u}) {
        std::string said;
        try {
          JobControl control;
          fitLayer(layer.weights(), gramData(layer, false), nullptr, optionsOf(method, Grid::Asymmetric, 8, 4, scale),
                   threads, control);
        } catch (const Error& error) {
          said = error.code() + " " + error.what();
        }
        CHECK(said.find("ERR_VERTEXQ_SCALE_RANGE neuron 70: the weights are too large") == 0);
      }
}

void cancelled() {
  std::mt19937_64 random(56);
  const Layer layer = layerOf("gaussian", random, 60, 20, 4);
  JobControl control;
  control.cancel();
  CHECK_THROWS_AS([&] { fitLayer(layer.weights(), gramData(layer, false), nullptr, {}, 1, control); }(), Cancelled);
  std::vector<double> bad = layer.w;
  bad[7] = std::nan("");
  JobControl fresh;
  FitOptions options = optionsOf(vertexCodes, Grid::ZeroFree, 4, 20, ScaleRule::Search);
  CHECK_THROWS_AS([&] { fitLayer({bad.data(), 4, 20}, gramData(layer, false), nullptr, options, 1, fresh); }(), Error);
}

}  // namespace

TEST_CASE("never worse than its parts") { neverWorseThanItsParts(); }
TEST_CASE("more passes never hurt") { morePassesNeverHurt(); }
TEST_CASE("threads do not matter") { threadsDoNotMatter(); }
TEST_CASE("corrects errors") { correctsErrors(); }
TEST_CASE("held out data damps the correction") { heldOutDataDampsTheCorrection(); }
TEST_CASE("scale does not matter") { scaleDoesNotMatter(); }
TEST_CASE("plain rounding") { plainRounding(); }
TEST_CASE("names the neuron") { namesTheNeuron(); }
TEST_CASE("cancelled") { cancelled(); }
