#include "arguments.h"

#include <algorithm>
#include <cmath>

namespace vertexq::addon {

namespace {

Napi::TypeError expected(Napi::Env env, const char* name, const std::string& what) {
  return Napi::TypeError::New(env, std::string("Expected \"") + name + "\" to be " + what);
}

struct ArrayInfo {
  napi_typedarray_type type;
  std::size_t length;
  void* data;
};

/** Throws unless `value` is a typed array over an ArrayBuffer that is neither detached nor shared. */
ArrayInfo arrayOf(const Napi::Value& value, const char* name, const char* kind) {
  if (!value.IsTypedArray()) throw expected(value.Env(), name, kind);
  // Not through Napi::TypedArray::ArrayBuffer: for a shared buffer that would be no ArrayBuffer at all.
  ArrayInfo info;
  napi_value buffer;
  if (napi_get_typedarray_info(value.Env(), value, &info.type, &info.length, &info.data, &buffer, nullptr) != napi_ok)
    throw expected(value.Env(), name, kind);
  bool isArrayBuffer = false;
  napi_is_arraybuffer(value.Env(), buffer, &isArrayBuffer);
  if (!isArrayBuffer)
    throw expected(value.Env(), name, "over an ArrayBuffer, not a SharedArrayBuffer: copy it first, with .slice()");
  bool isDetached = false;
  napi_is_detached_arraybuffer(value.Env(), buffer, &isDetached);
  if (isDetached) throw expected(value.Env(), name, "attached to its data: its ArrayBuffer has been transferred");
  return info;
}

template <typename Real>
std::vector<Real> copyOf(const void* data, std::size_t length) {
  const auto* first = static_cast<const Real*>(data);
  return length == 0 ? std::vector<Real>() : std::vector<Real>(first, first + length);
}

template <typename Array, typename Element>
Array copyToJs(Napi::Env env, const std::vector<Element>& values) {
  Array array = Array::New(env, values.size());
  std::copy(values.begin(), values.end(), array.Data());
  return array;
}

}  // namespace

Arguments::Arguments(const Napi::CallbackInfo& info) {
  if (info.Length() < 1 || !info[0].IsObject())
    throw Napi::TypeError::New(info.Env(), "Expected an object of arguments");
  object_ = info[0].As<Napi::Object>();
}

bool Arguments::has(const char* name) const {
  const Napi::Value value = object_.Get(name);
  return !value.IsUndefined() && !value.IsNull();
}

std::string Arguments::text(const char* name) const {
  const Napi::Value value = object_.Get(name);
  if (!value.IsString()) throw expected(object_.Env(), name, "a string");
  return value.As<Napi::String>().Utf8Value();
}

std::int64_t Arguments::integer(const char* name, std::int64_t least, std::int64_t most) const {
  const Napi::Value value = object_.Get(name);
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : std::nan("");
  if (!(number >= static_cast<double>(least) && number <= static_cast<double>(most)) || number != std::floor(number))
    throw expected(object_.Env(), name, "a whole number from " + std::to_string(least) + " to " + std::to_string(most));
  return static_cast<std::int64_t>(number);
}

double Arguments::number(const char* name, double least, double most) const {
  const Napi::Value value = object_.Get(name);
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : std::nan("");
  if (!(number >= least && number <= most)) throw expected(object_.Env(), name, "a number");
  return number;
}

std::vector<double> Arguments::doubles(const char* name, std::size_t length) const {
  Floats floats = copyFloats(object_.Get(name), name);
  if (floats.size() != length)
    throw expected(object_.Env(), name,
                   "an array of " + std::to_string(length) + " numbers, not " + std::to_string(floats.size()));
  if (!floats.single.empty()) return {floats.single.begin(), floats.single.end()};
  return std::move(floats.twice);
}

std::vector<float> Arguments::floats(const char* name) const {
  Floats floats = copyFloats(object_.Get(name), name);
  if (!floats.twice.empty()) throw expected(object_.Env(), name, "a Float32Array");
  return std::move(floats.single);
}

std::vector<std::int64_t> Arguments::integers(const char* name) const {
  const Napi::Value value = object_.Get(name);
  if (!value.IsArray()) throw expected(object_.Env(), name, "an array of whole numbers");
  const auto array = value.As<Napi::Array>();
  std::vector<std::int64_t> numbers;
  for (std::uint32_t i = 0; i < array.Length(); ++i) {
    const Napi::Value entry = array.Get(i);
    const double number = entry.IsNumber() ? entry.As<Napi::Number>().DoubleValue() : std::nan("");
    if (!(std::abs(number) <= static_cast<double>(kMaxFeatures)) || number != std::floor(number))
      throw expected(object_.Env(), name, "an array of whole numbers");
    numbers.push_back(static_cast<std::int64_t>(number));
  }
  return numbers;
}

Bytes Arguments::bytes(const char* name, std::size_t least) const {
  const Napi::Value value = object_.Get(name);
  const auto info = arrayOf(value, name, "a typed array");
  const Bytes bytes{static_cast<unsigned char*>(info.data), value.As<Napi::TypedArray>().ByteLength()};
  if (bytes.size < least)
    throw expected(object_.Env(), name,
                   "of " + std::to_string(least) + " bytes or more, not " + std::to_string(bytes.size));
  return bytes;
}

Floats copyFloats(const Napi::Value& value, const char* name) {
  const char* kind = "a Float32Array or Float64Array";
  const auto [type, length, data] = arrayOf(value, name, kind);
  Floats floats;
  if (type == napi_float32_array)
    floats.single = copyOf<float>(data, length);
  else if (type == napi_float64_array)
    floats.twice = copyOf<double>(data, length);
  else
    throw expected(value.Env(), name, kind);
  return floats;
}

Napi::Float64Array toJs(Napi::Env env, const std::vector<double>& values) {
  return copyToJs<Napi::Float64Array>(env, values);
}

Napi::Float32Array toJs(Napi::Env env, const std::vector<float>& values) {
  return copyToJs<Napi::Float32Array>(env, values);
}

}  // namespace vertexq::addon
