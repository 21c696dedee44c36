#include "layer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <string>

#include "alphabet/scale_search.h"
#include "calibration/spectrum.h"
#include "error.h"
#include "linalg/openblas.h"
#include "packing/plain_rounding.h"
#include "parallel/thread_pool.h"
#include "scales/block_search.h"
#include "walk/blocked_walk.h"

namespace vertexq {

namespace {

/** Neurons a product with R takes at once. Fixed, so that the bits do not depend on the number of threads. */
constexpr std::size_t kBlock = 64;

std::vector<double> columnNorms(const Matrix& r) {
  std::vector<double> norms(r.cols());
  for (std::size_t j = 0; j < r.cols(); ++j) norms[j] = cblas_dnrm2(static_cast<int>(r.rows()), r.column(j), 1);
  return norms;
}

/** Calls visit(group, first, last) for the inputs [first, last) of each group. */
template <typename Visit>
void forEachGroup(std::size_t inFeatures, std::size_t groupSize, Visit visit) {
  for (std::size_t group = 0, first = 0; first < inFeatures; ++group, first += groupSize)
    visit(group, first, std::min(first + groupSize, inFeatures));
}

/** R times the power of two that brings its largest entry to about 1: no square of it over- or underflows. */
Matrix scaledToOne(Matrix r) {
  double largest = 0;
  const std::size_t count = r.rows() * r.cols();
  for (std::size_t i = 0; i < count; ++i) largest = std::max(largest, std::abs(r.data()[i]));
  if (largest == 0) return r;
  const int exponent = -std::ilogb(largest);
  for (std::size_t i = 0; i < count; ++i) r.data()[i] = std::ldexp(r.data()[i], exponent);
  return r;
}

/** The tableau depends on the row space of R alone, so its scale is free. */
Tableau heldDirections(const Matrix& unscaled, const RankRule& rule, std::size_t inFeatures,
                       const JobControl& control) {
  const Matrix r = scaledToOne(unscaled);
  Tableau tableau = tableauOf(r, control);
  if (rule.kind == RankRule::Kind::Full || tableau.rank() == 0) return tableau;
  if (rule.kind == RankRule::Kind::AtMost && rule.limit >= tableau.rank()) return tableau;
  const Spectrum spectrum = rowSpectrum(r, control);
  const std::size_t rank =
      rule.kind == RankRule::Kind::AtMost ? rule.limit : bestRank(spectrum.values, tableau.rank(), inFeatures);
  return rank >= tableau.rank() ? tableau : tableauOf(leadingPart(r, spectrum, rank, control), control);
}

/** Plain rounding of weights that are all float32 numbers, which has kernels of its own with the same answers. One serves one thread. */
class SingleRounding {
 public:
  SingleRounding(const AlphabetOptions& options, ScaleRule scale, std::size_t inFeatures)
      : rounding_(options.kind(), scale, options.precision), groupSize_(options.groupSize), weights_(inFeatures) {}

  /** Whether the neuron's weights are such numbers, and then its codes and alphabets. */
  bool round(const double* w, std::int8_t* codes, Alphabet* alphabets) {
    for (std::size_t i = 0; i < weights_.size(); ++i) {
      if (!(std::abs(w[i]) <= std::numeric_limits<float>::max())) return false;
      weights_[i] = static_cast<float>(w[i]);
      if (static_cast<double>(weights_[i]) != w[i]) return false;
    }
    const std::size_t whole = weights_.size() / groupSize_, first = whole * groupSize_;
    rounding_.roundGroups(weights_.data(), whole, groupSize_, codes, alphabets);
    if (first < weights_.size())
      alphabets[whole] = rounding_.round(&weights_[first], weights_.size() - first, codes + first).alphabet;
    return true;
  }

