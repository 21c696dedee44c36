#include "packing_jobs.h"

#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#ifndef _WIN32
#include <sys/file.h>

#include <cerrno>
#endif

#include "alphabet_arguments.h"
#include "job.h"
#include "packing/checksum.h"
#include "packing/tensor_rows.h"
#include "packing/unpack_rows.h"
#include "parallel/thread_pool.h"
#include "tensor_jobs.h"
#include "tensors/bit_packing.h"

namespace vertexq::addon {

namespace {

NumberType typeOf(const Arguments& given, const char* name) {
  return given.choice<NumberType>(name, {{"F64", NumberType::Float64},
                                         {"F32", NumberType::Float32},
                                         {"F16", NumberType::Float16},
                                         {"BF16", NumberType::BFloat16}});
}

std::size_t sizeOf(const Arguments& given, const char* name, std::int64_t least, std::int64_t most) {
  return static_cast<std::size_t>(given.integer(name, least, most));
}

/** Products of two of them stay far from 2^64. */
constexpr std::int64_t kMaxRows = kMaxFeatures;

struct Job {
  std::size_t rows, cols;
  AlphabetOptions alphabet;
  PackedRows to;
  unsigned threads;
};

/** How rows are packed; their shape and place are left for the caller. */
Job schemeOf(const Napi::CallbackInfo& info, const Arguments& given) {
  Job job{};
  if (given.has("grid")) job.alphabet = alphabetArguments(info, given, nullptr);
  job.threads = static_cast<unsigned>(given.integer("threads", 1, ThreadPool::kMaxThreads));
  PackedRows& to = job.to;
  to.order = given.choice<PackedOrder>("order", {{"neuron-major", PackedOrder::NeuronMajor},
                                                 {"input-major", PackedOrder::InputMajor},
                                                 {"values", PackedOrder::Values},
                                                 {"codes", PackedOrder::Codes}});
  to.bits = static_cast<int>(given.integer("bits", 1, 8));
  to.type = typeOf(given, "outType");
  to.zeroShift = static_cast<int>(given.integer("zeroShift", -1, 0));
  if (given.has("valueType")) to.values = precisionOf(given, "valueType");
  return job;
}

/** Bytes of what rows become. */
struct PartSizes {
  std::size_t codes, scales, zeroPoints;
};

PartSizes partSizesOf(const Napi::Env& env, const Job& job, std::size_t groups) {
  const PackedRows& to = job.to;
  const std::size_t type = bytesOf(to.type);
  if (to.order == PackedOrder::Values) return {product(env, {job.rows, job.cols, type}), 0, 0};
  if (to.order == PackedOrder::Codes) {
    // From the first row's begin to the last one's end.
    const std::size_t all = groupsOf(to.pitch(job.cols), job.alphabet.groupSize);
    const std::size_t numbers = product(env, {job.rows, all, sizeof(float)}) - (all - groups) * sizeof(float);
    return {product(env, {job.rows, to.pitch(job.cols)}) - (to.pitch(job.cols) - job.cols), numbers, numbers};
  }
  const bool transposed = to.order == PackedOrder::InputMajor;
  const std::size_t rows = transposed ? to.outFeatures : job.rows;
  if (transposed && to.outFeatures * static_cast<std::size_t>(to.bits) % 32 != 0)
    throw Napi::TypeError::New(env, "Expected \"outFeatures\" codes to fill whole words");
  return {product(env, {rows, wordsFor(job.cols, to.bits), 4}), product(env, {rows, groups, type}),
          product(env, {groups, wordsFor(rows, to.bits), 4})};
}

PartSizes partSizesOf(const Napi::Env& env, const Job& job) {
  return partSizesOf(env, job, groupsOf(job.cols, job.alphabet.groupSize));
}

/** Some rows of a packed weight; where it lies is left for the caller. */
Job rowsOf(const Napi::CallbackInfo& info, const Arguments& given) {
  Job job = schemeOf(info, given);
  job.cols = sizeOf(given, "cols", 1, kMaxFeatures);
  if (given.has("width")) job.to.width = sizeOf(given, "width", static_cast<std::int64_t>(job.cols), kMaxFeatures);
  job.alphabet.groupSize = sizeOf(given, "groupSize", 1, static_cast<std::int64_t>(job.to.pitch(job.cols)));
  job.rows = sizeOf(given, "rows", 1, kMaxRows);
  PackedRows& to = job.to;
  to.outFeatures = sizeOf(given, "outFeatures", 1, kMaxRows);
  to.firstRow = sizeOf(given, "firstRow", 0, static_cast<std::int64_t>(to.outFeatures - 1));
  if (job.rows > to.outFeatures - to.firstRow || to.firstRow % kRowBlock != 0)
    throw Napi::TypeError::New(info.Env(), "Expected \"firstRow\" to begin a block, and all rows to be there");
  return job;
}

/** Where packed rows go, with every part as long as what will be written to it. */
Job jobOf(const Napi::CallbackInfo& info, const Arguments& given) {
  Job job = rowsOf(info, given);
  PackedRows& to = job.to;
  const PartSizes sizes = partSizesOf(info.Env(), job);
  to.codes = given.room("codes", sizes.codes).data;
  if (to.order == PackedOrder::Values) return job;
  to.scales = given.room("scales", sizes.scales).data;
  if (given.has("zeroPoints") || to.order == PackedOrder::Codes)
    to.zeroPoints = given.room("zeroPoints", sizes.zeroPoints).data;
  return job;
}

/** Of one weight among many: its shape, the size of its groups, and where its input, codes, scales and zero points begin. */
struct Places {
  double rows, cols, groupSize, input, codes, scales, zeroPoints;
};

/** A whole weight among many. */
struct One {
  RawRows rows;
  std::size_t groupSize;
  PackedRows to;
};

/** The memory of `bytes` from `begin` on. Throws unless there are so many. */
unsigned char* within(const Napi::Env& env, const Bytes& bytes, double begin, std::size_t length) {
  // NaN is not, either.
  if (!(begin >= 0 && begin <= static_cast<double>(bytes.size)) ||
      length > bytes.size - static_cast<std::size_t>(begin))
    throw Napi::RangeError::New(env, "A weight does not lie within \"input\" and \"output\"");
  return bytes.data + static_cast<std::size_t>(begin);
}

One oneOf(const Napi::Env& env, const Places& at, Job job, NumberType type, const Bytes& input, const Bytes& output) {
  const auto size = [&](double value, double most) {
    if (!(value >= 1 && value <= most))
      throw Napi::RangeError::New(env, "Expected every weight to have a shape and groups");
    return static_cast<std::size_t>(value);
  };
  job.rows = job.to.outFeatures = size(at.rows, static_cast<double>(kMaxRows));
  job.cols = size(at.cols, static_cast<double>(kMaxFeatures));
  job.alphabet.groupSize = size(at.groupSize, static_cast<double>(job.cols));
  const PartSizes sizes = partSizesOf(env, job);
  job.to.codes = within(env, output, at.codes, sizes.codes);
  if (job.to.order != PackedOrder::Values) {
    job.to.scales = within(env, output, at.scales, sizes.scales);
    if (at.zeroPoints >= 0 || job.to.order == PackedOrder::Codes)
      job.to.zeroPoints = within(env, output, at.zeroPoints, sizes.zeroPoints);
  }
  const std::size_t length = product(env, {job.rows, job.cols, bytesOf(type)});
  return {{within(env, input, at.input, length), type, job.rows, job.cols}, job.alphabet.groupSize, job.to};
}

Napi::Value sumsToJs(Napi::Env env, const RowSums& sums) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("error", sums.error);
  object.Set("signal", sums.signal);
  object.Set("offAlphabet", static_cast<double>(sums.offAlphabet));
  object.Set("hasZeroPoints", sums.hasZeroPoints);
  object.Set("zeroedGroups", static_cast<double>(sums.zeroedGroups));
  return object;
}

}  // namespace

