// A layer from weights and Gram matrices to codes, by any of the methods that fit codes to data.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "calibration/calibration_gram.h"
#include "layer.h"
#include "method/layer_fit.h"
#include "parallel/job_control.h"

namespace vertexq {

struct FitProblem;
struct Fitted;

/**
 * Finds codes, and fills `fitted.rounded.alphabets` with those they belong to and what else is told of the search. Expects its progress
 * itself.
 */
using CodeSearch = LayerCodes (*)(const FitProblem& problem, Fitted& fitted);
/** GPTQ, then the walk and more, where that is better (vertex.h). */
LayerCodes vertexCodes(const FitProblem& problem, Fitted& fitted);
/** gptq.h. */
LayerCodes gptqCodes(const FitProblem& problem, Fitted& fitted);
/** Lybrand & Saab 2021 in Gram form, scales by rounding error, natural order: as its authors have it. */
LayerCodes gpfqCodes(const FitProblem& problem, Fitted& fitted);

struct FitOptions {
  CodeSearch search = vertexCodes;
  AlphabetOptions alphabet;
  ScaleRule scale = ScaleRule::Search;
  RankRule rank{RankRule::Kind::Auto, 0};  // of the first walk
  double damping = kDefaultDamping;        // relative (decode/damping.h)
  /**
   * vertexCodes: passes after the walk; without, defaultPasses (vertex.h). gptqCodes, for the baselines of bench/quality alone: rounds
   * after the first decoding (gptq.h); 0 with ScaleRule::Max is GPTQ as published and shipped: natural order and nothing else.
   */
  std::optional<std::size_t> passes = {};
  /** vertexCodes: for how long passes are begun instead, in seconds. */
  std::optional<double> passSeconds = {};
  /** How much of the correction of paired data is asked for: 1 is all of it. */
  double correction = 1;
  /** G of the outputs (output_feedback.h), outFeatures × outFeatures, or null: then neurons are fitted each for itself. */
  const Matrix* outputGram = nullptr;

  /** Lowest held-out errors at 2, 3 and 4 bits were with 0.001 to 0.003 (docs/quality.md). */
  static constexpr double kDefaultDamping = 0.003;
};

struct Fitted {
  Rounded rounded;
  std::vector<double> bound;  // per neuron, of a method that has one: its certificate (Walked)
  std::size_t rank = 0;       // directions the first walk held; 0 for other methods
  std::size_t passes = 0;     // after the walk
  std::size_t walked = 0;     // neurons for which the walk had the better answer
  double damping = 0;
  /**
   * 10·log₁₀ of Σ (q-w)ᵀH(q-w) over the sphere bound Σ (N/2πe)·(∏δ_i)^{2/N}·det(H)^{1/N}, H damped: what no rounding of an
   * unbounded grid gets below on average, for large N (docs/methods.md, "The sphere gap"). Absent where a bound is 0.
   */
  std::optional<double> sphereGap;
  std::optional<double>
      logDeterminant;  // of the H that was searched with, natural; absent where it has no Cholesky factor
};

/** min (q - t)ᵀH(q - t) over the codes of each neuron. */
struct FitProblem {
  const Weights& weights;
  const GramData& data;
  const Matrix& h;        // damped, in a unit that keeps float32 in range
  const Matrix& targets;  // t, a neuron a column
  const FitOptions& options;
  unsigned threads;
  JobControl& control;
  /** Whether targets make up for errors of other neurons (output_feedback.h): what is reported is not about these targets then. */
  bool isMoved = false;
};

/**
 * Fits codes to the weights, or where the data is paired to the weights w* = w + (X̃ᵀX̃ + λI)⁻¹X̃ᵀ(X - X̃)w, which bring X̃w*
 * closest to Xw: the errors of the layers before are corrected (docs/methods.md, "Error correction"). `holdout`, which may be null,
 * chooses the damping of that correction and nothing else (targets.h). With `options.outputGram` neurons make up for errors of each other.
 *
 * The bytes do not depend on `threads`. Progress: one unit a neuron for GPTQ or GPFQ, and one a neuron and pass, the walk included.
 * Throws ERR_VERTEXQ_NOT_FINITE for weights, ERR_VERTEXQ_SCALE_RANGE naming the first such neuron, ERR_VERTEXQ_NUMERIC, Cancelled.
 */
Fitted fitLayer(const Weights& weights, const GramData& data, const GramData* holdout, const FitOptions& options,
                unsigned threads, JobControl& control);

/** Plain rounding; `h`, X̃ᵀX̃, weighs the inputs in a scale search. Throws as roundLayer. */
Rounded roundByGram(const Weights& weights, const Matrix& h, const AlphabetOptions& options, ScaleRule scale,
                    unsigned threads, JobControl& control);

}  // namespace vertexq
