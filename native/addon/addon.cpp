// What JavaScript sees of the addon. lib/native/binding.ts holds its types.

#include <memory>

#include "addon_data.h"
#include "arguments.h"
#include "evaluation_jobs.h"
#include "ggml_jobs.h"
#include "guard.h"
#include "job.h"
#include "layer_jobs.h"
#include "layer_rows.h"
#include "linalg/blas.h"
#include "linalg/simd.h"
#include "packing_jobs.h"
#include "parallel/freed_memory.h"
#include "parallel/thread_pool.h"
#include "tensor_jobs.h"
#ifdef VERTEXQ_FAULTS
#include "faults/fault_allocator.h"
#endif

namespace vertexq::addon {

namespace {

Napi::Value blasInfo(const Napi::CallbackInfo& info) {
  Napi::Object object = Napi::Object::New(info.Env());
  object.Set("config", blasConfig());
  object.Set("core", blasCoreName());
  object.Set("simd", linalg::instructionSetName(linalg::instructionSet()));
  object.Set("maxThreads", ThreadPool::kMaxThreads);
  return object;
}

Napi::Value giveBackMemory(const Napi::CallbackInfo& info) {
  return startJob(
      info.Env(), [](JobControl&) { giveBackFreedMemory(); }, [](Napi::Env env) { return env.Undefined(); });
}

#ifdef VERTEXQ_FAULTS
Napi::Value armFault(const Napi::CallbackInfo& info) {
  faults::arm(static_cast<long>(info[0].As<Napi::Number>().Int64Value()));
  return info.Env().Undefined();
}
Napi::Value allocationsSoFar(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(faults::allocations()));
}
Napi::Value liveBytes(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(faults::liveBytes()));
}
Napi::Value lose(const Napi::CallbackInfo& info) {
  faults::lose();
  return info.Env().Undefined();
}
Napi::Value tellLeaks(const Napi::CallbackInfo& info) { return Napi::Boolean::New(info.Env(), faults::tellLeaks()); }
#endif

Napi::Object defineAll(Napi::Env env, Napi::Object exports) {
  // Once a process, whatever the number of environments that load the addon.
  static const bool ready = [] {
    setUpBlas();
    stopJobsAtExit();
    return true;
  }();
  (void)ready;

  auto data = std::make_unique<AddonData>();
  const Napi::Function calibration = LayerRows::define(env);
  data->calibration = Napi::Persistent(calibration);
  env.SetInstanceData(data.release());

  exports.Set("LayerRows", calibration);
  exports.Set("preprocess", Napi::Function::New<guarded<preprocess>>(env, "preprocess"));
  exports.Set("quantize", Napi::Function::New<guarded<quantize>>(env, "quantize"));
  exports.Set("methods", methodsToJs(env));
  exports.Set("roundRows", Napi::Function::New<guarded<roundRows>>(env, "roundRows"));
  exports.Set("roundMany", Napi::Function::New<guarded<roundMany>>(env, "roundMany"));
  exports.Set("packRows", Napi::Function::New<guarded<packRows>>(env, "packRows"));
  exports.Set("unpackRows", Napi::Function::New<guarded<unpackRows>>(env, "unpackRows"));
  exports.Set("addNextTokens", Napi::Function::New<guarded<addNextTokensOf>>(env, "addNextTokens"));
  exports.Set("drawOutputs", Napi::Function::New<guarded<drawOutputsOf>>(env, "drawOutputs"));
  exports.Set("drawClasses", Napi::Function::New<guarded<drawClassesOf>>(env, "drawClasses"));
  exports.Set("convert", Napi::Function::New<guarded<convertNumbers>>(env, "convert"));
  exports.Set("permute", Napi::Function::New<guarded<permuteTensor>>(env, "permute"));
  exports.Set("dequantize", Napi::Function::New<guarded<dequantizeRows>>(env, "dequantize"));
  exports.Set("packBlocks", Napi::Function::New<guarded<packBlocksOf>>(env, "packBlocks"));
  exports.Set("packIntegers", Napi::Function::New<guarded<packIntegersOf>>(env, "packIntegers"));
  exports.Set("ggmlTypes", ggmlTypesToJs(env));
  exports.Set("packGgml", Napi::Function::New<guarded<packGgmlRows>>(env, "packGgml"));
  exports.Set("unpackGgml", Napi::Function::New<guarded<unpackGgmlRows>>(env, "unpackGgml"));
  exports.Set("roundGgml", Napi::Function::New<guarded<roundGgmlRows>>(env, "roundGgml"));
  exports.Set("checksum", Napi::Function::New<guarded<checksumOf>>(env, "checksum"));
  exports.Set("giveBackMemory", Napi::Function::New<guarded<giveBackMemory>>(env, "giveBackMemory"));
  exports.Set("lockFile", Napi::Function::New<guarded<lockFile>>(env, "lockFile"));
  exports.Set("blasInfo", Napi::Function::New<guarded<blasInfo>>(env, "blasInfo"));
#ifdef VERTEXQ_FAULTS
  exports.Set("armFault", Napi::Function::New<armFault>(env, "armFault"));
  exports.Set("allocations", Napi::Function::New<allocationsSoFar>(env, "allocations"));
  exports.Set("liveBytes", Napi::Function::New<liveBytes>(env, "liveBytes"));
  exports.Set("lose", Napi::Function::New<lose>(env, "lose"));
  exports.Set("tellLeaks", Napi::Function::New<tellLeaks>(env, "tellLeaks"));
#endif
  return exports;
}

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  return guard(env, [&] { return defineAll(env, exports); });
}

}  // namespace

NODE_API_MODULE(vertexq, initialize)

}  // namespace vertexq::addon
