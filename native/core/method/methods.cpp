#include "method/methods.h"

#include <utility>

#include "method/gram_error.h"
#include "method/zeroed_groups.h"
#include "naming.h"

namespace vertexq {

namespace {

template <CodeSearch search>
Fitted fitToGrams(const LayerTask& task, JobControl& control) {
  const FitOptions options{search,      task.alphabet,    task.scale,      task.rank,      task.damping,
                           task.passes, task.passSeconds, task.correction, task.outputGram};
  return fitLayer(task.weights, *task.grams, task.heldGrams, options, task.threads, control);
}

/** The walk of Maly & Saab, then the nearest level for what it left. */
Fitted fitByWalk(const LayerTask& task, JobControl& control) {
  Walked walked = walkLayer(task.weights, *task.rows, task.alphabet, task.box, task.rank, task.threads, control);
  Fitted fitted;
  fitted.rounded = roundWalked(walked, task.alphabet);
  fitted.bound = std::move(walked.bound);
  fitted.rank = walked.rank;
  return fitted;
}

Fitted fitByRounding(const LayerTask& task, JobControl& control) {
  Fitted fitted;
  fitted.rounded = task.grams
                       ? roundByGram(task.weights, task.grams->h, task.alphabet, task.scale, task.threads, control)
                       : roundLayer(task.weights, task.rows, task.alphabet, task.scale, task.threads, control);
  return fitted;
}

std::vector<Method> table() {
  const std::vector<ScaleRule> searched{ScaleRule::Search, ScaleRule::Max};
  std::vector<Method> all;
  const auto add = [&all](const char* name, const char* about) -> Method& {
    all.push_back({});
    all.back().name = name;
    all.back().about = about;
    return all.back();
  };

  Method& vertex =
      add("vertex",
          "weights walk along directions that hardly matter to the data until most of them are on the grid; "
          "the rest is decoded. More answers, decoded in other orders, are recombined with it while that "
          "pays (--effort). On the samples no layer fits worse than with gptq on the same inputs, but where "
          "held-out samples tell that plain rounding does better on other data.");
  vertex.needsData = vertex.correctsErrors = vertex.followsClosely = vertex.compared = true;
  vertex.options = {"effort", "damping", "rank"};
  vertex.scales = searched;
  vertex.memory = {0, 60, 95};
  vertex.fit = fitToGrams<vertexCodes>;

  Method& gptq = add("gptq",
                     "weights are rounded one after the other, the rest making up for each; scales searched, codes "
                     "polished.");
  gptq.needsData = gptq.correctsErrors = gptq.compared = true;
  gptq.options = {"damping"};
  gptq.scales = searched;
  gptq.memory = {0, 55, 85};
  gptq.fit = fitToGrams<gptqCodes>;

  Method& gpfq = add("gpfq",
                     "weights are rounded one after the other, each on what the ones before it left of the outputs. "
                     "Fast.");
  gpfq.needsData = gpfq.correctsErrors = gpfq.compared = true;
  gpfq.scales = searched;
  gpfq.memory = {0, 34, 80};
  gpfq.fit = fitToGrams<gpfqCodes>;

  Method& malySaab =
      add("maly-saab", "the walk of Maly & Saab alone, then plain rounding of what is left, with a certificate.");
  malySaab.needsData = malySaab.certifies = true;
  malySaab.options = {"rank", "box"};
  malySaab.scales = {ScaleRule::Max};  // its alphabet covers every weight
  malySaab.memory = {43, 0, 0};
  malySaab.fit = fitByWalk;

  Method& msq = add("msq", "every weight is rounded by itself.");
  msq.compared = true;
  msq.scales = searched;
  msq.memory = {32, 12, 40};
  msq.fit = fitByRounding;
  return all;
}

}  // namespace

bool Method::takes(RowsKind kind) const {
  return (kind == RowsKind::Rows ? memory.rows : kind == RowsKind::Gram ? memory.gram : memory.pairs) > 0;
}

const std::vector<Method>& methods() {
  static const std::vector<Method> all = table();
  return all;
}

std::optional<RowErrors> errorsOn(const Matrix* rows, const GramData* grams, const Rounded& rounded,
                                  const LayerTask& task, const JobControl& control) {
  const Weights& weights = task.weights;
  const std::size_t groupSize = task.alphabet.groupSize;
  if (rows) return RowErrors{outputError(weights, rounded, groupSize, rows, task.threads, control), std::nullopt};
  if (!grams) return std::nullopt;
  RowErrors errors{ownError(weights, rounded, groupSize, grams->h, task.threads, control), std::nullopt};
  if (grams->paired())
    errors.againstFloat = gramError(weights, rounded, groupSize, *grams, task.damping, task.threads, control);
  return errors;
}

LayerCodesAndErrors quantizeBy(const Method& method, const LayerTask& task, JobControl& control) {
  LayerCodesAndErrors done;
  done.fitted = method.fit(task, control);
  Rounded& rounded = done.fitted.rounded;
  rounded.values = task.values;
  requireStored(rounded, task.weights.inFeatures, task.alphabet);
  done.weight = outputError(task.weights, rounded, task.alphabet.groupSize, nullptr, task.threads, control);
  done.zeroedGroups = zeroedGroups(task.weights, rounded, task.alphabet.groupSize);
  done.calibration = errorsOn(task.rows, task.grams, rounded, task, control);
  done.holdout = namingHoldout([&] { return errorsOn(task.heldRows, task.heldGrams, rounded, task, control); });
  return done;
}

}  // namespace vertexq
