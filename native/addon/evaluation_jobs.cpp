#include "evaluation_jobs.h"

#include <limits>

#include "curvature/output_draws.h"
#include "evaluate/next_token.h"
#include "job.h"
#include "linalg/blas.h"
#include "parallel/thread_pool.h"

namespace vertexq::addon {

namespace {

/** More networks than anyone has side by side. */
constexpr std::int64_t kMaxSides = 64;

OutputRows outputRowsOf(const Arguments& given, OutputKind kind, Napi::Env env) {
  constexpr std::int64_t kMost = std::int64_t{1} << 52;
  OutputRows outputs;
  outputs.kind = kind;
  outputs.rows = static_cast<std::size_t>(given.integer("rows", 0, kMaxFeatures));
  outputs.size = static_cast<std::size_t>(given.integer("size", 1, kMaxFeatures));
  outputs.seed = static_cast<std::uint64_t>(given.integer("seed", 0, kMost));
  outputs.first = static_cast<std::uint64_t>(given.integer("first", 0, kMost));
  const std::size_t bytes = product(env, {outputs.rows, outputs.size, sizeof(float)});
  outputs.values = reinterpret_cast<const float*>(given.bytes("values", bytes, alignof(float)).data);
  return outputs;
}

}  // namespace

Napi::Value addNextTokensOf(const Napi::CallbackInfo& info) {
  const Arguments given(info);
  const auto size = [&](const char* name, std::int64_t least, std::int64_t most = kMaxFeatures) {
    return static_cast<std::size_t>(given.integer(name, least, most));
  };
  const auto floats = [&](const char* name, std::size_t count) {
    return reinterpret_cast<const float*>(given.bytes(name, count * sizeof(float), alignof(float)).data);
  };
  const Napi::Env env = info.Env();
  const std::size_t sides = size("sides", 1, kMaxSides);
  HeadPanel panel;
  panel.tokens = size("tokens", 1);
  panel.size = size("size", 1);
  panel.first = size("first", 0);
  panel.count = size("count", 1);
  constexpr double most = std::numeric_limits<double>::max();
  panel.scale = given.number("scale", -most, most);
  panel.cap = given.number("cap", 0, most);
  const auto threads = static_cast<unsigned>(given.integer("threads", 1, ThreadPool::kMaxThreads));
  const std::size_t hiddenSize = product(env, {panel.tokens, panel.size});
  const std::size_t weightSize = product(env, {panel.count, panel.size});
  const float* hidden = floats("hidden", product(env, {sides, hiddenSize, sizeof(float)}) / sizeof(float));
  const float* weights = floats("weights", product(env, {sides, weightSize, sizeof(float)}) / sizeof(float));
  auto* sums = reinterpret_cast<NextTokenSums*>(
      given.room("sums", product(env, {sides, panel.tokens, sizeof(NextTokenSums)}), alignof(double)).data);
  panel.next = reinterpret_cast<const std::int32_t*>(
      given.bytes("next", product(env, {panel.tokens, sizeof(std::int32_t)}), alignof(std::int32_t)).data);
  for (std::size_t s = 0; s < sides; ++s)
    panel.sides.push_back({hidden + s * hiddenSize, weights + s * weightSize, sums + s * panel.tokens});
  return startJob(
      env,
      [panel, threads](JobControl& control) {
        requireBlasBuffer();
        addNextTokens(panel, threads, control);
      },
      [](Napi::Env result) { return result.Undefined(); }, given.hold());
}

Napi::Value drawOutputsOf(const Napi::CallbackInfo& info) {
  const Arguments given(info);
  const OutputRows outputs = outputRowsOf(given,
                                          given.choice<OutputKind>("kind", {{"logits", OutputKind::Logits},
                                                                            {"shares", OutputKind::Shares},
                                                                            {"logarithms", OutputKind::Logarithms},
                                                                            {"signs", OutputKind::Signs}}),
                                          info.Env());
  const auto threads = static_cast<unsigned>(given.integer("threads", 1, ThreadPool::kMaxThreads));
  const std::size_t bytes = product(info.Env(), {outputs.rows, outputs.size, sizeof(float)});
  auto* cotangents = reinterpret_cast<float*>(given.room("cotangents", bytes, alignof(float)).data);
  return startJob(
      info.Env(),
      [outputs, cotangents, threads](JobControl& control) { drawOutputs(outputs, cotangents, threads, control); },
      [](Napi::Env result) { return result.Undefined(); }, given.hold());
}

Napi::Value drawClassesOf(const Napi::CallbackInfo& info) {
  const Arguments given(info);
  const OutputRows outputs = outputRowsOf(given, OutputKind::Logits, info.Env());
  const auto threads = static_cast<unsigned>(given.integer("threads", 1, ThreadPool::kMaxThreads));
  const std::size_t bytes = product(info.Env(), {outputs.rows, sizeof(std::int32_t)});
  auto* classes = reinterpret_cast<std::int32_t*>(given.room("classes", bytes, alignof(std::int32_t)).data);
  return startJob(
      info.Env(), [outputs, classes, threads](JobControl& control) { drawClasses(outputs, classes, threads, control); },
      [](Napi::Env result) { return result.Undefined(); }, given.hold());
}

}  // namespace vertexq::addon