Napi::Value roundRows(const Napi::CallbackInfo& info) {
  const Arguments given(info);
  const Job job = jobOf(info, given);
  const NumberType type = typeOf(given, "type");
  const auto rule = given.choice<ScaleRule>("scale", {{"max", ScaleRule::Max}, {"search", ScaleRule::Search}});
  const std::size_t stride = given.has("stride") ? sizeOf(given, "stride", 0, kMaxRows) : 0;
  if (stride != 0 && stride < job.rows) throw Napi::TypeError::New(info.Env(), "Expected \"stride\" to pass all rows");
  const std::size_t bytes = product(info.Env(), {stride == 0 ? job.rows : stride, job.cols, bytesOf(type)});
  const RawRows input{given.bytes("input", bytes).data, type, job.rows, job.cols, stride};
  auto sums = std::make_shared<RowSums>();
  return startJob(
      info.Env(),
      [job, input, rule, sums](JobControl& control) {
        *sums = vertexq::roundRows(input, job.alphabet, rule, job.to, job.threads, control);
      },
      [sums](Napi::Env env) { return sumsToJs(env, *sums); }, given.hold());
}

Napi::Value roundMany(const Napi::CallbackInfo& info) {
  const Arguments given(info);
  const Job scheme = schemeOf(info, given);
  const NumberType type = typeOf(given, "type");
  const auto rule = given.choice<ScaleRule>("scale", {{"max", ScaleRule::Max}, {"search", ScaleRule::Search}});
  const Bytes input = given.bytes("input", 0), output = given.room("output", 0);
  const Bytes places = given.bytes("places", 0);
  HeldMemory held = given.hold();  // what it has copied is there from now on
  auto weights = std::make_shared<std::vector<One>>();
  weights->reserve(places.size / sizeof(Places));
  for (std::size_t i = 0; i + sizeof(Places) <= places.size; i += sizeof(Places)) {
    Places at;
    std::memcpy(&at, places.data + i, sizeof at);
    weights->push_back(oneOf(info.Env(), at, scheme, type, input, output));
  }
  auto sums = std::make_shared<std::vector<RowSums>>(weights->size());
  return startJob(
      info.Env(),
      [scheme, rule, weights, sums](JobControl& control) {
        AlphabetOptions alphabet = scheme.alphabet;
        for (std::size_t i = 0; i < weights->size(); ++i) {
          const One& one = (*weights)[i];
          alphabet.groupSize = one.groupSize;
          (*sums)[i] = vertexq::roundRows(one.rows, alphabet, rule, one.to, scheme.threads, control);
        }
      },
      [sums](Napi::Env env) {
        Napi::Float64Array numbers = Napi::Float64Array::New(env, 3 * sums->size());
        for (std::size_t i = 0; i < sums->size(); ++i) {
          numbers[3 * i] = (*sums)[i].error;
          numbers[3 * i + 1] = (*sums)[i].signal;
          numbers[3 * i + 2] = static_cast<double>((*sums)[i].zeroedGroups);
        }
        return numbers;
      },
      std::move(held));
}

