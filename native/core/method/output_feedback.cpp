#include "method/output_feedback.h"

#include <algorithm>
#include <numeric>

#include "decode/cholesky.h"
#include "decode/damping.h"
#include "decode/successive_rounding.h"
#include "error.h"
#include "linalg/real_blas.h"
#include "method/layer_values.h"
#include "method/quadratic_forms.h"
#include "method/vertex.h"

namespace vertexq {

namespace {

/** About so many blocks of large layers: each makes what its search knows of H anew. */
constexpr std::size_t kBlocks = 8;

/** A neuron whose weights no scale holds is told by its number, which the blocks do not know. */
void requireScales(const Matrix& targets, const AlphabetOptions& options) {
  const std::size_t n = targets.rows();
  for (std::size_t neuron = 0; neuron < targets.cols(); ++neuron)
    namingNeuron(neuron, [&] {
      const double* w = targets.column(neuron);
      for (std::size_t first = 0; first < n; first += options.groupSize) {
        const auto [low, high] = std::minmax_element(w + first, w + std::min(first + options.groupSize, n));
        coveringGroup(options, *low, *high);
      }
    });
}

/** What passes there are by default, or of the time that there is the block's share. */
FitOptions optionsOfBlock(const FitOptions& options, std::size_t inFeatures, std::size_t neurons, std::size_t block) {
  FitOptions own = options;
  if (options.search == vertexCodes && !options.passes && !options.passSeconds)
    own.passes = defaultPasses(inFeatures, neurons);
  if (options.passSeconds)
    own.passSeconds = *options.passSeconds * static_cast<double>(block) / static_cast<double>(neurons);
  return own;
}

/** Blocks of channels in the factor's order, each moved to where the errors of those before ask for. */
class MovedTargets {
 public:
  MovedTargets(const FitProblem& problem, const OutputFactor& factor)
      : problem_(problem), factor_(factor), errors_(problem.targets.rows(), problem.targets.cols()) {}

  /** T_b + (Σ_k E_k U_kb) U_bb⁻¹ for `count` channels from `first` on. */
  Matrix of(std::size_t first, std::size_t count) const {
    const std::size_t n = errors_.rows(), out = errors_.cols();
    const Matrix& u = factor_.u();
    Matrix moved(n, count);
    if (first > 0) {
      ThreadPool::shared().parallelFor(
          (count + kFormBlock - 1) / kFormBlock, problem_.threads, [&](std::size_t part, unsigned) {
            problem_.control.throwIfCancelled();
            const std::size_t begin = part * kFormBlock;
            const std::size_t own = std::min(kFormBlock, count - begin);
            linalg::gemm(linalg::kPlain, linalg::kPlain, n, own, first, 1.0, errors_.data(), n, u.column(first + begin),
                         out, 0.0, moved.column(begin), n);
          });
      linalg::trsm(CblasRight, CblasUpper, linalg::kPlain, CblasNonUnit, n, count, u.column(first) + first, out,
                   moved.data(), n);
    }
    for (std::size_t k = 0; k < count; ++k)
      linalg::axpy(n, 1.0, problem_.targets.column(factor_.order()[first + k]), moved.column(k));
    return moved;
  }

  /** What a block was left with. */
  void leave(std::size_t first, std::size_t count, const std::vector<std::int8_t>& codes,
             const LayerAlphabets& alphabets) {
    const std::size_t n = errors_.rows();
    for (std::size_t k = 0; k < count; ++k) {
      const double* t = problem_.targets.column(factor_.order()[first + k]);
      for (std::size_t i = 0; i < n; ++i) errors_(i, first + k) = t[i] - alphabets.of(k, i).level(codes[k * n + i]);
    }
  }

 private:
  const FitProblem& problem_;
  const OutputFactor& factor_;
  Matrix errors_;  // T - Q, in the factor's order
};

}  // namespace

OutputFactor::OutputFactor(const Matrix& gram, unsigned threads, const JobControl& control) : order_(gram.cols()) {
  const std::size_t out = gram.cols();
  std::iota(order_.begin(), order_.end(), std::size_t{0});
  std::stable_sort(order_.begin(), order_.end(), [&](std::size_t a, std::size_t b) { return gram(a, a) > gram(b, b); });
  const Matrix whole = damped(matrixTimes(gram, unitScale(gram)), kOutputDamping);
  // From the last channel back a lower factor is an upper one.
  const auto place = [&](std::size_t i) { return order_[out - 1 - i]; };
  Matrix back(out, out);
  for (std::size_t j = 0; j < out; ++j)
    for (std::size_t i = 0; i < out; ++i) back(i, j) = whole(place(i), place(j));
  if (!choleskyLower(back, threads, control))
    throw Error("ERR_VERTEXQ_NUMERIC", "the Gram matrix of the outputs' gradients is not positive semidefinite");
  u_ = Matrix(out, out);
  for (std::size_t j = 0; j < out; ++j)
    for (std::size_t i = 0; i <= j; ++i) u_(i, j) = back(out - 1 - i, out - 1 - j);
}

std::size_t feedbackBlock(std::size_t outFeatures) {
  return std::max(kNeuronBlock, outFeatures / kBlocks / kNeuronBlock * kNeuronBlock);
}

LayerCodes codesWithFeedback(const FitProblem& problem, const OutputFactor& factor, Fitted& fitted) {
  const auto& [weights, data, h, targets, options, threads, control, isMoved] = problem;
  const std::size_t n = targets.rows(), neurons = targets.cols();
  const std::size_t groupSize = options.alphabet.groupSize, groups = groupsOf(n, groupSize);
  requireScales(targets, options.alphabet);
  control.expect(neurons);
  LayerCodes all{std::vector<std::int8_t>(neurons * n), std::vector<double>(neurons)};
  fitted.rounded.alphabets.resize(neurons * groups);
  MovedTargets moved(problem, factor);
  const std::size_t width = feedbackBlock(neurons);
  for (std::size_t first = 0; first < neurons; first += width) {
    const std::size_t count = std::min(width, neurons - first);
    const std::size_t* order = &factor.order()[first];
    std::vector<double> own(count * n);
    for (std::size_t k = 0; k < count; ++k) std::copy_n(weights.neuron(order[k]), n, &own[k * n]);
    const Weights ownWeights{own.data(), count, n};
    const Matrix asked = moved.of(first, count);
    const FitOptions ownOptions = optionsOfBlock(options, n, neurons, count);
    JobControl inner(&control);
    Fitted part;
    const LayerCodes codes = options.search({ownWeights, data, h, asked, ownOptions, threads, inner, first > 0}, part);
    moved.leave(first, count, codes.codes, layerView(part.rounded.alphabets, n, groupSize));
    for (std::size_t k = 0; k < count; ++k) {
      std::copy_n(&codes.codes[k * n], n, &all.codes[order[k] * n]);
      std::copy_n(&part.rounded.alphabets[k * groups], groups, &fitted.rounded.alphabets[order[k] * groups]);
      all.errors[order[k]] = codes.errors[k];
    }
    fitted.rank = part.rank;
    fitted.passes = std::max(fitted.passes, part.passes);
    fitted.walked += part.walked;
    fitted.logDeterminant = part.logDeterminant;
    control.finish(count);
  }
  return all;
}

}  // namespace vertexq
