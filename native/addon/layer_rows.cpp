#include "layer_rows.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "addon_data.h"
#include "calibration/conv_patches.h"
#include "calibration/row_weights.h"
#include "error.h"
#include "guard.h"
#include "job.h"
#include "linalg/blas.h"
#include "parallel/thread_pool.h"

namespace vertexq::addon {

namespace {

/** A convolution of more is none: and each takes memory before it has any data. */
constexpr std::int64_t kMaxGroups = 1 << 20;

/** JavaScript counts no further. */
constexpr std::int64_t kMaxRows = std::int64_t{1} << 53;

/** Groups of fewer inputs are summed side by side, larger ones one after the other on several threads. */
constexpr std::size_t kSmallGroup = 128;

/** The tensors of one batch whose patches are to be added. */
struct Patches {
  HeldFloats seen, meant;
  std::optional<std::vector<float>> weights;  // of each output position
  std::vector<std::int64_t> shape;
  ConvAttributes attributes;
  std::size_t most = 0;  // rows to take about; 0 for all
  unsigned threads = 1;

  void addTo(const std::vector<std::shared_ptr<SharedData>>& groups, bool paired, JobControl& control) const {
    const ConvPatches rows(seen.single(), shape, attributes);
    if (rows.width() != groups.front()->inFeatures())
      throw Error("ERR_VERTEXQ_CALIBRATION", "expected patches of " + std::to_string(groups.front()->inFeatures()) +
                                                 " inputs, got " + std::to_string(rows.width()));
    std::unique_ptr<ConvPatches> targets;
    if (paired) targets = std::make_unique<ConvPatches>(meant.single(), shape, attributes);
    // Before any group has rows of this batch.
    rows.requireFinite(control);
    if (targets) targets->requireFinite(control);
    std::vector<double> scales;
    if (weights) {
      if (weights->size() != rows.rows())
        throw Error("ERR_VERTEXQ_CALIBRATION", "expected a weight for each of " + std::to_string(rows.rows()) +
                                                   " output positions, got " + std::to_string(weights->size()));
      scales = rowScales(weights->data(), weights->size());
    }
    const std::size_t every = most == 0 ? 1 : std::max<std::size_t>(1, rows.rowsInside() / most);
    const auto addGroup = [&](std::size_t index, unsigned within) {
      const ConvPatches::Group own = rows.group(index, every);
      std::optional<ConvPatches::Group> target;
      if (paired) target.emplace(*targets, index, every);
      groups[index]->offer(rows.rows());
      if (!weights) return groups[index]->add(own, target ? &*target : nullptr, within, control);
      const WeightedPatches weighted(own, scales);
      std::optional<WeightedPatches> weightedTarget;
      if (target) weightedTarget.emplace(*target, scales);
      groups[index]->add(weighted, weightedTarget ? &*weightedTarget : nullptr, within, control);
    };
    if (rows.width() < kSmallGroup) {
      ThreadPool::shared().parallelFor(groups.size(), threads,
                                       [&](std::size_t index, unsigned) { addGroup(index, 1); });
    } else {
      for (std::size_t index = 0; index < groups.size(); ++index) addGroup(index, threads);
    }
  }
};

/** Multiplies rows, each with its own scale. */
void scaleAll(Floats& rows, const std::vector<double>& scales) {
  const std::size_t width = scales.empty() ? 0 : rows.size() / scales.size();
  if (!rows.single.empty()) scaleRows(rows.single.data(), width, scales);
  if (!rows.twice.empty()) scaleRows(rows.twice.data(), width, scales);
}

}  // namespace

SharedData::SharedData(std::size_t inFeatures, RowsKind kind) : inFeatures_(inFeatures), kind_(kind) {}

/** For rows to come. The sums are gigabytes for wide layers: jobs make them, not the JavaScript thread. The mutex is held. */
void SharedData::prepare() {
  factor_ = nullptr;
  grams_ = nullptr;
  given_ = nullptr;
  if (rows_ || sums_) return;
  if (kind_ == RowsKind::Rows)
    rows_ = std::make_unique<CalibrationRows>(inFeatures_);
  else
    sums_ = std::make_unique<CalibrationGram>(inFeatures_, kind_ == RowsKind::Pairs);
}

void SharedData::countSamples() { samples_ = rows_ ? rows_->samples() : sums_->samples(); }

void SharedData::add(const HeldFloats& batch, const HeldFloats* target, unsigned threads, JobControl& control) {
  const std::lock_guard<std::mutex> lock(mutex_);
  prepare();
  const std::size_t count = batch.size() / inFeatures_;
  if (rows_ && batch.isSingle())
    rows_->add(batch.single(), count, control);
  else if (rows_)
    rows_->add(batch.twice(), count, control);
  else if (batch.isSingle())
    sums_->add(batch.single(), target ? target->single() : nullptr, count, threads, control);
  else
    sums_->add(batch.twice(), target ? target->twice() : nullptr, count, threads, control);
  countSamples();
}

void SharedData::add(const RowSource& rows, const RowSource* target, unsigned threads, JobControl& control) {
  const std::lock_guard<std::mutex> lock(mutex_);
  prepare();
  if (rows_)
    rows_->add(rows, control);
  else
    sums_->add(rows, target, threads, control);
  countSamples();
}

void SharedData::setGram(const double* gram, const double* cross, unsigned threads, JobControl& control) {
  auto given = std::make_shared<GivenGram>(givenGram(gram, cross, inFeatures_, threads, control));
  const std::lock_guard<std::mutex> lock(mutex_);
  factor_ = nullptr;
  given_ = given;
  // A part of what is given.
  grams_ = std::shared_ptr<const GramData>(given, &given->data);
}

void SharedData::addSums(const GramData& sums, std::size_t samples, std::size_t offered) {
  const std::lock_guard<std::mutex> lock(mutex_);
  grams_ = nullptr;
  if (!summed_) {
    summed_ = std::make_shared<GramData>();
  } else if (summed_.use_count() > 1) {
    // A fit reads them.
    summed_ = std::make_shared<GramData>(*summed_);
  }
  summed_->add(sums);
  samples_ += samples;
  offered_ += offered;
}

std::shared_ptr<const Matrix> SharedData::factor(unsigned threads, const JobControl& control) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!factor_ && given_) {
    factor_ = std::make_shared<const Matrix>(factorOf(*given_, threads, control));
    // Rows are asked for nothing else.
    given_ = nullptr;
    grams_ = nullptr;
  } else if (!factor_) {
    prepare();
    factor_ = std::make_shared<const Matrix>(rows_->factor(control));
  }
  return factor_;
}

