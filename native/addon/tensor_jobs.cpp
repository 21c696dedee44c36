#include "tensor_jobs.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <vector>

#include "job.h"
#include "parallel/thread_pool.h"
#include "tensors/convert.h"
#include "tensors/permute.h"

namespace vertexq::addon {

namespace {

constexpr std::int64_t kMostNumbers = std::int64_t{1} << 53;

NumberType typeOf(const Arguments& given, const char* name) {
  return given.choice<NumberType>(name, {{"F64", NumberType::Float64},
                                         {"F32", NumberType::Float32},
                                         {"F16", NumberType::Float16},
                                         {"BF16", NumberType::BFloat16},
                                         {"I8", NumberType::Int8},
                                         {"I16", NumberType::Int16},
                                         {"I32", NumberType::Int32},
                                         {"I64", NumberType::Int64},
                                         {"U8", NumberType::UInt8},
                                         {"U16", NumberType::UInt16},
                                         {"U32", NumberType::UInt32},
                                         {"U64", NumberType::UInt64}});
}

std::size_t sizeOf(const Arguments& given, const char* name, std::int64_t least, std::int64_t most = kMaxFeatures) {
  return static_cast<std::size_t>(given.integer(name, least, most));
}

unsigned threadsOf(const Arguments& given) {
  return static_cast<unsigned>(given.integer("threads", 1, ThreadPool::kMaxThreads));
}

Field fieldOf(const Arguments& given, int offset) {
  return {static_cast<int>(given.integer("bits", 1, 8)), offset, given.integer("doubled", 0, 1) == 1};
}

/** A job, or its work done. All members must have been read. */
Napi::Value doOrStart(const Napi::CallbackInfo& info, const Arguments& given, Work work, Result result) {
  HeldMemory held = given.hold();
  if (!given.atOnce()) return startJob(info.Env(), std::move(work), std::move(result), std::move(held));
  JobControl control;
  work(control);
  return result(info.Env());
}

Napi::Value nothing(Napi::Env env) { return env.Undefined(); }

}  // namespace

Napi::Value convertNumbers(const Napi::CallbackInfo& info) {
  const Arguments given(info);
  given.atOnce();
  const NumberType from = typeOf(given, "from"), to = typeOf(given, "to");
  if (!converts(from, to)) throw Napi::TypeError::New(info.Env(), "There is no conversion between these types");
  const std::size_t count = sizeOf(given, "count", 0, kMostNumbers);
  const unsigned threads = threadsOf(given);
  const unsigned char* input = given.bytes("input", product(info.Env(), {count, bytesOf(from)})).data;
  unsigned char* output = given.room("output", product(info.Env(), {count, bytesOf(to)})).data;
  auto finite = std::make_shared<std::atomic<bool>>(true);
  return doOrStart(
      info, given,
      [=](JobControl& control) {
        constexpr std::size_t piece = std::size_t{1} << 18;
        ThreadPool::shared().parallelFor((count + piece - 1) / piece, threads, [&](std::size_t i, unsigned) {
          control.throwIfCancelled();
          const std::size_t first = i * piece;
          if (!convert(from, input + first * bytesOf(from), std::min(piece, count - first), to,
                       output + first * bytesOf(to)))
            *finite = false;
        });
      },
      [finite](Napi::Env env) { return Napi::Boolean::New(env, *finite); });
}

Napi::Value permuteTensor(const Napi::CallbackInfo& info) {
  const Arguments given(info);
  given.atOnce();
  const std::size_t elementSize = sizeOf(given, "elementSize", 1, 8);
  if ((elementSize & (elementSize - 1)) != 0)
    throw Napi::TypeError::New(info.Env(), "Expected \"elementSize\" to be 1, 2, 4 or 8");
  const std::vector<std::int64_t> sizes = given.integers("dims", kMostNumbers);
  const std::vector<std::int64_t> axes = given.integers("order", kMostNumbers);
  std::vector<std::size_t> dims, order;
  std::size_t bytes = elementSize;
  for (const std::int64_t dim : sizes) {
    if (dim < 0) throw Napi::TypeError::New(info.Env(), "Expected \"dims\" of 0 or more");
    dims.push_back(static_cast<std::size_t>(dim));
    bytes = product(info.Env(), {bytes, dims.back()});
  }
  std::vector<bool> seen(dims.size());
  for (const std::int64_t axis : axes) {
    if (axis < 0 || static_cast<std::size_t>(axis) >= seen.size() || seen[static_cast<std::size_t>(axis)]) break;
    order.push_back(static_cast<std::size_t>(axis));
    seen[order.back()] = true;
  }
  if (order.size() != dims.size() || axes.size() != dims.size())
    throw Napi::TypeError::New(info.Env(), "Expected \"order\" to have each dimension once");
  const unsigned threads = threadsOf(given);
  const std::size_t first = sizeOf(given, "first", 0, kMostNumbers), last = sizeOf(given, "last", 0, kMostNumbers);
  const Permutation permutation(elementSize, dims, order);
  const unsigned char* input = given.bytes("input", bytes).data;
  unsigned char* output = given.room("output", bytes).data;
  return doOrStart(
      info, given, [=](JobControl& control) { permutation.run(input, output, first, last, threads, control); },
      [=](Napi::Env env) { return Napi::Number::New(env, static_cast<double>(permutation.pieces())); });
}

CodedRows codedRows(const Napi::CallbackInfo& info, const Arguments& given) {
  CodedRows coded;
  coded.rows = sizeOf(given, "rows", 1);
  coded.cols = sizeOf(given, "cols", 1);
  coded.groupSize = sizeOf(given, "groupSize", 1, static_cast<std::int64_t>(coded.cols));
  const std::size_t bytes = product(info.Env(), {coded.rows, coded.groups(), sizeof(float)});
  const auto floats = [&](const char* name) {
    return reinterpret_cast<const float*>(given.bytes(name, bytes, alignof(float)).data);
  };
  coded.codes =
      reinterpret_cast<const std::int8_t*>(given.bytes("input", product(info.Env(), {coded.rows, coded.cols})).data);
  coded.scales = floats("stepValues");
  coded.zeroPoints = given.has("zeroValues") ? floats("zeroValues") : nullptr;
  return coded;
}

Napi::Value dequantizeRows(const Napi::CallbackInfo& info) {
  const Arguments given(info);
  given.atOnce();
  CodedRows coded = codedRows(info, given);
  const auto floats = [&](const char* name, std::size_t count) {
    return reinterpret_cast<const float*>(given.bytes(name, count * sizeof(float), alignof(float)).data);
  };
  if (given.has("minima")) coded.minima = floats("minima", coded.rows * coded.groups());
  if (given.has("table")) coded.table = floats("table", 256);
  const unsigned threads = threadsOf(given);
  auto* output = reinterpret_cast<float*>(
      given.room("output", product(info.Env(), {coded.rows, coded.cols, sizeof(float)}), alignof(float)).data);
  return doOrStart(
      info, given, [=](JobControl& control) { dequantize(coded, output, threads, control); }, nothing);
}

Napi::Value packBlocksOf(const Napi::CallbackInfo& info) {
  const Arguments given(info);
  given.atOnce();
  const CodedRows coded = codedRows(info, given);
  const unsigned threads = threadsOf(given);
  Blocks to;
  to.blockSize = sizeOf(given, "blockSize", 8);
  if (to.blockSize % 8 != 0) throw Napi::TypeError::New(info.Env(), "Expected \"blockSize\" to be a multiple of 8");
  to.field = fieldOf(given, static_cast<int>(given.integer("offset", 0, 128)));
  const std::size_t blocks = to.blocks(coded.cols);
  to.codes = given.room("codes", product(info.Env(), {coded.rows, blocks, bytesFor(to.blockSize, to.field.bits)})).data;
  to.scales = reinterpret_cast<float*>(
      given.room("scales", product(info.Env(), {coded.rows, blocks, sizeof(float)}), alignof(float)).data);
  to.zeroPoints =
      given.has("zeroPoints")
          ? given.room("zeroPoints", product(info.Env(), {coded.rows, bytesFor(blocks, to.field.bits)})).data
          : nullptr;
  return doOrStart(
      info, given, [=](JobControl& control) { packBlocks(coded, to, threads, control); }, nothing);
}

Napi::Value packIntegersOf(const Napi::CallbackInfo& info) {
  const Arguments given(info);
  given.atOnce();
  const std::size_t rows = sizeOf(given, "rows", 1), cols = sizeOf(given, "cols", 1);
  const std::size_t rowLength = sizeOf(given, "rowLength", static_cast<std::int64_t>(cols));
  const Field field = fieldOf(given, 0);
  const unsigned threads = threadsOf(given);
  const auto codes = [&](const char* name, std::size_t count) {
    return reinterpret_cast<const std::int8_t*>(given.bytes(name, count).data);
  };
  const std::int8_t* input = codes("input", product(info.Env(), {rows, cols}));
  const std::int8_t* fill = given.has("fill") ? codes("fill", rows) : nullptr;
  const std::size_t bytes = product(info.Env(), {rows, rowLength, static_cast<std::size_t>(field.bits)});
  unsigned char* output = given.room("output", (bytes + 7) / 8).data;
  return doOrStart(
      info, given,
      [=](JobControl& control) { packIntegers(input, rows, cols, rowLength, fill, field, output, threads, control); },
      nothing);
}

}  // namespace vertexq::addon
