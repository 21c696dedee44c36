#include "layer_jobs.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>

#include "alphabet_arguments.h"
#include "ggml_jobs.h"
#include "job.h"
#include "layer.h"
#include "layer_rows.h"
#include "linalg/blas.h"
#include "method/methods.h"
#include "naming.h"
#include "parallel/thread_pool.h"
#include "tensors/convert.h"

namespace vertexq::addon {

namespace {

constexpr double kMaxDamping = 1e6;
constexpr std::int64_t kMaxPasses = 1000000;
constexpr double kMaxSeconds = 1e9;

/** What every job on a layer is told. */
struct LayerArguments {
  FloatBytes stored;           // the weights as they were given
  std::vector<double> weight;  // once the job has begun
  std::size_t outFeatures;
  std::size_t inFeatures;
  LevelTable table;  // what the alphabet's points to
  AlphabetOptions alphabet;
  Box box;
  RankRule rank;
  unsigned threads;
  std::shared_ptr<SharedData> calibration;
  std::shared_ptr<SharedData> holdout;
  std::shared_ptr<SharedData> reported;  // held-out rows that the fit does not ask
  std::shared_ptr<SharedData> outputs;   // gradients by the outputs

  void load() {
    weight.resize(outFeatures * inFeatures);
    convert(stored.isSingle ? NumberType::Float32 : NumberType::Float64, stored.data, weight.size(),
            NumberType::Float64, weight.data());
  }
  Weights weights() const { return {weight.data(), outFeatures, inFeatures}; }
};

std::shared_ptr<SharedData> dataOf(const Napi::CallbackInfo& info, const Arguments& given, const char* name,
                                   std::size_t inFeatures) {
  if (!given.has(name)) return nullptr;
  auto rows = given.instance<LayerRows>(name)->data();
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
std::shared_ptr<LayerArguments> layerArguments(const Napi::CallbackInfo& info, const Arguments& given) {
  auto layer = std::make_shared<LayerArguments>();
  layer->outFeatures = static_cast<std::size_t>(given.integer("outFeatures", 1, kMaxFeatures));
  layer->inFeatures = static_cast<std::size_t>(given.integer("inFeatures", 1, kMaxFeatures));
  layer->stored = given.floatBytes("weight", product(info.Env(), {layer->outFeatures, layer->inFeatures}));
  layer->alphabet = alphabetArguments(info, given, &layer->table);
  layer->alphabet.groupSize =
      static_cast<std::size_t>(given.integer("groupSize", 1, static_cast<std::int64_t>(layer->inFeatures)));
  layer->box = given.choice<Box>("box", {{"saturate", Box::Saturate}, {"cell", Box::Cell}});
  layer->rank = rankOf(given, layer->inFeatures);
  layer->threads = static_cast<unsigned>(given.integer("threads", 1, ThreadPool::kMaxThreads));
  layer->calibration = dataOf(info, given, "calibration", layer->inFeatures);
  layer->holdout = dataOf(info, given, "holdout", layer->inFeatures);
  layer->reported = dataOf(info, given, "reported", layer->inFeatures);
  layer->outputs = dataOf(info, given, "outputs", layer->outFeatures);
  return layer;
}

/** The alphabets of a block type of GGUF files. */
AlphabetOptions blockAlphabet(const Napi::CallbackInfo& info, const Arguments& given, const LayerArguments& layer) {
  const GgmlType& type = ggmlTypeOf(given, "blockType");
  if (layer.inFeatures % type.weights != 0 || layer.alphabet.groupSize != type.group)
    throw Napi::TypeError::New(info.Env(), "Expected rows of whole blocks, in the groups of their type");
  return type.alphabet();
}

std::vector<double> alphabetParts(const std::vector<Alphabet>& alphabets, double (Alphabet::*part)() const) {
  std::vector<double> values(alphabets.size());
  std::transform(alphabets.begin(), alphabets.end(), values.begin(), [&](const Alphabet& a) { return (a.*part)(); });
  return values;
}

/** The minima, or zero points: of Minimum the zero points are all 0. */
struct Offsets {
  std::vector<double> zeroPoints, minima;

  explicit Offsets(const std::vector<Alphabet>& alphabets, Grid grid)
      : zeroPoints(alphabetParts(alphabets, &Alphabet::zeroPoint)) {
    if (grid != Grid::Minimum) return;
    minima = alphabetParts(alphabets, &Alphabet::minimum);
    std::fill(zeroPoints.begin(), zeroPoints.end(), 0.0);
  }
};

std::vector<float> floats(const std::vector<double>& values) { return {values.begin(), values.end()}; }

/** What a fit found, as JavaScript gets it: made by the job, as it may be long. */
struct Answer {
  LayerCodesAndErrors done;
  std::vector<float> scales, zeroPoints, minima;
  bool hasMinima = false;

  void take(LayerCodesAndErrors found, const AlphabetOptions& alphabet, std::size_t inFeatures);
};

Napi::Object normsToJs(Napi::Env env, const Norms& norms) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("error", norms.error);
  object.Set("signal", norms.signal);
  return object;
}

Napi::Value errorsToJs(Napi::Env env, const std::optional<RowErrors>& errors) {
  if (!errors) return env.Null();
  Napi::Object object = Napi::Object::New(env);
  object.Set("own", normsToJs(env, errors->own));
  object.Set("againstFloat", errors->againstFloat ? Napi::Value(normsToJs(env, *errors->againstFloat)) : env.Null());
  return object;
}

/** Codes and steps of mirrored alphabets as a negative step has them. */
void unmirror(Rounded& rounded, std::size_t inFeatures, std::size_t groupSize, std::vector<double>& steps,
              Offsets& offsets) {
  std::vector<std::int8_t>& codes = rounded.codes;
  const std::size_t groups = groupsOf(inFeatures, groupSize);
  for (std::size_t k = 0; k < rounded.alphabets.size(); ++k) {
    const Alphabet& a = rounded.alphabets[k];
    if (!a.isMirrored()) continue;
    steps[k] = -steps[k];
    offsets.zeroPoints[k] = 0;
    const std::size_t row = k / groups * inFeatures, first = k % groups * groupSize;
    for (std::size_t i = first; i < std::min(first + groupSize, inFeatures); ++i)
      codes[row + i] = static_cast<std::int8_t>(a.minCode() + a.maxCode() - codes[row + i]);
  }
}

void Answer::take(LayerCodesAndErrors found, const AlphabetOptions& alphabet, std::size_t inFeatures) {
  done = std::move(found);
  Rounded& rounded = done.fitted.rounded;
  std::vector<double> steps = alphabetParts(rounded.alphabets, &Alphabet::step);
  Offsets offsets(rounded.alphabets, alphabet.grid);
  if (alphabet.eitherSign) unmirror(rounded, inFeatures, alphabet.groupSize, steps, offsets);
  scales = floats(steps);
  zeroPoints = floats(offsets.zeroPoints);
  hasMinima = !offsets.minima.empty();
  minima = floats(offsets.minima);
  rounded.alphabets = {};
}

Napi::Value quantizedToJs(Napi::Env env, Answer& answer) {
  LayerCodesAndErrors& done = answer.done;
  Fitted& fitted = done.fitted;
  Napi::Object object = Napi::Object::New(env);
  object.Set("codes", givenToJs(env, std::move(fitted.rounded.codes)));
  object.Set("scales", givenToJs(env, std::move(answer.scales)));
  object.Set("zeroPoints", givenToJs(env, std::move(answer.zeroPoints)));
  object.Set("minima", answer.hasMinima ? Napi::Value(givenToJs(env, std::move(answer.minima))) : env.Null());
  object.Set("rank", static_cast<double>(fitted.rank));
  object.Set("passes", static_cast<double>(fitted.passes));
  object.Set("walked", static_cast<double>(fitted.walked));
  object.Set("damping", fitted.damping);
  object.Set("sphereGapDb", fitted.sphereGap ? Napi::Number::New(env, *fitted.sphereGap) : env.Null());
  object.Set("offAlphabet", static_cast<double>(fitted.rounded.offAlphabet));
  object.Set("bound", fitted.bound.empty() ? env.Null() : Napi::Value(givenToJs(env, std::move(fitted.bound))));
  Napi::Object norms = Napi::Object::New(env);
  norms.Set("weight", normsToJs(env, done.weight));
  norms.Set("calibration", errorsToJs(env, done.calibration));
  norms.Set("holdout", errorsToJs(env, done.holdout));
  norms.Set("reported", errorsToJs(env, done.reported));
  object.Set("norms", norms);
  object.Set("zeroedGroups", static_cast<double>(done.zeroedGroups));
  return object;
}

Napi::Value walkedToJs(Napi::Env env, const Walked& walked, Grid grid) {
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
  const Offsets offsets(walked.alphabets, grid);
  object.Set("zeroPoints", toJs(env, offsets.zeroPoints));
  object.Set("minima", offsets.minima.empty() ? env.Null() : Napi::Value(toJs(env, offsets.minima)));
  object.Set("lowest", toJs(env, alphabetParts(walked.alphabets, &Alphabet::lowest)));
  object.Set("highest", toJs(env, alphabetParts(walked.alphabets, &Alphabet::highest)));
  return object;
}

const char* nameOf(RowsKind kind) {
  return kind == RowsKind::Rows ? "rows" : kind == RowsKind::Gram ? "gram" : "pairs";
}

constexpr RowsKind kKinds[] = {RowsKind::Rows, RowsKind::Gram, RowsKind::Pairs};

/** Throws unless the data is there and of a kind that the method can use. */
template <typename Takes>
void requireData(const Napi::CallbackInfo& info, const LayerArguments& layer, bool isNeeded, Takes takes) {
  if (!layer.calibration) {
    if (!isNeeded && (!layer.holdout || layer.holdout->kind() == RowsKind::Rows)) return;
    throw Napi::TypeError::New(info.Env(), "Expected \"calibration\" to be given");
  }
  std::string kinds;
  for (const RowsKind kind : kKinds)
    if (takes(kind)) kinds += (kinds.empty() ? "\"" : "or \"") + std::string(nameOf(kind)) + "\" ";
  for (const auto& data : {layer.calibration, layer.holdout})
    if (data && !takes(data->kind()))
      throw Napi::TypeError::New(info.Env(), "Expected calibration data of kind " + kinds + "for this method");
  if (layer.holdout && layer.holdout->kind() != layer.calibration->kind())
    throw Napi::TypeError::New(info.Env(), "Expected \"holdout\" to be of the kind of \"calibration\"");
}

/** Throws where there are gradients by the outputs that the method cannot use. */
void requireOutputs(const Napi::CallbackInfo& info, const LayerArguments& layer, const Method& method) {
  if (!layer.outputs) return;
  if (!method.correctsErrors) throw Napi::TypeError::New(info.Env(), "Expected no \"outputs\" for this method");
  if (layer.outputs->kind() != RowsKind::Gram)
    throw Napi::TypeError::New(info.Env(), "Expected \"outputs\" to be of kind \"gram\"");
}

const std::vector<std::pair<const char*, ScaleRule>> kScaleRules{{"max", ScaleRule::Max},
                                                                 {"search", ScaleRule::Search}};

/** What a method needs beside the layer. */
struct MethodArguments {
  const Method* method;
  ScaleRule scale;
  double damping;
  std::optional<std::size_t> passes;
  std::optional<double> passSeconds;
  double correction;
  ScalePrecision values;  // what the weights are stored in, where codes are not
};

MethodArguments methodArguments(const Arguments& given) {
  std::vector<std::pair<const char*, const Method*>> named;
  for (const Method& method : methods()) named.emplace_back(method.name, &method);
  MethodArguments chosen;
  chosen.method = given.choice<const Method*>("method", named);
  chosen.scale = given.choice<ScaleRule>("scale", kScaleRules);
  const double damping = given.number("damping", -1, kMaxDamping);
  chosen.damping = damping >= 0 ? damping : FitOptions::kDefaultDamping;
  const auto passes = given.integer("passes", -1, kMaxPasses);
  if (passes >= 0) chosen.passes = static_cast<std::size_t>(passes);
  if (given.has("passSeconds")) chosen.passSeconds = given.number("passSeconds", 0, kMaxSeconds);
  chosen.correction = given.number("correction", 0, 1);
  chosen.values = precisionOf(given, "valueType");
  return chosen;
}

/** The layer's data as a method reads it, held while it does. */
struct HeldData {
  std::shared_ptr<const Matrix> rows;
  std::shared_ptr<const GramData> grams;