std::shared_ptr<const GramData> SharedData::grams(unsigned threads) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (summed_) return summed_;
  if (!grams_) {
    prepare();
    grams_ = std::make_shared<const GramData>(sums_->data(threads));
  }
  return grams_;
}

Napi::Function LayerRows::define(Napi::Env env) {
  return DefineClass(env, "LayerRows",
                     {InstanceMethod<&LayerRows::guarded<&LayerRows::add>>("add"),
                      InstanceMethod<&LayerRows::guarded<&LayerRows::addPatches>>("addPatches"),
                      InstanceMethod<&LayerRows::guarded<&LayerRows::group>>("group"),
                      InstanceMethod<&LayerRows::guarded<&LayerRows::setGram>>("setGram"),
                      InstanceMethod<&LayerRows::guarded<&LayerRows::sums>>("sums"),
                      InstanceMethod<&LayerRows::guarded<&LayerRows::addSums>>("addSums"),
                      InstanceAccessor<&LayerRows::guarded<&LayerRows::samples>>("samples"),
                      InstanceAccessor<&LayerRows::guarded<&LayerRows::offered>>("offered")});
}

template <Napi::Value (LayerRows::*Method)(const Napi::CallbackInfo&)>
Napi::Value LayerRows::guarded(const Napi::CallbackInfo& info) {
  // An object of another class may have got this method: `this` is none of ours then.
  if (!info.This().IsObject() || !info.This().As<Napi::Object>().CheckTypeTag(&kTag))
    throw Napi::TypeError::New(info.Env(), "Expected a LayerRows");
  return guard(info.Env(), [&] { return (this->*Method)(info); });
}

LayerRows::LayerRows(const Napi::CallbackInfo& info) : Napi::ObjectWrap<LayerRows>(info) {
  guard(info.Env(), [&] { initialize(info); });
}