Napi::Value packRows(const Napi::CallbackInfo& info) {
  const Arguments given(info);
  const Job job = jobOf(info, given);
  const CodedRows coded = codedRows(info, given);
  return startJob(
      info.Env(), [job, coded](JobControl& control) { vertexq::packRows(coded, job.to, job.threads, control); },
      [](Napi::Env env) { return env.Undefined(); }, given.hold());
}

Napi::Value unpackRows(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Arguments given(info);
  Job job = rowsOf(info, given);
  if (job.to.order == PackedOrder::Codes) throw Napi::TypeError::New(env, "Expected an order that packs codes");
  Groups groups{groupsOf(job.cols, job.alphabet.groupSize), job.alphabet.groupSize};
  const unsigned char* told = nullptr;
  if (given.has("groupOf")) {
    groups.count = sizeOf(given, "groups", 1, static_cast<std::int64_t>(job.cols));
    told = given.bytes("groupOf", product(env, {job.cols, 4})).data;
  }
  const PartSizes sizes = partSizesOf(env, job, groups.count);
  PackedRows& from = job.to;
  from.codes = given.bytes("codes", sizes.codes).data;
  if (from.order != PackedOrder::Values) {
    from.scales = given.bytes("scales", sizes.scales).data;
    if (given.has("zeroPoints")) from.zeroPoints = given.bytes("zeroPoints", sizes.zeroPoints).data;
  }
  const auto room = [&](const char* name, std::size_t columns, std::size_t size) -> unsigned char* {
    return given.has(name) ? given.room(name, product(env, {job.rows, columns, size}), size).data : nullptr;
  };
  UnpackedRows to;
  if (from.order != PackedOrder::Values) {
    to.codes = reinterpret_cast<std::int8_t*>(room("codesTo", job.cols, 1));
    to.scales = reinterpret_cast<float*>(room("scalesTo", groups.count, sizeof(float)));
    to.zeroPoints = reinterpret_cast<float*>(room("zeroPointsTo", groups.count, sizeof(float)));
  }
  to.values = reinterpret_cast<float*>(room("valuesTo", job.cols, sizeof(float)));
  RawRows reference{nullptr, NumberType::Float32, job.rows, job.cols};
  if (given.has("reference")) {
    reference.type = typeOf(given, "type");
    reference.data = given.bytes("reference", product(env, {job.rows, job.cols, bytesOf(reference.type)})).data;
  }
  HeldMemory held = given.hold();  // what it has copied is there from now on
  auto groupOf = std::make_shared<std::vector<std::int32_t>>();
  if (told) {
    // Copied: nobody may change it once it has been looked at.
    groupOf->resize(job.cols);
    std::memcpy(groupOf->data(), told, 4 * job.cols);
    for (const std::int32_t group : *groupOf)
      if (group < 0 || static_cast<std::size_t>(group) >= groups.count)
        throw Napi::RangeError::New(env, "Expected every input to be in one of the groups");
    groups.of = groupOf->data();
  }
  auto sums = std::make_shared<RowSums>();
  return startJob(
      env,
      [job, groups, groupOf, to, reference, sums](JobControl& control) {
        *sums = vertexq::unpackRows(job.to, job.rows, job.cols, groups, to, reference.data ? &reference : nullptr,
                                    job.threads, control);
      },
      [sums](Napi::Env result) { return sumsToJs(result, *sums); }, std::move(held));
}

Napi::Value checksumOf(const Napi::CallbackInfo& info) {
  const Arguments given(info);
  const Bytes input = given.bytes("input", 0);
  auto sum = std::make_shared<std::uint64_t>();
  return startJob(
      info.Env(), [input, sum](JobControl&) { *sum = checksum(input.data, input.size); },
      [sum](Napi::Env env) {
        char text[17];
        std::snprintf(text, sizeof text, "%016" PRIx64, *sum);
        return Napi::String::New(env, text);
      },
      given.hold());
}

Napi::Value lockFile(const Napi::CallbackInfo& info) {
#ifdef _WIN32
  return Napi::Boolean::New(info.Env(), true);
#else
  const int descriptor = info.Length() > 0 && info[0].IsNumber() ? info[0].As<Napi::Number>().Int32Value() : -1;
  if (flock(descriptor, LOCK_EX | LOCK_NB) == 0) return Napi::Boolean::New(info.Env(), true);
  return errno == EWOULDBLOCK ? Napi::Value(Napi::Boolean::New(info.Env(), false)) : info.Env().Null();
#endif
}

}  // namespace vertexq::addon
