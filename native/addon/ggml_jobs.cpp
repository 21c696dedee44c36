#include "ggml_jobs.h"

#include <memory>
#include <utility>

#include "job.h"
#include "packing/ggml_rows.h"
#include "parallel/thread_pool.h"

namespace vertexq::addon {

namespace {

/** What the jobs have in common. */
struct Rows {
  const GgmlType* type;
  std::size_t rows, cols, firstRow;
  unsigned threads;

  Rows(const Napi::CallbackInfo& info, const Arguments& given) {
    type = &ggmlTypeOf(given, "type");
    rows = static_cast<std::size_t>(given.integer("rows", 1, kMaxFeatures));
    cols = static_cast<std::size_t>(given.integer("cols", 1, kMaxFeatures));
    firstRow = static_cast<std::size_t>(given.integer("firstRow", 0, kMaxFeatures));
    threads = static_cast<unsigned>(given.integer("threads", 1, ThreadPool::kMaxThreads));
    if (cols % type->weights != 0) throw Napi::TypeError::New(info.Env(), "Expected \"cols\" to be whole blocks");
  }

  std::size_t bytes(Napi::Env env) const { return product(env, {rows, cols / type->weights, type->bytes}); }
  std::size_t groups(Napi::Env env) const { return product(env, {rows, cols / type->group, sizeof(float)}); }
};

NumberType floatTypeOf(const Arguments& given, const char* name) {
  return given.choice<NumberType>(name, {{"F64", NumberType::Float64},
                                         {"F32", NumberType::Float32},
                                         {"F16", NumberType::Float16},
                                         {"BF16", NumberType::BFloat16}});
}

Napi::Value sumsToJs(Napi::Env env, const RowSums& sums) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("error", sums.error);
  object.Set("signal", sums.signal);
  object.Set("zeroedGroups", static_cast<double>(sums.zeroedGroups));
  return object;
}

}  // namespace

const GgmlType& ggmlTypeOf(const Arguments& given, const char* name) {
  std::vector<std::pair<const char*, const GgmlType*>> named;
  for (const GgmlType& one : ggmlTypes()) named.emplace_back(one.name, &one);
  return *given.choice<const GgmlType*>(name, named);
}

Napi::Value ggmlTypesToJs(Napi::Env env) {
  Napi::Array list = Napi::Array::New(env);
  for (const GgmlType& type : ggmlTypes()) {
    Napi::Object row = Napi::Object::New(env);
    row.Set("name", type.name);
    row.Set("weights", static_cast<double>(type.weights));
    row.Set("bytes", static_cast<double>(type.bytes));
    row.Set("group", static_cast<double>(type.group));
    row.Set("grid", type.grid == Grid::FullRange ? "full-range"
                    : type.grid == Grid::Minimum ? "float-minimum"
                                                 : "table");
    row.Set("levels", type.levels);
    row.Set("table", type.grid == Grid::Table ? Napi::Value(toJs(env, ggmlTable())) : env.Null());
    list.Set(list.Length(), row);
  }
  return list;
}

Napi::Value packGgmlRows(const Napi::CallbackInfo& info) {
  const Arguments given(info);
  const Rows job(info, given);
  const auto floats = [&](const char* name) {
    return reinterpret_cast<const float*>(given.bytes(name, job.groups(info.Env()), alignof(float)).data);
  };
  GgmlCodes from{};
  from.codes =
      reinterpret_cast<const std::int8_t*>(given.bytes("input", product(info.Env(), {job.rows, job.cols})).data);
  from.scales = floats("stepValues");
  if (job.type->grid == Grid::Minimum) from.minima = floats("minima");
  unsigned char* output = given.room("output", job.bytes(info.Env())).data;
  return startJob(
      info.Env(),
      [=](JobControl& control) {
        packGgml(*job.type, from, job.rows, job.cols, job.firstRow, output, job.threads, control);
      },
      [](Napi::Env env) { return env.Undefined(); }, given.hold());
}

Napi::Value unpackGgmlRows(const Napi::CallbackInfo& info) {
  const Arguments given(info);
  const Rows job(info, given);
  const Napi::Env env = info.Env();
  const unsigned char* input = given.bytes("input", job.bytes(env)).data;
  const auto room = [&](const char* name, std::size_t bytes, std::size_t size) -> unsigned char* {
    return given.has(name) ? given.room(name, bytes, size).data : nullptr;
  };
  GgmlParts to;
  to.codes = reinterpret_cast<std::int8_t*>(room("codesTo", product(env, {job.rows, job.cols}), 1));
  to.scales = reinterpret_cast<float*>(room("scalesTo", job.groups(env), sizeof(float)));
  to.minima = reinterpret_cast<float*>(room("minimaTo", job.groups(env), sizeof(float)));
  to.values =
      reinterpret_cast<float*>(room("valuesTo", product(env, {job.rows, job.cols, sizeof(float)}), sizeof(float)));
  RawRows reference{nullptr, NumberType::Float32, job.rows, job.cols};
  if (given.has("reference")) {
    reference.type = floatTypeOf(given, "referenceType");
    reference.data = given.bytes("reference", product(env, {job.rows, job.cols, bytesOf(reference.type)})).data;
  }
  auto sums = std::make_shared<RowSums>();
  return startJob(
      env,
      [=](JobControl& control) {
        *sums = unpackGgml(*job.type, input, job.rows, job.cols, job.firstRow, to,
                           reference.data ? &reference : nullptr, job.threads, control);
      },
      [sums](Napi::Env result) { return sumsToJs(result, *sums); }, given.hold());
}

Napi::Value roundGgmlRows(const Napi::CallbackInfo& info) {
  const Arguments given(info);
  const Rows job(info, given);
  const Napi::Env env = info.Env();
  RawRows weights{nullptr, floatTypeOf(given, "inputType"), job.rows, job.cols};
  weights.data = given.bytes("input", product(env, {job.rows, job.cols, bytesOf(weights.type)})).data;
  const auto* importance =
      given.has("importance")
          ? reinterpret_cast<const float*>(
                given.bytes("importance", product(env, {job.cols, sizeof(float)}), alignof(float)).data)
          : nullptr;
  unsigned char* output = given.room("output", job.bytes(env)).data;
  auto sums = std::make_shared<RowSums>();
  return startJob(
      env,
      [=](JobControl& control) {
        *sums = roundGgml(*job.type, weights, importance, job.firstRow, output, job.threads, control);
      },
      [sums](Napi::Env result) { return sumsToJs(result, *sums); }, given.hold());
}

}  // namespace vertexq::addon
