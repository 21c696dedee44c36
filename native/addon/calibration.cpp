#include "calibration.h"

#include "job.h"

namespace vertexq::addon {

void SharedRows::add(const Floats& batch, const JobControl& control) {
  const std::lock_guard<std::mutex> lock(mutex_);
  factor_ = nullptr;
  if (!batch.single.empty())
    rows_.add(batch.single.data(), batch.single.size() / inFeatures(), control);
  else
    rows_.add(batch.twice.data(), batch.twice.size() / inFeatures(), control);
}

void SharedRows::setGram(const std::vector<double>& gram) {
  auto factor = std::make_shared<const Matrix>(factorOfGram(gram.data(), inFeatures()));
  const std::lock_guard<std::mutex> lock(mutex_);
  factor_ = std::move(factor);
}

std::size_t SharedRows::samples() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return rows_.samples();
}

std::shared_ptr<const Matrix> SharedRows::factor() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!factor_) factor_ = std::make_shared<const Matrix>(rows_.factor());
  return factor_;
}

Napi::Function Calibration::define(Napi::Env env) {
  return DefineClass(env, "Calibration",
                     {InstanceMethod<&Calibration::add>("add"), InstanceMethod<&Calibration::setGram>("setGram"),
                      InstanceAccessor<&Calibration::samples>("samples")});
}

Calibration::Calibration(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Calibration>(info) {
  const double inFeatures = info.Length() > 0 && info[0].IsNumber() ? info[0].As<Napi::Number>().DoubleValue() : 0;
  if (!(inFeatures >= 1 && inFeatures <= kMaxFeatures))
    throw Napi::TypeError::New(info.Env(), "Expected \"inFeatures\" to be a positive whole number below 2^31");
  rows_ = std::make_shared<SharedRows>(static_cast<std::size_t>(inFeatures));
}

Napi::Value Calibration::add(const Napi::CallbackInfo& info) {
  auto batch = std::make_shared<const Floats>(copyFloats(info[0], "rows"));
  if (batch->size() % rows_->inFeatures() != 0)
    throw Napi::TypeError::New(info.Env(), "Expected \"rows\" to be whole rows of " +
                                               std::to_string(rows_->inFeatures()) + " numbers, not " +
                                               std::to_string(batch->size()) + " numbers");
  return startJob(
      info.Env(), [rows = rows_, batch](JobControl& control) { rows->add(*batch, control); },
      [](Napi::Env env) { return env.Undefined(); });
}

Napi::Value Calibration::setGram(const Napi::CallbackInfo& info) {
  auto gram = std::make_shared<const Floats>(copyFloats(info[0], "gram"));
  if (gram->twice.size() != rows_->inFeatures() * rows_->inFeatures())
    throw Napi::TypeError::New(info.Env(), "Expected \"gram\" to be a Float64Array of inFeatures × inFeatures numbers");
  return startJob(
      info.Env(), [rows = rows_, gram](JobControl&) { rows->setGram(gram->twice); },
      [](Napi::Env env) { return env.Undefined(); });
}

Napi::Value Calibration::samples(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(rows_->samples()));
}

}  // namespace vertexq::addon
