// The parts of a fit in float32 and in float64: single codes differ, the errors of whole layers agree to a percent.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "alphabet/scale_search.h"
#include "calibration/eigenspace.h"
#include "decode/coefficients.h"
#include "decode/coordinate_descent.h"
#include "decode/damping.h"
#include "decode/free_entries.h"
#include "decode/successive_rounding.h"
#include "decode_test_data.h"
#include "linalg/blas.h"
#include "walk/blocked_walk.h"

using namespace vertexq;
using namespace vertexq::testing;

namespace {

struct Size {
  std::size_t samples, inputs, neurons;
  double decay, damping;
};

/** Gaussian weights; inputs that go together, with singular values that fall as k^-decay. */
struct Layer {
  Layer(std::mt19937_64& random, const Size& size, int levels, std::size_t group)
      : neurons(size.neurons), weights(gaussian(random, size.inputs, size.neurons)), groupSize(group) {
    const std::size_t n = size.inputs;
    const Matrix sources = gaussian(random, size.samples, n), mix = gaussian(random, n, n);
    Matrix x(size.samples, n);
    for (std::size_t j = 0; j < n; ++j)
      for (std::size_t k = 0; k < n; ++k) {
        const double part = mix(k, j) / std::pow(static_cast<double>(k + 1), size.decay);
        for (std::size_t s = 0; s < size.samples; ++s) x(s, j) += sources(s, k) * part;
      }
    h = damped(gramOf(x), size.damping);
    const double unit = unitScale(h);
    for (std::size_t i = 0; i < n * n; ++i) h.data()[i] *= unit;
    for (std::size_t i = 0; i < n * neurons; ++i) weights.data()[i] = static_cast<float>(weights.data()[i]);
    const Grid grid = levels == 4 ? Grid::ZeroFree : Grid::Asymmetric;
    for (std::size_t k = 0; k < neurons; ++k)
      for (std::size_t first = 0; first < n; first += groupSize)
        list.push_back(
            searchAlphabet({grid, levels}, weights.column(k) + first, nullptr, std::min(groupSize, n - first)));
  }

  std::size_t inputs() const { return h.cols(); }
  LayerAlphabets alphabets() const { return {list.data(), inputs(), groupSize}; }

  /** Σ (q - w)ᵀH(q - w), in float64 whatever computed q. */
  template <typename Value>
  double error(Value value) const {
    double total = 0;
    std::vector<double> e(inputs());
    for (std::size_t k = 0; k < neurons; ++k) {
      for (std::size_t i = 0; i < inputs(); ++i) e[i] = value(i, k) - weights(i, k);
      for (std::size_t j = 0; j < inputs(); ++j)
        total += e[j] * std::inner_product(e.begin(), e.end(), h.column(j), 0.0);
    }
    return total;
  }
  double error(const std::vector<std::int8_t>& codes) const {
    return error([&](std::size_t i, std::size_t k) { return alphabets().of(k, i).level(codes[k * inputs() + i]); });
  }

