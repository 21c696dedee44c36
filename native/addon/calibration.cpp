#include "calibration.h"

#include <cmath>
#include <map>

#include "job.h"

namespace vertexq::addon {

namespace {

/** Threads that sum Gram matrices: bits do not depend on them, and a batch is small. */
constexpr unsigned kAddThreads = 2;

Matrix squareMatrix(const std::vector<double>& values, std::size_t order) {
  Matrix m(order, order);
  std::copy(values.begin(), values.end(), m.data());
  return m;
}

}  // namespace

SharedData::SharedData(std::size_t inFeatures, CalibrationKind kind) : inFeatures_(inFeatures), kind_(kind) {
  if (kind == CalibrationKind::Rows)
    rows_ = std::make_unique<CalibrationRows>(inFeatures);
  else
    sums_ = std::make_unique<CalibrationGram>(inFeatures, kind == CalibrationKind::Pairs);
}

void SharedData::add(const Floats& batch, const Floats* target, unsigned threads, JobControl& control) {
  const std::lock_guard<std::mutex> lock(mutex_);
  factor_ = nullptr;
  grams_ = nullptr;
  const std::size_t count = batch.size() / inFeatures_;
  if (rows_ && !batch.single.empty()) return rows_->add(batch.single.data(), count, control);
  if (rows_) return rows_->add(batch.twice.data(), count, control);
  if (!batch.single.empty())
    return sums_->add(batch.single.data(), target ? target->single.data() : nullptr, count, threads, control);
  sums_->add(batch.twice.data(), target ? target->twice.data() : nullptr, count, threads, control);
}

void SharedData::setGram(const std::vector<double>& gram, const std::vector<double>* cross) {
  // The factor is found for all kinds: it is what tells that a matrix is no Gram matrix.
  auto factor = std::make_shared<const Matrix>(factorOfGram(gram.data(), inFeatures_));
  auto grams = std::make_shared<GramData>();
  if (!rows_) grams->h = squareMatrix(gram, inFeatures_);
  if (cross) {
    // Row-major X̃ᵀX is column-major XᵀX̃.
    grams->cross = Matrix(inFeatures_, inFeatures_);
    for (std::size_t j = 0; j < inFeatures_; ++j)
      for (std::size_t i = 0; i < inFeatures_; ++i) {
        const double value = (*cross)[i * inFeatures_ + j];
        if (!std::isfinite(value))
          throw Error("ERR_VERTEXQ_GRAM", "the cross Gram matrix has an entry that is not finite, at row " +
                                              std::to_string(i) + ", column " + std::to_string(j));
        grams->cross(i, j) = value;
      }
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  if (rows_)
    factor_ = std::move(factor);
  else
    grams_ = std::move(grams);
}

std::size_t SharedData::samples() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return rows_ ? rows_->samples() : sums_->samples();
}

std::shared_ptr<const Matrix> SharedData::factor() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!factor_) factor_ = std::make_shared<const Matrix>(rows_->factor());
  return factor_;
}

std::shared_ptr<const GramData> SharedData::grams(unsigned threads) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!grams_) grams_ = std::make_shared<const GramData>(sums_->data(threads));
  return grams_;
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
  static const std::map<std::string, CalibrationKind> kinds = {
      {"rows", CalibrationKind::Rows}, {"gram", CalibrationKind::Gram}, {"pairs", CalibrationKind::Pairs}};
  const auto kind =
      info.Length() > 1 && info[1].IsString() ? kinds.find(info[1].As<Napi::String>().Utf8Value()) : kinds.end();
  if (kind == kinds.end())
    throw Napi::TypeError::New(info.Env(), "Expected \"kind\" to be \"rows\", \"gram\" or \"pairs\"");
  data_ = std::make_shared<SharedData>(static_cast<std::size_t>(inFeatures), kind->second);
}

Napi::Value Calibration::add(const Napi::CallbackInfo& info) {
  auto batch = std::make_shared<const Floats>(copyFloats(info[0], "rows"));
  if (batch->size() % data_->inFeatures() != 0)
    throw Napi::TypeError::New(info.Env(), "Expected \"rows\" to be whole rows of " +
                                               std::to_string(data_->inFeatures()) + " numbers, not " +
                                               std::to_string(batch->size()) + " numbers");
  std::shared_ptr<const Floats> target;
  if (data_->kind() == CalibrationKind::Pairs) {
    target = std::make_shared<const Floats>(copyFloats(info[1], "targets"));
    if (target->single.size() != batch->single.size() || target->twice.size() != batch->twice.size())
      throw Napi::TypeError::New(info.Env(), "Expected \"targets\" to be of the type and length of \"rows\"");
  }
  return startJob(
      info.Env(),
      [data = data_, batch, target](JobControl& control) { data->add(*batch, target.get(), kAddThreads, control); },
      [](Napi::Env env) { return env.Undefined(); });
}

Napi::Value Calibration::setGram(const Napi::CallbackInfo& info) {
  const std::size_t count = data_->inFeatures() * data_->inFeatures();
  const auto matrix = [&](std::size_t argument, const char* name) {
    auto values = std::make_shared<const Floats>(copyFloats(info[argument], name));
    if (values->twice.size() != count)
      throw Napi::TypeError::New(
          info.Env(), std::string("Expected \"") + name + "\" to be a Float64Array of inFeatures × inFeatures numbers");
    return values;
  };
  const auto gram = matrix(0, "gram");
  const auto cross = data_->kind() == CalibrationKind::Pairs ? matrix(1, "cross") : nullptr;
  return startJob(
      info.Env(),
      [data = data_, gram, cross](JobControl&) { data->setGram(gram->twice, cross ? &cross->twice : nullptr); },
      [](Napi::Env env) { return env.Undefined(); });
}

Napi::Value Calibration::samples(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(data_->samples()));
}

}  // namespace vertexq::addon