  HeldData(const std::shared_ptr<SharedData>& data, unsigned threads, const JobControl& control) {
    if (data && data->kind() == RowsKind::Rows)
      rows = data->factor(threads, control);
    else if (data)
      grams = data->grams(threads);
  }
};

LayerCodesAndErrors quantizeLayer(const LayerArguments& layer, const MethodArguments& chosen, JobControl& control) {
  const HeldData seen(layer.calibration, layer.threads, control);
  const HeldData held = namingHoldout([&] { return HeldData(layer.holdout, layer.threads, control); });
  const std::shared_ptr<const GramData> outputs = layer.outputs ? layer.outputs->grams(layer.threads) : nullptr;
  LayerTask task;
  task.weights = layer.weights();
  task.alphabet = layer.alphabet;
  task.scale = chosen.scale;
  task.box = layer.box;
  task.rank = layer.rank;
  task.damping = chosen.damping;
  task.passes = chosen.passes;
  task.passSeconds = chosen.passSeconds;
  task.values = chosen.values;
  task.rows = seen.rows.get();
  task.heldRows = held.rows.get();
  task.grams = seen.grams.get();
  task.heldGrams = held.grams.get();
  task.correction = chosen.correction;
  task.outputGram = outputs ? &outputs->h : nullptr;
  task.threads = layer.threads;
  LayerCodesAndErrors done = quantizeBy(*chosen.method, task, control);
  // After the fit, beside whose memory its matrices need not be.
  done.reported = namingHoldout([&] {
    const HeldData reported(layer.reported, layer.threads, control);
    return errorsOn(reported.rows.get(), reported.grams.get(), done.fitted.rounded, task, control);
  });
  return done;
}

}  // namespace

Napi::Value preprocess(const Napi::CallbackInfo& info) {
  const Arguments given(info);
  const auto layer = layerArguments(info, given);
  layer->alphabet.precision = ScalePrecision::Float64;
  requireData(info, *layer, true, [](RowsKind kind) { return kind == RowsKind::Rows; });
  auto walked = std::make_shared<Walked>();
  return startJob(
      info.Env(),
      [layer, walked](JobControl& control) {
        requireBlasBuffer();
        layer->load();
        *walked = walkLayer(layer->weights(), *layer->calibration->factor(layer->threads, control), layer->alphabet,
                            layer->box, layer->rank, layer->threads, control);
      },
      [layer, walked](Napi::Env env) { return walkedToJs(env, *walked, layer->alphabet.grid); }, given.hold());
}

Napi::Value quantize(const Napi::CallbackInfo& info) {
  const Arguments given(info);
  const auto layer = layerArguments(info, given);
  layer->alphabet.precision = precisionOf(given, "scaleType");
  if (given.has("blockType")) layer->alphabet = blockAlphabet(info, given, *layer);
  const MethodArguments chosen = methodArguments(given);
  const Method& method = *chosen.method;
  requireData(info, *layer, method.needsData, [&](RowsKind kind) { return method.takes(kind); });
  requireOutputs(info, *layer, method);
  auto done = std::make_shared<Answer>();
  return startJob(
      info.Env(),
      [layer, chosen, done](JobControl& control) {
        requireBlasBuffer();
        layer->load();
        done->take(quantizeLayer(*layer, chosen, control), layer->alphabet, layer->inFeatures);
      },
      [done](Napi::Env env) { return quantizedToJs(env, *done); }, given.hold());
}

Napi::Value methodsToJs(Napi::Env env) {
  Napi::Array list = Napi::Array::New(env);
  const auto strings = [&](const auto& values, auto nameOf) {
    Napi::Array names = Napi::Array::New(env);
    for (const auto& value : values) names.Set(names.Length(), nameOf(value));
    return names;
  };
  for (const Method& method : methods()) {
    Napi::Object row = Napi::Object::New(env);
    row.Set("name", method.name);
    row.Set("about", method.about);
    row.Set("needsData", method.needsData);
    row.Set("correctsErrors", method.correctsErrors);
    row.Set("followsClosely", method.followsClosely);
    row.Set("certifies", method.certifies);
    row.Set("compared", method.compared);
    row.Set("options", strings(method.options, [](const char* name) { return name; }));
    row.Set("scales", strings(method.scales, [](ScaleRule rule) {
              return std::find_if(kScaleRules.begin(), kScaleRules.end(),
                                  [rule](const auto& named) { return named.second == rule; })
                  ->first;
            }));
    Napi::Object memory = Napi::Object::New(env);
    memory.Set("rows", method.memory.rows);
    memory.Set("gram", method.memory.gram);
    memory.Set("pairs", method.memory.pairs);
    row.Set("memory", memory);
    list.Set(list.Length(), row);
  }
  return list;
}

}  // namespace vertexq::addon