void LayerRows::initialize(const Napi::CallbackInfo& info) {
  const auto whole = [&](std::size_t argument, std::int64_t most) -> std::size_t {
    const double number =
        info.Length() > argument && info[argument].IsNumber() ? info[argument].As<Napi::Number>().DoubleValue() : 0;
    return number >= 1 && number <= static_cast<double>(most) && number == std::floor(number)
               ? static_cast<std::size_t>(number)
               : 0;
  };
  const std::size_t inFeatures = whole(0, kMaxFeatures);
  if (inFeatures == 0)
    throw Napi::TypeError::New(info.Env(), "Expected \"inFeatures\" to be a positive whole number below 2^31");
  static const std::map<std::string, RowsKind> kinds = {
      {"rows", RowsKind::Rows}, {"gram", RowsKind::Gram}, {"pairs", RowsKind::Pairs}};
  const auto kind =
      info.Length() > 1 && info[1].IsString() ? kinds.find(info[1].As<Napi::String>().Utf8Value()) : kinds.end();
  if (kind == kinds.end())
    throw Napi::TypeError::New(info.Env(), "Expected \"kind\" to be \"rows\", \"gram\" or \"pairs\"");
  const std::size_t groups = info.Length() < 3 || info[2].IsUndefined() ? 1 : whole(2, kMaxGroups);
  if (groups == 0)
    throw Napi::TypeError::New(info.Env(), "Expected \"groups\" to be a positive whole number up to 2^20");
  const std::size_t threads = info.Length() < 4 || info[3].IsUndefined() ? 1 : whole(3, ThreadPool::kMaxThreads);
  if (threads == 0)
    throw Napi::TypeError::New(info.Env(), "Expected \"threads\" to be a positive whole number up to " +
                                               std::to_string(ThreadPool::kMaxThreads));
  threads_ = static_cast<unsigned>(threads);
  groups_.reserve(groups);
  while (groups_.size() < groups) groups_.push_back(std::make_shared<SharedData>(inFeatures, kind->second));
  Value().TypeTag(&kTag);
}

Napi::Value LayerRows::add(const Napi::CallbackInfo& info) {
  HeldMemory held;
  auto batch = std::make_shared<HeldFloats>(info[0], "rows", held);
  const auto data = this->data();
  if (batch->size() % data->inFeatures() != 0)
    throw Napi::TypeError::New(info.Env(), "Expected \"rows\" to be whole rows of " +
                                               std::to_string(data->inFeatures()) + " numbers, not " +
                                               std::to_string(batch->size()) + " numbers");
  std::shared_ptr<HeldFloats> target;
  if (data->kind() == RowsKind::Pairs) {
    target = std::make_shared<HeldFloats>(info[1], "targets", held);
    if (target->isSingle() != batch->isSingle() || target->size() != batch->size())
      throw Napi::TypeError::New(info.Env(), "Expected \"targets\" to be of the type and length of \"rows\"");
  }
  std::shared_ptr<const std::vector<float>> weights;
  if (info.Length() > 2 && !info[2].IsUndefined()) {
    Floats given = copyFloats(info[2], "weights");
    if (!given.twice.empty() || given.single.size() != batch->size() / data->inFeatures())
      throw Napi::TypeError::New(info.Env(), "Expected \"weights\" to be a Float32Array of one number a row");
    weights = std::make_shared<const std::vector<float>>(std::move(given.single));
  }
  return startJob(
      info.Env(),
      [data, batch, target, weights, threads = threads_](JobControl& control) {
        requireBlasBuffer();
        if (weights) {
          const std::vector<double> scales = rowScales(weights->data(), weights->size());
          scaleAll(batch->own(), scales);
          if (target) scaleAll(target->own(), scales);
        }
        data->add(*batch, target.get(), threads, control);
      },
      [](Napi::Env env) { return env.Undefined(); }, std::move(held));
}

Napi::Value LayerRows::addPatches(const Napi::CallbackInfo& info) {
  const Arguments given(info);
  auto work = std::make_shared<Patches>();
  work->threads = threads_;
  const bool paired = data()->kind() == RowsKind::Pairs;
  HeldMemory held;
  work->seen = given.singles("values", held);
  if (paired) work->meant = given.singles("targets", held);
  if (paired && work->meant.size() != work->seen.size())
    throw Napi::TypeError::New(info.Env(), "Expected \"targets\" to be of the length of \"values\"");
  if (given.has("weights")) work->weights = given.floats("weights");
  work->shape = given.integers("shape");
  work->attributes = {given.integers("kernel"), given.integers("strides"), given.integers("dilations"),
                      given.integers("pads"), static_cast<std::int64_t>(groups_.size())};
  const Napi::Value most = info[0].As<Napi::Object>().Get("most");
  if (most.IsNumber() && most.As<Napi::Number>().DoubleValue() >= 1)
    work->most = static_cast<std::size_t>(std::min(most.As<Napi::Number>().DoubleValue(), 9007199254740991.0));
  double count = 1;
  for (const auto dim : work->shape) count *= static_cast<double>(dim);
  if (count != static_cast<double>(work->seen.size()))
    throw Napi::TypeError::New(info.Env(), "Expected \"values\" to be of the length that \"shape\" says");
  return startJob(
      info.Env(),
      [groups = groups_, work, paired](JobControl& control) {
        requireBlasBuffer();
        work->addTo(groups, paired, control);
      },
      [](Napi::Env env) { return env.Undefined(); }, std::move(held));
}

