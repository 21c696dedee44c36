#include "method/fit_layer.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "decode/cholesky.h"
#include "decode/coefficients.h"
#include "decode/coordinate_descent.h"
#include "decode/damping.h"
#include "decode/successive_rounding.h"
#include "error.h"
#include "method/gptq.h"
#include "method/gram_error.h"
#include "method/layer_values.h"
#include "method/output_feedback.h"
#include "method/quadratic_forms.h"
#include "method/targets.h"
#include "method/vertex.h"
#include "naming.h"

namespace vertexq {

namespace {

constexpr double kTwoPiE = 17.079468445347132;

/** Alphabets that cover each group's weights, or those with the least rounding error weighted by H's diagonal. */
std::vector<Alphabet> roundingAlphabets(const Matrix& targets, const Matrix& h, const FitOptions& options) {
  const std::size_t n = targets.rows(), groupSize = options.alphabet.groupSize;
  std::vector<double> importance(n);
  for (std::size_t i = 0; i < n; ++i) importance[i] = h(i, i);
  const std::size_t groups = groupsOf(n, groupSize);
  std::vector<Alphabet> alphabets(targets.cols() * groups);
  for (std::size_t neuron = 0; neuron < targets.cols(); ++neuron)
    namingNeuron(neuron, [&] {
      plainAlphabets(targets.column(neuron), importance.data(), n, options.alphabet, options.scale,
                     &alphabets[neuron * groups]);
    });
  return alphabets;
}

/** Successive rounding in float64, whose range no weight leaves. */
LayerCodes decodeWith(const Coefficients<double>& coefficients, const Matrix& targets, const Matrix& h,
                      const LayerAlphabets& alphabets, bool polish, unsigned threads, JobControl& control) {
  const std::size_t n = targets.rows(), neurons = targets.cols();
  LayerCodes attempt{std::vector<std::int8_t>(n * neurons), {}};
  Matrix values(n, neurons);
  RoundingTask<double> task;
  task.weights = targets.data();
  task.neurons = neurons;
  task.alphabets = alphabets;
  task.codes = attempt.codes.data();
  task.values = values.data();
  successiveRounding(coefficients, task, threads, control);
  if (polish) descend(h, targets.data(), neurons, alphabets, attempt.codes.data(), values.data(), threads, control);
  attempt.errors = quadraticForms(h, neurons, threads, control, [&](std::size_t neuron, double* v) {
    for (std::size_t i = 0; i < n; ++i) v[i] = values(i, neuron) - targets(i, neuron);
  });
  return attempt;
}

/** That of H as it is. */
std::optional<double> logDeterminantOf(const Coefficients<double>& coefficients) {
  if (coefficients.damping > 0) return std::nullopt;
  return coefficients.logDeterminant;
}

std::optional<double> logDeterminantOf(Matrix h, unsigned threads, const JobControl& control) {
  if (!choleskyLower(h, threads, control)) return std::nullopt;
  double sum = 0;
  for (std::size_t i = 0; i < h.cols(); ++i) sum += 2 * std::log(h(i, i));
  return sum;
}

/** GPTQ with the scales as they are: both orders and plain rounding, polished, the best of them neuron by neuron. */
LayerCodes gptqWithScales(const Matrix& targets, const Matrix& h, const LayerAlphabets& alphabets, unsigned threads,
                          JobControl& control, std::optional<double>& logDeterminant) {
  const std::size_t n = targets.rows(), neurons = targets.cols();
  LayerCodes best;
  const auto keepBetter = [&](LayerCodes tried) {
    if (best.codes.empty()) {
      best = std::move(tried);
      return;
    }
    for (std::size_t neuron = 0; neuron < neurons; ++neuron) {
      if (!(tried.errors[neuron] < best.errors[neuron])) continue;
      best.errors[neuron] = tried.errors[neuron];
      std::copy_n(&tried.codes[neuron * n], n, &best.codes[neuron * n]);
    }
  };
  for (const DecodeOrder order : {DecodeOrder::Activation, DecodeOrder::Natural}) {
    const Coefficients<double> coefficients = nearestPlaneCoefficients(h, 0.0, order, threads, control);
    logDeterminant = logDeterminantOf(coefficients);
    keepBetter(decodeWith(coefficients, targets, h, alphabets, true, threads, control));
  }
  Coefficients<double> none = gpfqCoefficients(h, DecodeOrder::Natural);
  std::fill_n(none.m.data(), n * n, 0.0);
  keepBetter(decodeWith(none, targets, h, alphabets, true, threads, control));
  return best;
}

std::optional<double> sphereGap(const LayerAlphabets& alphabets, std::size_t n, double logDeterminant,
                                const std::vector<double>& errors) {
  const double size = static_cast<double>(n);
  double bound = 0, error = 0;
  for (std::size_t neuron = 0; neuron < errors.size(); ++neuron) {
    double logSteps = 0;
    for (std::size_t i = 0; i < n; ++i) logSteps += std::log(alphabets.of(neuron, i).step());
    const double least = size / kTwoPiE * std::exp((2 * logSteps + logDeterminant) / size);
    if (!(least > 0) || !std::isfinite(least)) continue;  // a neuron of zeros
    bound += least;
    error += errors[neuron];
  }
  if (!(bound > 0) || !(error > 0) || !std::isfinite(error / bound)) return std::nullopt;
  return 10 * std::log10(error / bound);
}

}  // namespace

LayerCodes gpfqCodes(const FitProblem& problem, Fitted& fitted) {
  const auto& [weights, data, h, targets, options, threads, control, isMoved] = problem;
  control.expect(targets.cols());
  fitted.rounded.alphabets = roundingAlphabets(targets, h, options);
  fitted.logDeterminant = logDeterminantOf(h, threads, control);
  return decodeWith(gpfqCoefficients(h, DecodeOrder::Natural), targets, h,
                    layerView(fitted.rounded.alphabets, h.cols(), options.alphabet.groupSize), false, threads, control);
}

LayerCodes gptqCodes(const FitProblem& problem, Fitted& fitted) {
  const auto& [weights, data, h, targets, options, threads, control, isMoved] = problem;
  const std::size_t n = h.cols(), neurons = targets.cols();
  if (options.scale == ScaleRule::Search) {
    control.expect(neurons);
    GptqOptions gptq;
    gptq.alphabets = options.alphabet;
    if (options.passes) gptq.rounds = static_cast<int>(*options.passes);
    GptqResult result = gptqLayer({targets.data(), neurons, n}, h, gptq, threads, control);
    fitted.rounded.alphabets = std::move(result.alphabets);
    fitted.logDeterminant = result.logDeterminant;
    return {std::move(result.codes), std::move(result.errors)};
  }
  const bool asPublished = options.passes == 0;
  control.expect(asPublished ? neurons : 6 * neurons);  // three decodings, each polished
  fitted.rounded.alphabets = roundingAlphabets(targets, h, options);
  const LayerAlphabets alphabets = layerView(fitted.rounded.alphabets, n, options.alphabet.groupSize);
  if (!asPublished) return gptqWithScales(targets, h, alphabets, threads, control, fitted.logDeterminant);
  const Coefficients<double> coefficients = nearestPlaneCoefficients(h, 0.0, DecodeOrder::Natural, threads, control);
  fitted.logDeterminant = logDeterminantOf(coefficients);
  return decodeWith(coefficients, targets, h, alphabets, false, threads, control);
}

LayerCodes vertexCodes(const FitProblem& problem, Fitted& fitted) {
  const Matrix &h = problem.h, &targets = problem.targets;
  const FitOptions& options = problem.options;
  const unsigned threads = problem.threads;
  JobControl& control = problem.control;
  const std::size_t n = h.cols(), neurons = targets.cols(), groupSize = options.alphabet.groupSize;
  FitOptions start = options;
  start.passes.reset();
  LayerCodes best =
      gptqCodes({problem.weights, problem.data, h, targets, start, threads, control, problem.isMoved}, fitted);
  VertexOptions vertex;
  vertex.rank = options.rank.kind == RankRule::Kind::AtMost
                    ? options.rank.limit
                    : static_cast<std::size_t>(std::lround(
                          (options.rank.kind == RankRule::Kind::Full ? 1.0 : kDefaultRank) * static_cast<double>(n)));
  vertex.rank = std::clamp<std::size_t>(vertex.rank, 1, n);
  vertex.passes = options.passes.value_or(options.passSeconds ? kMostTimedPasses : defaultPasses(n, neurons));
  vertex.seconds = options.passSeconds;
  vertex.refit = options.scale == ScaleRule::Search;
  vertex.kind = options.alphabet;
  // Those that time allows are not known before.
  control.expect(neurons * (std::min(vertex.passes, kMostPasses) + 1));
  // Weights and alphabets in a unit of about the largest weight.
  const int exponent = layerExponent(targets.data(), n * neurons);
  vertex.exponent = exponent;
  Matrix scaledTargets = targets;
  for (std::size_t i = 0; i < n * neurons; ++i)
    scaledTargets.data()[i] = std::ldexp(scaledTargets.data()[i], -exponent);
  std::vector<Alphabet> scaledAlphabets = fitted.rounded.alphabets;
  for (Alphabet& a : scaledAlphabets) a = a.scaledBy(-exponent);
  for (double& e : best.errors) e = std::ldexp(e, -2 * exponent);
  Rounded given = fitted.rounded;
  given.codes = best.codes;
  const std::vector<double> givenErrors = best.errors;
  const LayerFit fit{h, scaledTargets, layerView(scaledAlphabets, n, groupSize)};
  const VertexOutcome outcome = vertexLayer(fit, scaledAlphabets, best, vertex, threads, control);
  for (std::size_t i = 0; i < scaledAlphabets.size(); ++i)
    fitted.rounded.alphabets[i] = scaledAlphabets[i].scaledBy(exponent);
  for (double& e : best.errors) e = std::ldexp(e, 2 * exponent);
  fitted.rank = vertex.rank;
  fitted.passes = outcome.passes;
  fitted.walked = outcome.walked;
  fitted.rounded.codes = best.codes;
  // What was lowered is the damped error; by the one that is reported GPTQ's answer is the better one now and then.
  const auto reported = [&](const Rounded& answer) {
    return gramError(problem.weights, answer, groupSize, problem.data, options.damping, threads, control).error;
  };
  if (!problem.isMoved && reported(given) < reported(fitted.rounded)) {
    fitted.rounded = std::move(given);
    best = {fitted.rounded.codes, givenErrors};
    for (double& e : best.errors) e = std::ldexp(e, 2 * exponent);
    fitted.walked = 0;
  }
  return best;
}

/** What a task gives; an error about the weights says so where they are not the layer's own. */
template <typename Task>
auto namingTargets(const Weights& weights, const Matrix& targets, Task task) {
  const std::size_t count = weights.inFeatures * weights.outFeatures;
  const double given = largestMagnitude(weights.data, count), asked = largestMagnitude(targets.data(), count);
  if (!(asked > given)) return task();
  const auto what = [&] {
    std::ostringstream text;
    text << "the targets are too large: they ask for weights of up to " << asked << ", and the layer's are of up to "
         << given;
    return text.str();
  };
  return naming(what, task);
}

Fitted fitLayer(const Weights& weights, const GramData& data, const GramData* holdout, const FitOptions& options,
                unsigned threads, JobControl& control) {
  requireFinite(weights);
  requireHeld(weights);
  const std::size_t n = weights.inFeatures, neurons = weights.outFeatures, groupSize = options.alphabet.groupSize;
  Fitted fitted;
  fitted.damping = options.damping;
  // The unit of H is free: a power of two keeps float32 in range.
  Matrix h = damped(matrixTimes(data.h, unitScale(data.h)), options.damping);
  const double unit = unitScale(h);
  h = matrixTimes(std::move(h), unit);
  Matrix targets = data.paired()
                       ? correctedTargets(weights, data, holdout, options.correction, threads, control).targets
                       : fitTargets(weights, data, h, threads, control);
  control.throwIfCancelled();

  LayerCodes best = namingTargets(weights, targets, [&] {
    const FitProblem problem{weights, data, h, targets, options, threads, control};
    if (!options.outputGram) return options.search(problem, fitted);
    return codesWithFeedback(problem, OutputFactor(*options.outputGram, threads, control), fitted);
  });
  fitted.rounded.codes = std::move(best.codes);
  const LayerAlphabets alphabets = layerView(fitted.rounded.alphabets, n, groupSize);
  std::vector<double> q(n);
  for (std::size_t neuron = 0; neuron < neurons; ++neuron) {
    storedLevels(fitted.rounded, alphabets, neuron, q.data());
    for (std::size_t i = 0; i < n; ++i) fitted.rounded.offAlphabet += q[i] == weights.neuron(neuron)[i] ? 0 : 1;
  }
  if (fitted.logDeterminant && options.alphabet.grid != Grid::Table)  // its levels have no volume of one size
    fitted.sphereGap = sphereGap(alphabets, n, *fitted.logDeterminant, best.errors);
  return fitted;
}

Rounded roundByGram(const Weights& weights, const Matrix& h, const AlphabetOptions& options, ScaleRule scale,
                    unsigned threads, JobControl& control) {
  // A scale search asks the factor of H for the norms of its columns alone: one row of them does.
  Matrix norms(1, h.cols());
  for (std::size_t i = 0; i < h.cols(); ++i) norms(0, i) = std::sqrt(h(i, i));
  return roundLayer(weights, &norms, options, scale, threads, control);
}

}  // namespace vertexq
