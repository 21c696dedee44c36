#include "layer_jobs.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>

#include "calibration.h"
#include "job.h"
#include "layer.h"
#include "linalg/blas.h"
#include "method/fit_layer.h"
#include "parallel/thread_pool.h"

namespace vertexq::addon {

namespace {

constexpr double kMaxDamping = 1e6;
constexpr std::int64_t kMaxPasses = 1000000;

/** What every job on a layer is told. */
struct LayerArguments {
  std::vector<double> weight;
  std::size_t outFeatures;
  std::size_t inFeatures;
  AlphabetOptions alphabet;
  Box box;
  RankRule rank;
  unsigned threads;
  std::shared_ptr<SharedData> calibration;
  std::shared_ptr<SharedData> holdout;

  Weights weights() const { return {weight.data(), outFeatures, inFeatures}; }
};

std::shared_ptr<SharedData> dataOf(const Napi::CallbackInfo& info, const Arguments& given, const char* name,
                                   std::size_t inFeatures) {
  if (!given.has(name)) return nullptr;
  auto rows = given.instance<Calibration>(name)->data();
  if (rows->inFeatures() != inFeatures)
    throw Napi::TypeError::New(info.Env(), std::string("Expected \"") + name + "\" to have rows of " +
                                               std::to_string(inFeatures) + " inputs, not " +
                                               std::to_string(rows->inFeatures()));
  return rows;
}

RankRule rankOf(const Arguments& given, std::size_t inFeatures) {
  RankRule rule;
  rule.kind = given.choice<RankRule::Kind>(
      "rank", {{"full", RankRule::Kind::Full}, {"auto", RankRule::Kind::Auto}, {"limit", RankRule::Kind::AtMost}});
  if (rule.kind == RankRule::Kind::AtMost)
    rule.limit = static_cast<std::size_t>(given.integer("rankLimit", 0, static_cast<std::int64_t>(inFeatures)));
  return rule;
}

/** How scales are stored, and values where codes are not. */
ScalePrecision precisionOf(const Arguments& given, const char* name) {
  return given.choice<ScalePrecision>(name, {{"F64", ScalePrecision::Float64},
                                             {"F32", ScalePrecision::Float32},
                                             {"F16", ScalePrecision::Float16},
                                             {"BF16", ScalePrecision::BFloat16}});
}

std::shared_ptr<LayerArguments> layerArguments(const Napi::CallbackInfo& info, const Arguments& given) {
  auto layer = std::make_shared<LayerArguments>();
  layer->outFeatures = static_cast<std::size_t>(given.integer("outFeatures", 1, kMaxFeatures));
  layer->inFeatures = static_cast<std::size_t>(given.integer("inFeatures", 1, kMaxFeatures));
  layer->weight = given.doubles("weight", product(info.Env(), {layer->outFeatures, layer->inFeatures}));
  layer->alphabet.grid = given.choice<Grid>(
      "grid", {{"integer", Grid::Integer}, {"asymmetric", Grid::Asymmetric}, {"zero-free", Grid::ZeroFree}});
  layer->alphabet.levels = static_cast<int>(given.integer("levels", 2, 256));
  const bool evenNeeded = layer->alphabet.grid == Grid::ZeroFree;
  if ((layer->alphabet.grid == Grid::Asymmetric && layer->alphabet.levels < 3) ||
      (layer->alphabet.grid != Grid::Asymmetric && (layer->alphabet.levels % 2 == 0) != evenNeeded))
    throw Napi::TypeError::New(info.Env(), "This grid has no alphabet of that many levels");
  const auto inFeatures = static_cast<std::int64_t>(layer->inFeatures);
  layer->alphabet.groupSize = static_cast<std::size_t>(given.integer("groupSize", 1, inFeatures));
  layer->box = given.choice<Box>("box", {{"saturate", Box::Saturate}, {"cell", Box::Cell}});
  layer->rank = rankOf(given, layer->inFeatures);
  layer->threads = static_cast<unsigned>(given.integer("threads", 1, ThreadPool::kMaxThreads));
  layer->calibration = dataOf(info, given, "calibration", layer->inFeatures);
  layer->holdout = dataOf(info, given, "holdout", layer->inFeatures);
  return layer;
}

std::vector<double> alphabetParts(const std::vector<Alphabet>& alphabets, double (Alphabet::*part)() const) {
  std::vector<double> values(alphabets.size());
  std::transform(alphabets.begin(), alphabets.end(), values.begin(), [&](const Alphabet& a) { return (a.*part)(); });
  return values;
}

std::vector<float> floats(const std::vector<double>& values) { return {values.begin(), values.end()}; }

Napi::Object normsToJs(Napi::Env env, const Norms& norms) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("error", norms.error);
  object.Set("signal", norms.signal);
  return object;
}

struct Quantized {
  Rounded rounded;
  std::vector<double> bound;  // empty but for maly-saab
  std::size_t rank = 0;
  std::size_t passes = 0;
  std::size_t walked = 0;
  double damping = 0;
  std::optional<double> sphereGap;
  Norms weight;
  std::optional<Norms> calibration;
  std::optional<Norms> holdout;
};

enum class Method { Vertex, Gptq, Gpfq, MalySaab, Msq };

/** Which data a method works on: msq on any. */
bool takesGrams(Method method) { return method != Method::MalySaab; }
bool takesRows(Method method) { return method == Method::MalySaab || method == Method::Msq; }

/** What a method needs beside the layer. */
struct MethodArguments {
  Method method;
  ScaleRule scale;
  double damping;  // < 0: the default
  std::optional<std::size_t> passes;
  ScalePrecision values;  // what the weights are stored in, where codes are not
};

/** maly-saab and msq. */
void runOnRows(const LayerArguments& layer, const MethodArguments& chosen, Quantized& out, JobControl& control) {
  const auto r = layer.calibration ? layer.calibration->factor() : nullptr;
  const Weights weights = layer.weights();
  if (chosen.method == Method::MalySaab) {
    Walked walked = walkLayer(weights, *r, layer.alphabet, layer.box, layer.rank, layer.threads, control);
    out.rounded = roundWalked(walked, layer.alphabet);
    out.bound = std::move(walked.bound);
    out.rank = walked.rank;
  } else {
    out.rounded = roundLayer(weights, r.get(), layer.alphabet, chosen.scale, layer.threads, control);
  }
  out.rounded.values = chosen.values;
  requireStored(out.rounded, layer.inFeatures, layer.alphabet);
  const auto error = [&](const Matrix* rows) {
    return outputError(weights, out.rounded, layer.alphabet.groupSize, rows, layer.threads, control);
  };
  out.weight = error(nullptr);
  if (r) out.calibration = error(r.get());
  if (layer.holdout) out.holdout = error(layer.holdout->factor().get());
}

void fitToGrams(const LayerArguments& layer, const MethodArguments& chosen, double damping, const GramData& grams,
                const GramData* holdout, Quantized& out, JobControl& control) {
  FitOptions options;
  options.method = chosen.method == Method::Vertex ? FitMethod::Vertex
                   : chosen.method == Method::Gptq ? FitMethod::Gptq
                                                   : FitMethod::Gpfq;
  options.alphabet = layer.alphabet;
  options.scale = chosen.scale;
  options.rank = layer.rank;
  options.passes = chosen.passes;
  options.damping = damping;
  Fitted fitted = fitLayer(layer.weights(), grams, holdout, options, layer.threads, control);
  out.rounded = std::move(fitted.rounded);
  out.rank = fitted.rank;
  out.passes = fitted.passes;
  out.walked = fitted.walked;
  out.damping = fitted.damping;
  out.sphereGap = fitted.sphereGap;
}

/** vertex, gptq and gpfq; and msq, to be judged as they are. */
void runOnGrams(const LayerArguments& layer, const MethodArguments& chosen, Quantized& out, JobControl& control) {
  const Weights weights = layer.weights();
  const auto grams = layer.calibration->grams(layer.threads);
  const auto holdout = layer.holdout ? layer.holdout->grams(layer.threads) : nullptr;
  const double damping = chosen.damping >= 0 ? chosen.damping : FitOptions::kDefaultDamping;
  if (chosen.method == Method::Msq)
    out.rounded = roundByGram(weights, grams->h, layer.alphabet, chosen.scale, layer.threads, control);
  else
    fitToGrams(layer, chosen, damping, *grams, holdout.get(), out, control);
  out.rounded.values = chosen.values;
  requireStored(out.rounded, layer.inFeatures, layer.alphabet);
  const auto error = [&](const GramData& data) {
    return gramError(weights, out.rounded, layer.alphabet.groupSize, data, damping, layer.threads, control);
  };
  out.weight = outputError(weights, out.rounded, layer.alphabet.groupSize, nullptr, layer.threads, control);
  out.calibration = error(*grams);
  if (holdout) out.holdout = error(*holdout);
}

Napi::Value quantizedToJs(Napi::Env env, const Quantized& done) {
  Napi::Object object = Napi::Object::New(env);
  Napi::Int8Array codes = Napi::Int8Array::New(env, done.rounded.codes.size());
  std::copy(done.rounded.codes.begin(), done.rounded.codes.end(), codes.Data());
  object.Set("codes", codes);
  object.Set("scales", toJs(env, floats(alphabetParts(done.rounded.alphabets, &Alphabet::step))));
  object.Set("zeroPoints", toJs(env, floats(alphabetParts(done.rounded.alphabets, &Alphabet::zeroPoint))));
  object.Set("rank", static_cast<double>(done.rank));
  object.Set("passes", static_cast<double>(done.passes));
  object.Set("walked", static_cast<double>(done.walked));
  object.Set("damping", done.damping);
  object.Set("sphereGapDb", done.sphereGap ? Napi::Number::New(env, *done.sphereGap) : env.Null());
  object.Set("offAlphabet", static_cast<double>(done.rounded.offAlphabet));
  object.Set("bound", done.bound.empty() ? env.Null() : Napi::Value(toJs(env, done.bound)));
  Napi::Object norms = Napi::Object::New(env);
  norms.Set("weight", normsToJs(env, done.weight));
  norms.Set("calibration", done.calibration ? normsToJs(env, *done.calibration) : env.Null());
  norms.Set("holdout", done.holdout ? normsToJs(env, *done.holdout) : env.Null());
  object.Set("norms", norms);
  return object;
}

Napi::Value walkedToJs(Napi::Env env, const Walked& walked) {
  Napi::Object object = Napi::Object::New(env);
  const std::size_t count = walked.weights.rows() * walked.weights.cols();
  Napi::Float64Array weight = Napi::Float64Array::New(env, count);
  std::copy_n(walked.weights.data(), count, weight.Data());
  object.Set("weight", weight);
  Napi::Array free = Napi::Array::New(env, walked.free.size());
  for (std::size_t k = 0; k < walked.free.size(); ++k) {
    Napi::Int32Array indices = Napi::Int32Array::New(env, walked.free[k].size());
    std::copy(walked.free[k].begin(), walked.free[k].end(), indices.Data());
    free.Set(static_cast<std::uint32_t>(k), indices);
  }
  object.Set("free", free);
  object.Set("bound", toJs(env, walked.bound));
  object.Set("residual",
             std::isfinite(walked.relativeResidual) ? Napi::Number::New(env, walked.relativeResidual) : env.Null());
  object.Set("rank", static_cast<double>(walked.rank));
  object.Set("scales", toJs(env, alphabetParts(walked.alphabets, &Alphabet::step)));
  object.Set("zeroPoints", toJs(env, alphabetParts(walked.alphabets, &Alphabet::zeroPoint)));
  object.Set("lowest", toJs(env, alphabetParts(walked.alphabets, &Alphabet::lowest)));
  object.Set("highest", toJs(env, alphabetParts(walked.alphabets, &Alphabet::highest)));
  return object;
}

/** Throws unless the data is there and of a kind that the method can use. */
void requireData(const Napi::CallbackInfo& info, const LayerArguments& layer, Method method) {
  if (!layer.calibration) {
    if (method == Method::Msq && (!layer.holdout || layer.holdout->kind() == CalibrationKind::Rows)) return;
    throw Napi::TypeError::New(info.Env(), "Expected \"calibration\" to be given");
  }
  for (const auto& data : {layer.calibration, layer.holdout})
    if (data && !(data->kind() == CalibrationKind::Rows ? takesRows(method) : takesGrams(method)))
      throw Napi::TypeError::New(info.Env(), std::string("Expected calibration data of kind ") +
                                                 (takesRows(method) ? "\"rows\"" : "\"gram\" or \"pairs\"") +
                                                 " for this method");
  if (layer.holdout && layer.holdout->kind() != layer.calibration->kind())
    throw Napi::TypeError::New(info.Env(), "Expected \"holdout\" to be of the kind of \"calibration\"");
}

MethodArguments methodArguments(const Arguments& given) {
  MethodArguments chosen;
  chosen.method = given.choice<Method>("method", {{"vertex", Method::Vertex},
                                                  {"gptq", Method::Gptq},
                                                  {"gpfq", Method::Gpfq},
                                                  {"maly-saab", Method::MalySaab},
                                                  {"msq", Method::Msq}});
  chosen.scale = given.choice<ScaleRule>("scale", {{"max", ScaleRule::Max}, {"search", ScaleRule::Search}});
  chosen.damping = given.number("damping", -1, kMaxDamping);
  const auto passes = given.integer("passes", -1, kMaxPasses);
  if (passes >= 0) chosen.passes = static_cast<std::size_t>(passes);
  chosen.values = precisionOf(given, "valueType");
  return chosen;
}

}  // namespace

