// The methods by which a layer's weights become codes. All that is known of one stands in its row of the table, and is asked there: by the
// addon, and through it by the package for its checks, defaults, reports and help. A new method is a row and its fit.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "calibration/calibration_gram.h"
#include "calibration/kind.h"
#include "layer.h"
#include "method/fit_layer.h"
#include "parallel/job_control.h"

namespace vertexq {

/** What is to be done to one layer. A method reads what it takes of it. */
struct LayerTask {
  Weights weights{};
  AlphabetOptions alphabet;
  ScaleRule scale = ScaleRule::Search;
  Box box = Box::Cell;
  RankRule rank;
  double damping = FitOptions::kDefaultDamping;
  std::optional<std::size_t> passes;
  std::optional<double> passSeconds;
  ScalePrecision values = ScalePrecision::Float64;  // what the weights are stored in, where codes are not
  // Data, of one kind at most, and what is held out.
  const Matrix* rows = nullptr;
  const Matrix* heldRows = nullptr;
  const GramData* grams = nullptr;
  const GramData* heldGrams = nullptr;
  const Matrix* outputGram = nullptr;  // as FitOptions has it, for methods that correct errors
  double correction = 1;               // as FitOptions has it
  unsigned threads = 1;
};

struct Method {
  const char* name;
  /** What it does and for whom, in a sentence or four. */
  const char* about;
  /** Whether it needs data, or does without. */
  bool needsData;
  /** Whether it aims, where data is paired, at what the float layer gave. */
  bool correctsErrors;
  /** Whether it may follow few rows so closely that plain rounding does better on others: held-out rows then decide. */
  bool followsClosely;
  /** Whether the weights that its walk leaves off the alphabet are all that it rounds: each answer has a bound. */
  bool certifies;
  /** Whether a comparison tries it unless told what to try. */
  bool compared;
  /** Names of the options that not all methods take and this one does, of: effort, damping, rank, box. */
  std::vector<const char*> options;
  /** The rules for scales that it can use; the first is its default. */
  std::vector<ScaleRule> scales;
  /**
   * The most bytes in use at once, for N² numbers of what is kept: measured, N = 1500 to 3000 (resident memory above what the arguments
   * take), and rounded down, so that nothing that fits is refused. 0 for data that it cannot use.
   */
  struct {
    double rows, gram, pairs;
  } memory;
  Fitted (*fit)(const LayerTask& task, JobControl& control);

  bool takes(RowsKind kind) const;
};

/** The one that is the default where there is data comes first. Exactly one does without data. */
const std::vector<Method>& methods();

/** The errors that codes have on rows: of the layer by itself on what it sees, and where rows are paired against what the float layer gave. */
struct RowErrors {
  Norms own;
  std::optional<Norms> againstFloat;
};

/** A layer's codes, and the errors they have on each kind of rows that there is. */
struct LayerCodesAndErrors {
  Fitted fitted;
  Norms weight;
  std::size_t zeroedGroups = 0;  // of weights that are not all 0
  std::optional<RowErrors> calibration;
  std::optional<RowErrors> holdout;
  std::optional<RowErrors> reported;  // on held-out rows that the fit did not ask (errorsOn)
};

/** Throws what the method's fit does, and requireStored. */
LayerCodesAndErrors quantizeBy(const Method& method, const LayerTask& task, JobControl& control);

/** On rows, or on sums; of none if neither is there. */
std::optional<RowErrors> errorsOn(const Matrix* rows, const GramData* grams, const Rounded& rounded,
                                  const LayerTask& task, const JobControl& control);

}  // namespace vertexq