 private:
  PlainRounding rounding_;
  std::size_t groupSize_;
  std::vector<float> weights_;
};

/** ‖R v‖ for each column v of `columns` (inFeatures × count, column-major). */
void productNorms(const Matrix& r, const double* columns, std::size_t count, double* norms) {
  if (r.rows() == 0) {
    std::fill_n(norms, count, 0.0);
    return;
  }
  Matrix product(r.rows(), count);
  const auto rows = static_cast<int>(r.rows());
  const auto cols = static_cast<int>(r.cols());
  cblas_dgemm(CblasColMajor, CblasNoTrans, CblasNoTrans, rows, static_cast<int>(count), cols, 1.0, r.data(), rows,
              columns, cols, 0.0, product.data(), rows);
  for (std::size_t k = 0; k < count; ++k) norms[k] = cblas_dnrm2(rows, product.column(k), 1);
}

/**
 * Per neuron, the norms of the change and of the weights themselves, seen through R or, where that is null, as they are.
 * changed(n, out) writes the inFeatures new weights of neuron n.
 */
template <typename Changed>
std::vector<Norms> neuronNorms(const Weights& weights, const Matrix* r, unsigned threads, const JobControl& control,
                               Changed changed) {
  std::vector<Norms> norms(weights.outFeatures);
  const std::size_t blocks = (weights.outFeatures + kBlock - 1) / kBlock;
  ThreadPool::shared().parallelFor(blocks, threads, [&](std::size_t block, unsigned) {
    control.throwIfCancelled();
    const std::size_t first = block * kBlock;
    const std::size_t count = std::min(kBlock, weights.outFeatures - first);
    const std::size_t n = weights.inFeatures;
    std::vector<double> difference(count * n);
    for (std::size_t k = 0; k < count; ++k) {
      double* column = difference.data() + k * n;
      changed(first + k, column);
      for (std::size_t i = 0; i < n; ++i) column[i] = weights.neuron(first + k)[i] - column[i];
    }
    std::vector<double> error(count), signal(count);
    if (r) {
      productNorms(*r, difference.data(), count, error.data());
      productNorms(*r, weights.neuron(first), count, signal.data());
    } else {
      for (std::size_t k = 0; k < count; ++k) {
        error[k] = cblas_dnrm2(static_cast<int>(n), difference.data() + k * n, 1);
        signal[k] = cblas_dnrm2(static_cast<int>(n), weights.neuron(first + k), 1);
      }
    }
    for (std::size_t k = 0; k < count; ++k) {
      if (!std::isfinite(error[k]) || !std::isfinite(signal[k]))
        throw Error("ERR_VERTEXQ_NUMERIC", "neuron " + std::to_string(first + k) +
                                               ": the weights or activations are too large: outputs overflow float64");
      norms[first + k] = {error[k], signal[k]};
    }
  });
  return norms;
}

Norms frobenius(const std::vector<Norms>& neurons) {
  Norms total;
  for (const Norms& n : neurons) {
    total.error = std::hypot(total.error, n.error);
    total.signal = std::hypot(total.signal, n.signal);
  }
  return total;
}

}  // namespace

void requireFinite(const Weights& weights) {
  for (std::size_t i = 0; i < weights.outFeatures * weights.inFeatures; ++i)
    if (!std::isfinite(weights.data[i]))
      throw Error("ERR_VERTEXQ_NOT_FINITE", "weight of neuron " + std::to_string(i / weights.inFeatures) + ", input " +
                                                std::to_string(i % weights.inFeatures) +
                                                (std::isnan(weights.data[i]) ? " is NaN" : " is infinite"));
}

void requireHeld(const Weights& weights) {
  const double* end = weights.data + weights.outFeatures * weights.inFeatures;
  const double* largest =
      std::max_element(weights.data, end, [](double a, double b) { return std::abs(a) < std::abs(b); });
  if (largest == end || *largest == 0 || static_cast<float>(*largest) != 0) return;
  throw Error("ERR_VERTEXQ_SCALE_RANGE",
              "neuron " + std::to_string(static_cast<std::size_t>(largest - weights.data) / weights.inFeatures) +
                  ": the weights are too small: as float32 numbers all of the layer's are 0. Multiply them, and divide "
                  "the outputs, by a power of two");
}

void refuseInfinite(std::size_t neuron) {
  throw Error("ERR_VERTEXQ_SCALE_RANGE",
              "neuron " + std::to_string(neuron) + ": the weights are too large: a quantized one would be infinite");
}

void refuseLost(std::size_t neuron) {
  throw Error("ERR_VERTEXQ_SCALE_RANGE", "neuron " + std::to_string(neuron) +
                                             ": the weights are too small: quantized, all of the layer's would be 0");
}

void requireStored(const Rounded& rounded, std::size_t inFeatures, const AlphabetOptions& options) {
  const std::size_t groups = groupsOf(inFeatures, options.groupSize);
  std::size_t lost = rounded.codes.size();
  bool any = false;
  for (std::size_t i = 0; i < rounded.codes.size(); ++i) {
    const std::size_t neuron = i / inFeatures;
    const Alphabet& alphabet = rounded.alphabets[neuron * groups + i % inFeatures / options.groupSize];
    const double value = rounded.stored(alphabet, i);
    if (!std::isfinite(value) || !std::isfinite(alphabet.step()) || !alphabet.heldIn(options.stepPrecision()))
      refuseInfinite(neuron);
    any = any || value != 0;
    if (value == 0 && alphabet.level(rounded.codes[i]) != 0) lost = std::min(lost, i);
  }
  if (!any && lost < rounded.codes.size()) refuseLost(lost / inFeatures);
}

void holdAlphabets(const AlphabetOptions& options, const double* importance, std::size_t inFeatures, int exponent,
                   Alphabet* alphabets) {
  if (options.factors.groups == 0) return;
  std::vector<double> weights(groupsOf(inFeatures, options.groupSize));
  forEachGroup(inFeatures, options.groupSize, [&](std::size_t group, std::size_t first, std::size_t last) {
    for (std::size_t i = first; i < last; ++i) weights[group] += importance ? importance[i] : 1;
  });
  roundToFactors(options.kind(), options.factors, options.precision, weights.data(), weights.size(), exponent,
                 alphabets);
}

Alphabet coveringGroup(const AlphabetOptions& options, double low, double high) {
  return Alphabet::covering(options.kind(), options.factors.mostMinimum > 0 ? std::min(low, 0.0) : low, high,
                            options.stepPrecision());
}

Walked walkLayer(const Weights& weights, const Matrix& r, const AlphabetOptions& options, Box box, const RankRule& rank,
                 unsigned threads, JobControl& control) {
  requireFinite(weights);
  if (options.precision != ScalePrecision::Float64) requireHeld(weights);
  const std::size_t n = weights.inFeatures;
  const std::size_t groups = groupsOf(n, options.groupSize);
  control.expect(weights.outFeatures);
  const Tableau tableau = heldDirections(r, rank, n, control);
  control.throwIfCancelled();

  Walked walked;
  walked.rank = tableau.rank();
  walked.weights = Matrix(n, weights.outFeatures);
  walked.alphabets.resize(weights.outFeatures * groups);
  walked.free.resize(weights.outFeatures);
  walked.bound.resize(weights.outFeatures);
  const std::vector<double> norms = columnNorms(r);

  struct Workspace {
    explicit Workspace(const Tableau& t) : walk(t, t.t), low(t.size()), high(t.size()) {}
    BlockedWalk<double> walk;
    std::vector<double> low, high;
  };
  std::vector<std::unique_ptr<Workspace>> workspaces(threads);
  ThreadPool::shared().parallelFor(weights.outFeatures, threads, [&](std::size_t neuron, unsigned slot) {
    namingNeuron(neuron, [&] {
      if (!workspaces[slot]) workspaces[slot] = std::make_unique<Workspace>(tableau);
      Workspace& workspace = *workspaces[slot];
      double* w = walked.weights.column(neuron);
      std::copy_n(weights.neuron(neuron), n, w);
      Alphabet* alphabets = walked.alphabets.data() + neuron * groups;
      forEachGroup(n, options.groupSize, [&](std::size_t group, std::size_t first, std::size_t last) {
        const auto [low, high] = std::minmax_element(w + first, w + last);
        alphabets[group] = coveringGroup(options, *low, *high);
      });
      holdAlphabets(options, nullptr, n, 0, alphabets);
      forEachGroup(n, options.groupSize, [&](std::size_t group, std::size_t first, std::size_t last) {
        const Alphabet& a = alphabets[group];
        for (std::size_t i = first; i < last; ++i) {
          const Alphabet::Cell cell = box == Box::Cell ? a.cell(w[i]) : Alphabet::Cell{a.lowest(), a.highest()};
          workspace.low[i] = cell.low;
          workspace.high[i] = cell.high;
          // Near the end of a precision's range, or of super-blocks, they may not cover it.
          w[i] = std::clamp(w[i], cell.low, cell.high);
        }
      });
      workspace.walk.run(w, workspace.low.data(), workspace.high.data(), control);
      forEachGroup(n, options.groupSize, [&](std::size_t group, std::size_t first, std::size_t last) {
        for (std::size_t i = first; i < last; ++i) {
          if (alphabets[group].contains(w[i])) continue;
          walked.free[neuron].push_back(static_cast<int>(i));
          const Alphabet& a = alphabets[group];
          const Alphabet::Cell cell = a.table() ? a.cell(w[i]) : Alphabet::Cell{0, a.step()};
          walked.bound[neuron] += (cell.high - cell.low) / 2 * norms[i];
        }
      });
    });
    control.finish(1);
  });

  const std::vector<Norms> moved = neuronNorms(weights, &r, threads, control, [&](std::size_t neuron, double* out) {
    std::copy_n(walked.weights.column(neuron), n, out);
  });
  walked.residual.resize(weights.outFeatures);
  for (std::size_t neuron = 0; neuron < weights.outFeatures; ++neuron) {
    walked.residual[neuron] = moved[neuron].error;
    walked.bound[neuron] += moved[neuron].error;
  }
  const Norms total = frobenius(moved);
  walked.relativeResidual = total.error == 0 ? 0 : total.error / total.signal;
  return walked;
}

Rounded roundWalked(const Walked& walked, const AlphabetOptions& options) {
  const std::size_t n = walked.weights.rows();
  const std::size_t groups = groupsOf(n, options.groupSize);
  Rounded rounded;
  rounded.alphabets = walked.alphabets;
  rounded.codes.resize(walked.weights.cols() * n);
  for (std::size_t neuron = 0; neuron < walked.weights.cols(); ++neuron) {
    rounded.offAlphabet += walked.free[neuron].size();
    for (std::size_t i = 0; i < n; ++i) {
      const Alphabet& alphabet = walked.alphabets[neuron * groups + i / options.groupSize];
      rounded.codes[neuron * n + i] = static_cast<std::int8_t>(alphabet.nearest(walked.weights(i, neuron)));
    }
  }
  return rounded;
}

/** Those that the search by blocks gives. */
static void blockAlphabets(const double* w, const double* importance, std::size_t inFeatures,
                           const AlphabetOptions& options, Alphabet* alphabets) {
  BlockSearch search(options);
  const std::size_t groups = inFeatures / options.groupSize;
  std::vector<float> weights(w, w + inFeatures), counts, scales(groups), minima(groups);
  for (const float weight : weights)
    if (!std::isfinite(weight)) throw Error("ERR_VERTEXQ_SCALE_RANGE", "the weights are too large: float32 overflows");
  if (importance) counts.assign(importance, importance + inFeatures);
  std::vector<std::int8_t> codes(inFeatures);
  search.run(weights.data(), importance ? counts.data() : nullptr, inFeatures / search.size(), codes.data(),
             scales.data(), minima.data());
  for (std::size_t g = 0; g < groups; ++g)
    alphabets[g] = Alphabet::of(options.kind(), scales[g], options.grid == Grid::Minimum ? minima[g] : 0);
}

void plainAlphabets(const double* w, const double* importance, std::size_t inFeatures, const AlphabetOptions& options,
                    ScaleRule scale, Alphabet* alphabets) {
  if (options.isBlock && scale == ScaleRule::Search)
    return blockAlphabets(w, importance, inFeatures, options, alphabets);
  forEachGroup(inFeatures, options.groupSize, [&](std::size_t group, std::size_t first, std::size_t last) {
    const auto [low, high] = std::minmax_element(w + first, w + last);
    alphabets[group] = scale == ScaleRule::Max
                           ? coveringGroup(options, *low, *high)
                           : searchAlphabet(options.kind(), w + first, importance ? importance + first : nullptr,
                                            last - first, options.stepPrecision());
  });
  holdAlphabets(options, importance, inFeatures, 0, alphabets);
}

Rounded roundLayer(const Weights& weights, const Matrix* r, const AlphabetOptions& options, ScaleRule scale,
                   unsigned threads, JobControl& control) {
  requireFinite(weights);
  requireHeld(weights);
  const std::size_t n = weights.inFeatures;
  const std::size_t groups = groupsOf(n, options.groupSize);
  control.expect(weights.outFeatures);
  std::vector<double> importance;
  if (r) {
    importance = columnNorms(scaledToOne(*r));  // their unit is free, and squares of huge ones are none
    for (double& norm : importance) norm *= norm;
  }
  Rounded rounded;
  rounded.codes.resize(weights.outFeatures * n);
  rounded.alphabets.resize(weights.outFeatures * groups);
  std::vector<std::size_t> off(weights.outFeatures);
  std::vector<std::unique_ptr<SingleRounding>> single(std::max(threads, 1u));
  ThreadPool::shared().parallelFor(weights.outFeatures, threads, [&](std::size_t neuron, unsigned slot) {
    control.throwIfCancelled();
    const double* w = weights.neuron(neuron);
    const bool isPlain = !r && !options.isBlock;
    if (isPlain && !single[slot]) single[slot] = std::make_unique<SingleRounding>(options, scale, n);
    namingNeuron(neuron, [&] {
      std::int8_t* codes = &rounded.codes[neuron * n];
      Alphabet* alphabets = &rounded.alphabets[neuron * groups];
      if (isPlain && single[slot]->round(w, codes, alphabets)) {
        for (std::size_t i = 0; i < n; ++i)
          off[neuron] += alphabets[i / options.groupSize].level(codes[i]) == w[i] ? 0 : 1;
        return;
      }
      plainAlphabets(w, r ? importance.data() : nullptr, n, options, scale, alphabets);
      for (std::size_t i = 0; i < n; ++i) {
        const Alphabet& a = alphabets[i / options.groupSize];
        codes[i] = static_cast<std::int8_t>(a.nearest(w[i]));
        off[neuron] += a.contains(w[i]) ? 0 : 1;
      }
    });
    control.finish(1);
  });
  for (std::size_t count : off) rounded.offAlphabet += count;
  return rounded;
}

Norms outputError(const Weights& weights, const Rounded& rounded, std::size_t groupSize, const Matrix* r,
                  unsigned threads, const JobControl& control) {
  const std::size_t n = weights.inFeatures;
  const std::size_t groups = groupsOf(n, groupSize);
  return frobenius(neuronNorms(weights, r, threads, control, [&](std::size_t neuron, double* out) {
    for (std::size_t i = 0; i < n; ++i)
      out[i] = rounded.stored(rounded.alphabets[neuron * groups + i / groupSize], neuron * n + i);
  }));
}

}  // namespace vertexq
