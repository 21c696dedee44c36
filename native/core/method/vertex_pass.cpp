#include "method/vertex_pass.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "calibration/eigenspace.h"
#include "error.h"
#include "linalg/real_blas.h"

namespace vertexq {

namespace {

/**
 * Answers in flight when free entries are decoded. The first walk gains 1 to 3 % by 16 of them; later passes choose among
 * answers anyhow, and gain most for their time with 4 (bench/quality).
 */
constexpr std::size_t kFirstWidth = 16;
constexpr std::size_t kPartWidth = 4;

/** Ridges relative to the mean diagonal that a part's factorisation is tried with, after none. */
constexpr double kLeastRidge = 1e-12;
constexpr double kMostRidge = 1e3;

}  // namespace

VertexPart::VertexPart(const LayerFit& fit, std::size_t pass, std::vector<int> inputs, std::size_t rank,
                       unsigned threads, const JobControl& control)
    : pass_(pass), inputs_(std::move(inputs)), everything_(inputs_.size() == fit.inFeatures()) {
  const std::size_t n = inputs_.size();
  Matrix h(n, n);
  for (std::size_t j = 0; j < n; ++j) {
    const double* column = fit.h.column(static_cast<std::size_t>(inputs_[j]));
    for (std::size_t i = 0; i < n; ++i) h(i, j) = column[inputs_[i]];
  }
  order_.resize(n);
  std::iota(order_.begin(), order_.end(), std::size_t{0});
  std::stable_sort(order_.begin(), order_.end(), [&](std::size_t a, std::size_t b) { return h(a, a) > h(b, b); });
  control.checkpoint();
  tableau_ = tableauOf(leadingEigenspace(h, rank, threads).part);
  single_ = FloatMatrix(tableau_.t.rows(), tableau_.t.cols());
  std::copy_n(tableau_.t.data(), single_.rows() * single_.cols(), single_.data());
  if (everything_) return;
  control.checkpoint();
  factorise(h);
}

/** H_PP = L Lᵀ; where the data does not determine the part (little damping, few samples), with as much of a ridge as that takes. */
void VertexPart::factorise(const Matrix& h) {
  const std::size_t n = h.cols();
  double trace = 0;
  for (std::size_t i = 0; i < n; ++i) trace += h(i, i);
  for (double ridge = 0; ridge < kMostRidge; ridge = std::max(10 * ridge, kLeastRidge)) {
    factor_ = h;
    for (std::size_t i = 0; i < n; ++i) factor_(i, i) += ridge * trace / static_cast<double>(n);
    if (linalg::potrf('L', n, factor_.data(), n) == 0) return;
  }
  throw Error("ERR_VERTEXQ_NUMERIC", "the Gram matrix of a part of the inputs has no Cholesky factorisation");
}

VertexWorker::VertexWorker(const LayerFit& fit, const FreeEntrySystem<float>& system)
    : fit_(fit),
      descent_(fit.h),
      refit_(fit.h, fit.alphabets.groupSize),
      decoder_(system, fit.inFeatures(), kFirstWidth),
      values_(fit.inFeatures(), kBlock),
      gradient_(fit.inFeatures(), kBlock),
      aimed_(fit.inFeatures(), kBlock),
      difference_(fit.inFeatures(), kBlock),
      low_(fit.inFeatures()),
      high_(fit.inFeatures()),
      walked_(fit.inFeatures()),
      weights_(fit.inFeatures()),
      decoded_(fit.inFeatures()),
      codes_(fit.inFeatures() * kBlock) {
  free_.reserve(fit.inFeatures());
}

void VertexWorker::run(const VertexPart& part, std::size_t first, std::size_t count, LayerCodes& best,
                       const JobControl& control) {
  const std::size_t n = fit_.inFeatures();
  if (!walk_ || pass_ != part.pass()) {
    walk_ = std::make_unique<BlockedWalk<float>>(part.tableau(), part.single());
    pass_ = part.pass();
  }
  if (part.isEverything()) {
    std::copy_n(fit_.weights.column(first), n * count, aimed_.data());
  } else {
    load(first, count, best);
    aim(part, first, count);
  }
  for (std::size_t k = 0; k < count; ++k) {
    control.checkpoint();
    walk(part, first + k, aimed_.column(k), values_.column(k), codes_.data() + k * n, control);
  }
  gradients(first, count, values_);
  for (std::size_t k = 0; k < count; ++k) {
    const std::size_t neuron = first + k;
    const double error = polish(neuron, k);
    if (!(error < best.errors[neuron])) continue;
    best.errors[neuron] = error;
    std::copy_n(codes_.data() + k * n, n, best.codes.data() + neuron * n);
  }
}

void VertexWorker::refit(std::size_t first, std::size_t count, const AlphabetOptions& kind,
                         std::vector<Alphabet>& alphabets, LayerCodes& best, const JobControl& control) {
  control.checkpoint();
  const std::size_t n = fit_.inFeatures(), groups = fit_.alphabets.groups();
  const auto firstAlphabet = alphabets.begin() + static_cast<std::ptrdiff_t>(first * groups);
  kept_.assign(firstAlphabet, firstAlphabet + static_cast<std::ptrdiff_t>(count * groups));
  load(first, count, best);
  gradients(first, count, values_);
  for (std::size_t k = 0; k < count; ++k) {
    const std::vector<double>& factors = refit_.factors(values_.column(k), gradient_.column(k));
    for (std::size_t g = 0; g < groups; ++g) {
      Alphabet& a = alphabets[(first + k) * groups + g];
      const auto step = static_cast<double>(static_cast<float>(a.step() * factors[g]));
      if (std::isnormal(static_cast<float>(step)))
        a = Alphabet::withStep(kind.grid, kind.levels, step, static_cast<int>(std::floor(a.zeroPoint())));
    }
  }
  dequantize(first, count, codes_.data(), values_);
  gradients(first, count, values_);
  for (std::size_t k = 0; k < count; ++k) {
    const std::size_t neuron = first + k;
    const double error = polish(neuron, k);
    if (error < best.errors[neuron]) {
      best.errors[neuron] = error;
      std::copy_n(codes_.data() + k * n, n, best.codes.data() + neuron * n);
    } else {
      std::copy_n(kept_.begin() + static_cast<std::ptrdiff_t>(k * groups), groups,
                  alphabets.begin() + static_cast<std::ptrdiff_t>(neuron * groups));
    }
  }
}

/** Coordinate descent from values_ and gradient_, column k. Returns (q - w)ᵀH(q - w). */
double VertexWorker::polish(std::size_t neuron, std::size_t k) {
  const std::size_t n = fit_.inFeatures();
  const double* w = fit_.weights.column(neuron);
  double* q = values_.column(k);
  double* g = gradient_.column(k);
  descent_.run(w, q, g, codes_.data() + k * n, fit_.alphabets, neuron);
  double error = 0;
  for (std::size_t i = 0; i < n; ++i) error += (q[i] - w[i]) * g[i];
  return error;
}

void VertexWorker::load(std::size_t first, std::size_t count, const LayerCodes& best) {
  const std::size_t n = fit_.inFeatures();
  std::copy_n(best.codes.data() + first * n, n * count, codes_.data());
  dequantize(first, count, codes_.data(), values_);
}

void VertexWorker::dequantize(std::size_t first, std::size_t count, const std::int8_t* codes, Matrix& values) const {
  const std::size_t n = fit_.inFeatures();
  for (std::size_t k = 0; k < count; ++k)
    for (std::size_t i = 0; i < n; ++i) values(i, k) = fit_.alphabets.of(first + k, i).level(codes[k * n + i]);
}

/** gradient_ ← H(q - w). */
void VertexWorker::gradients(std::size_t first, std::size_t count, const Matrix& values) {
  const std::size_t n = fit_.inFeatures();
  const double* w = fit_.weights.column(first);
  for (std::size_t i = 0; i < n * count; ++i) difference_.data()[i] = values.data()[i] - w[i];
  linalg::gemm(linalg::kPlain, linalg::kPlain, n, count, n, 1.0, fit_.h.data(), n, difference_.data(), n, 0.0,
               gradient_.data(), n);
}

void VertexWorker::aim(const VertexPart& part, std::size_t first, std::size_t count) {
  gradients(first, count, values_);
  const std::vector<int>& inputs = part.inputs();
  const std::size_t p = inputs.size();
  double* step = difference_.data();  // free again: p × count
  for (std::size_t k = 0; k < count; ++k)
    for (std::size_t i = 0; i < p; ++i) step[i + k * p] = gradient_(static_cast<std::size_t>(inputs[i]), k);
  linalg::trsm(CblasLeft, CblasLower, linalg::kPlain, CblasNonUnit, p, count, part.factor().data(), p, step, p);
  linalg::trsm(CblasLeft, CblasLower, linalg::kTransposed, CblasNonUnit, p, count, part.factor().data(), p, step, p);
  for (std::size_t k = 0; k < count; ++k)
    for (std::size_t i = 0; i < p; ++i)
      aimed_(i, k) = values_(static_cast<std::size_t>(inputs[i]), k) - step[i + k * p];
}

/** Walks `aimed` (by place in the part), and decodes what the walk leaves free. values and codes: all N inputs. */
void VertexWorker::walk(const VertexPart& part, std::size_t neuron, const double* aimed, double* values,
                        std::int8_t* codes, const JobControl& control) {
  const std::vector<int>& inputs = part.inputs();
  const std::size_t n = fit_.inFeatures(), p = inputs.size();
  for (std::size_t i = 0; i < p; ++i) {
    const Alphabet& a = fit_.alphabets.of(neuron, static_cast<std::size_t>(inputs[i]));
    // A value beyond the alphabet stays at its end; the least squares below make up for it.
    walked_[i] = std::clamp(aimed[i], a.lowest(), a.highest());
    const Alphabet::Cell cell = a.cell(walked_[i]);
    low_[i] = cell.low;
    high_[i] = cell.high;
  }
  walk_->run(walked_.data(), low_.data(), high_.data(), control);
  free_.clear();
  for (const std::size_t i : part.order()) {
    const auto input = static_cast<std::size_t>(inputs[i]);
    if (walked_[i] != low_[i] && walked_[i] != high_[i]) {
      free_.push_back(inputs[i]);
      continue;
    }
    values[input] = walked_[i];
    codes[input] = static_cast<std::int8_t>(fit_.alphabets.of(neuron, input).nearest(walked_[i]));
  }
  const double* w = fit_.weights.column(neuron);
  for (std::size_t i = 0; i < n; ++i) {
    weights_[i] = static_cast<float>(w[i]);
    decoded_[i] = static_cast<float>(values[i]);
  }
  decoder_.decode(weights_.data(), decoded_.data(), codes, free_.data(), free_.size(), fit_.alphabets, neuron,
                  part.isEverything() ? kFirstWidth : kPartWidth);
  for (const int input : free_)
    values[input] = fit_.alphabets.of(neuron, static_cast<std::size_t>(input)).level(codes[input]);
}

}  // namespace vertexq