Napi::Value preprocess(const Napi::CallbackInfo& info) {
  const auto layer = layerArguments(info, Arguments(info));
  layer->alphabet.precision = ScalePrecision::Float64;
  requireData(info, *layer, Method::MalySaab);
  auto walked = std::make_shared<Walked>();
  return startJob(
      info.Env(),
      [layer, walked](JobControl& control) {
        requireBlasBuffer();
        *walked = walkLayer(layer->weights(), *layer->calibration->factor(), layer->alphabet, layer->box, layer->rank,
                            layer->threads, control);
      },
      [walked](Napi::Env env) { return walkedToJs(env, *walked); });
}

Napi::Value quantize(const Napi::CallbackInfo& info) {
  const Arguments given(info);
  const auto layer = layerArguments(info, given);
  layer->alphabet.precision = precisionOf(given, "scaleType");
  const MethodArguments chosen = methodArguments(given);
  requireData(info, *layer, chosen.method);
  const bool onGrams = layer->calibration && layer->calibration->kind() != CalibrationKind::Rows;
  auto done = std::make_shared<Quantized>();
  return startJob(
      info.Env(),
      [layer, chosen, done, onGrams](JobControl& control) {
        requireBlasBuffer();
        (onGrams ? runOnGrams : runOnRows)(*layer, chosen, *done, control);
      },
      [done](Napi::Env env) { return quantizedToJs(env, *done); });
}

}  // namespace vertexq::addon