Napi::Value LayerRows::group(const Napi::CallbackInfo& info) {
  const double index = info.Length() > 0 && info[0].IsNumber() ? info[0].As<Napi::Number>().DoubleValue() : -1;
  if (!(index >= 0 && index < static_cast<double>(groups_.size())))
    throw Napi::TypeError::New(info.Env(), "Expected \"index\" to be that of a group");
  auto* addon = info.Env().GetInstanceData<AddonData>();
  const Napi::Object object =
      addon->calibration.New({Napi::Number::New(info.Env(), 1), Napi::String::New(info.Env(), "gram")});
  LayerRows* own = LayerRows::Unwrap(object);
  own->groups_ = {groups_[static_cast<std::size_t>(index)]};
  own->threads_ = threads_;
  return object;
}

Napi::Value LayerRows::setGram(const Napi::CallbackInfo& info) {
  const auto data = this->data();
  const std::size_t count = product(info.Env(), {data->inFeatures(), data->inFeatures()});
  HeldMemory held;
  const auto matrix = [&](std::size_t argument, const char* name) {
    auto values = std::make_shared<const HeldFloats>(info[argument], name, held);
    if (values->isSingle() || values->size() != count)
      throw Napi::TypeError::New(
          info.Env(), std::string("Expected \"") + name + "\" to be a Float64Array of inFeatures × inFeatures numbers");
    return values;
  };
  const auto gram = matrix(0, "gram");
  const auto cross = data->kind() == RowsKind::Pairs ? matrix(1, "cross") : nullptr;
  return startJob(
      info.Env(),
      [data, gram, cross, threads = threads_](JobControl& control) {
        requireBlasBuffer();
        data->setGram(gram->twice(), cross ? cross->twice() : nullptr, threads, control);
      },
      [](Napi::Env env) { return env.Undefined(); }, std::move(held));
}

Napi::Value LayerRows::sums(const Napi::CallbackInfo& info) {
  const auto data = this->data();
  if (data->kind() == RowsKind::Rows) throw Napi::TypeError::New(info.Env(), "Expected sums, not rows");
  struct Copies {
    std::vector<double> gram, cross, target;
  };
  auto copies = std::make_shared<Copies>();
  return startJob(
      info.Env(),
      [data, copies, threads = threads_](JobControl&) {
        requireBlasBuffer();
        const auto numbers = [](const Matrix& matrix) {
          return std::vector<double>(matrix.data(), matrix.data() + matrix.rows() * matrix.cols());
        };
        const auto sums = data->grams(threads);
        *copies = {numbers(sums->h), numbers(sums->cross), numbers(sums->target)};
      },
      [copies](Napi::Env env) {
        const auto given = [&](std::vector<double>& values) -> Napi::Value {
          return values.empty() ? env.Null() : givenToJs(env, std::move(values));
        };
        Napi::Object result = Napi::Object::New(env);
        result.Set("gram", given(copies->gram));
        result.Set("cross", given(copies->cross));
        result.Set("target", given(copies->target));
        return result;
      });
}

Napi::Value LayerRows::addSums(const Napi::CallbackInfo& info) {
  const auto data = this->data();
  if (data->kind() == RowsKind::Rows) throw Napi::TypeError::New(info.Env(), "Expected sums, not rows");
  const std::size_t features = data->inFeatures();
  const std::size_t count = product(info.Env(), {features, features});
  const Arguments given(info);
  const Napi::Object object = info[0].As<Napi::Object>();
  HeldMemory held;
  const auto matrix = [&](const char* name) {
    auto values = std::make_shared<const HeldFloats>(object.Get(name), name, held);
    if (values->isSingle() || values->size() != count)
      throw Napi::TypeError::New(
          info.Env(), std::string("Expected \"") + name + "\" to be a Float64Array of inFeatures × inFeatures numbers");
    return values;
  };
  const bool paired = data->kind() == RowsKind::Pairs;
  const auto gram = matrix("gram");
  const auto cross = paired ? matrix("cross") : nullptr;
  const auto target = paired ? matrix("target") : nullptr;
  const auto samples = static_cast<std::size_t>(given.integer("samples", 0, kMaxRows));
  const auto offered = static_cast<std::size_t>(given.integer("offered", 0, kMaxRows));
  return startJob(
      info.Env(),
      [=](JobControl&) {
        const auto copied = [&](const std::shared_ptr<const HeldFloats>& values) {
          if (!values) return Matrix();
          Matrix copy(features, features);
          std::copy(values->twice(), values->twice() + count, copy.data());
          return copy;
        };
        data->addSums({copied(gram), copied(cross), copied(target)}, samples, offered);
      },
      [](Napi::Env env) { return env.Undefined(); }, std::move(held));
}

Napi::Value LayerRows::samples(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(data()->samples()));
}

Napi::Value LayerRows::offered(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(data()->offered()));
}

}  // namespace vertexq::addon