  std::size_t neurons;
  Matrix h, weights;  // a neuron a column
  std::size_t groupSize;
  std::vector<Alphabet> list;
};

/** The errors that a precision leaves of a layer, step by step. */
struct Errors {
  double gptq = 0;       // successive rounding along a Cholesky factor, in act-order
  double gpfq = 0;       // with the coefficients of GPFQ
  double descended = 0;  // plain rounding after coordinate descent
  double walked = 0;     // ŵ: what the walk does to the directions it does not hold
  double decoded = 0;    // the walk, least squares and nearest plane for what it leaves
  double searched = 0;   // the same with several answers in flight
  double polished = 0;   // and after coordinate descent
};

constexpr std::size_t kWidth = 8;

template <typename Real>
std::vector<std::int8_t> round(const Layer& layer, const Coefficients<Real>& coefficients,
                               const BasicMatrix<Real>& weights) {
  std::vector<std::int8_t> codes(layer.inputs() * layer.neurons);
  RoundingTask<Real> task;
  task.weights = weights.data();
  task.neurons = layer.neurons;
  task.alphabets = layer.alphabets();
  task.codes = codes.data();
  JobControl control;
  successiveRounding(coefficients, task, 2, control);
  return codes;
}

/** The levels of codes, polished along with them. */
template <typename Real>
void polish(const Layer& layer, const BasicMatrix<Real>& h, const BasicMatrix<Real>& weights,
            std::vector<std::int8_t>& codes) {
  const std::size_t n = layer.inputs();
  BasicMatrix<Real> values(n, layer.neurons);
  for (std::size_t k = 0; k < layer.neurons; ++k)
    for (std::size_t i = 0; i < n; ++i)
      values(i, k) = static_cast<Real>(layer.alphabets().of(k, i).level(codes[k * n + i]));
  JobControl control;
  descend(h, weights.data(), layer.neurons, layer.alphabets(), codes.data(), values.data(), 2, control);
}

template <typename Real>
Errors errorsOf(const Layer& layer) {
  const std::size_t n = layer.inputs(), neurons = layer.neurons;
  const LayerAlphabets alphabets = layer.alphabets();
  const auto h = castTo<Real>(layer.h), weights = castTo<Real>(layer.weights);
  JobControl control;
  Errors errors;
  errors.gptq =
      layer.error(round(layer, nearestPlaneCoefficients(h, 0.0, DecodeOrder::Activation, 2, control), weights));
  errors.gpfq = layer.error(round(layer, gpfqCoefficients(h, DecodeOrder::Natural), weights));

  std::vector<std::int8_t> plain(n * neurons);
  for (std::size_t k = 0; k < neurons; ++k)
    for (std::size_t i = 0; i < n; ++i)
      plain[k * n + i] = static_cast<std::int8_t>(alphabets.of(k, i).nearest(layer.weights(i, k)));
  polish(layer, h, weights, plain);
  errors.descended = layer.error(plain);

  const Tableau tableau = tableauOf(leadingEigenspace(layer.h, 3 * n / 4).part);
  const auto t = castTo<Real>(tableau.t);
  BlockedWalk<Real> walk(tableau, t);
  const FreeEntrySystem<Real> system(h);
  FreeEntryDecoder<Real> decoder(system, n, kWidth);
  Matrix walked(n, neurons);
  std::vector<std::int8_t> decoded(n * neurons), searched(n * neurons);
  std::vector<double> low(n), high(n);
  std::vector<Real> values(n);
  for (std::size_t k = 0; k < neurons; ++k) {
    double* w = walked.column(k);
    for (std::size_t i = 0; i < n; ++i) {
      const Alphabet& a = alphabets.of(k, i);
      w[i] = std::clamp(layer.weights(i, k), a.lowest(), a.highest());
      const Alphabet::Cell cell = a.cell(w[i]);
      low[i] = cell.low;
      high[i] = cell.high;
    }
    walk.run(w, low.data(), high.data(), control);
    std::vector<int> free;
    for (std::size_t i = 0; i < n; ++i) {
      if (w[i] != low[i] && w[i] != high[i]) {
        free.push_back(static_cast<int>(i));
        continue;
      }
      values[i] = static_cast<Real>(w[i]);
      decoded[k * n + i] = searched[k * n + i] = static_cast<std::int8_t>(alphabets.of(k, i).nearest(w[i]));
    }
    CHECK(free.size() <= tableau.rank());
    decoder.decode(weights.column(k), values.data(), &decoded[k * n], free.data(), free.size(), alphabets, k);
    decoder.decode(weights.column(k), values.data(), &searched[k * n], free.data(), free.size(), alphabets, k, kWidth);
  }
  errors.walked = layer.error([&](std::size_t i, std::size_t k) { return walked(i, k); });
  errors.decoded = layer.error(decoded);
  errors.searched = layer.error(searched);
  polish(layer, h, weights, searched);
  errors.polished = layer.error(searched);
  return errors;
}

void errorsAgree() {
  std::mt19937_64 random(61);
  struct Part {
    const char* name;
    double Errors::*error;
  };
  const Part parts[] = {{"gptq", &Errors::gptq},           {"gpfq", &Errors::gpfq},
                        {"descended", &Errors::descended}, {"walked", &Errors::walked},
                        {"decoded", &Errors::decoded},     {"searched", &Errors::searched},
                        {"polished", &Errors::polished}};
  // The worse the condition, the more codes differ, to either side: only more neurons bring the mean to a percent.
  for (const Size& size : {Size{300, 64, 64, 0.5, 0.003}, Size{500, 100, 48, 0.7, 0.003},
                           Size{600, 192, 32, 0.5, 0.003}, Size{100, 128, 512, 1, 0.001}})
    for (const int levels : {4, 8, 16})
      for (const std::size_t groupSize : {size.inputs, std::size_t{32}}) {
        const Layer layer(random, size, levels, groupSize);
        const Errors single = errorsOf<float>(layer), twice = errorsOf<double>(layer);
        for (const auto& [name, error] : parts) {
          const double ratio = std::sqrt(single.*error / twice.*error);
          if (!(std::abs(ratio - 1) <= 0.01))
            std::fprintf(stderr, "%s, %zu inputs, %d levels, groups of %zu:\n", name, size.inputs, levels, groupSize);
          CHECK_LE(std::abs(ratio - 1), 0.01);
        }
        CHECK((twice.polished <= twice.searched * (1 + 1e-9) && twice.polished < twice.gpfq));
      }
}

}  // namespace

TEST_CASE("errors agree") { errorsAgree(); }
