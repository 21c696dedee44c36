// What JavaScript sees of the addon. lib/native/binding.ts holds its types.

#include "arguments.h"
#include "calibration.h"
#include "checkpoint_jobs.h"
#include "job.h"
#include "layer_jobs.h"
#include "linalg/blas.h"
#include "parallel/thread_pool.h"

namespace vertexq::addon {

namespace {

Napi::Value blasInfo(const Napi::CallbackInfo& info) {
  Napi::Object object = Napi::Object::New(info.Env());
  object.Set("config", blasConfig());
  object.Set("core", blasCoreName());
  object.Set("maxThreads", ThreadPool::kMaxThreads);
  return object;
}

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  // Once a process, whatever the number of environments that load the addon.
  static const bool ready = [] {
    pinBlasToOneThread();
    stopJobsAtExit();
    return true;
  }();
  (void)ready;

  auto* data = new AddonData();
  const Napi::Function calibration = Calibration::define(env);
  data->calibration = Napi::Persistent(calibration);
  env.SetInstanceData(data);

  exports.Set("Calibration", calibration);
  exports.Set("preprocess", Napi::Function::New<preprocess>(env, "preprocess"));
  exports.Set("quantize", Napi::Function::New<quantize>(env, "quantize"));
  exports.Set("roundRows", Napi::Function::New<roundRows>(env, "roundRows"));
  exports.Set("packRows", Napi::Function::New<packRows>(env, "packRows"));
  exports.Set("widen", Napi::Function::New<widenNumbers>(env, "widen"));
  exports.Set("checksum", Napi::Function::New<checksumOf>(env, "checksum"));
  exports.Set("lockFile", Napi::Function::New<lockFile>(env, "lockFile"));
  exports.Set("blasInfo", Napi::Function::New<blasInfo>(env, "blasInfo"));
  return exports;
}

}  // namespace

NODE_API_MODULE(vertexq, initialize)

}  // namespace vertexq::addon
