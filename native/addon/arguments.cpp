#include "arguments.h"

#include <algorithm>
#include <cmath>

#include "addon_data.h"

namespace vertexq::addon {

namespace {

Napi::TypeError expected(Napi::Env env, const char* name, const std::string& what) {
  return Napi::TypeError::New(env, std::string("Expected \"") + name + "\" to be " + what);
}

struct ArrayInfo {
  napi_typedarray_type type;
  std::size_t length;
  void* data;
  napi_value buffer;
};

/** Throws unless `value` is a typed array over an ArrayBuffer that is neither detached nor shared. */
ArrayInfo arrayOf(const Napi::Value& value, const char* name, const char* kind) {
  if (!value.IsTypedArray()) throw expected(value.Env(), name, kind);
  // Not through Napi::TypedArray::ArrayBuffer: for a shared buffer that would be no ArrayBuffer at all.
  ArrayInfo info;
  if (napi_get_typedarray_info(value.Env(), value, &info.type, &info.length, &info.data, &info.buffer, nullptr) !=
      napi_ok)
    throw expected(value.Env(), name, kind);
  bool isArrayBuffer = false;
  napi_is_arraybuffer(value.Env(), info.buffer, &isArrayBuffer);
  if (!isArrayBuffer)
    throw expected(value.Env(), name, "over an ArrayBuffer, not a SharedArrayBuffer: copy it first, with .slice()");
  bool isDetached = false;
  napi_is_detached_arraybuffer(value.Env(), info.buffer, &isDetached);
  if (isDetached) throw expected(value.Env(), name, "attached to its data: its ArrayBuffer has been transferred");
  return info;
}

/** Throws where the memory of a buffer could be taken away in the middle of a job. */
void requireFixedLength(Napi::Env env, napi_value buffer, const char* name) {
  const Napi::FunctionReference& isResizable = env.GetInstanceData<AddonData>()->isResizable;
  if (!isResizable.IsEmpty() && isResizable.Call(buffer, {}).ToBoolean())
    throw expected(env, name, "over an ArrayBuffer of fixed length, not a resizable one: copy it first, with .slice()");
}

/** The bytes of a typed array for a job that works where they lie. */
Bytes bytesOf(const Napi::Value& value, const char* name) {
  const auto info = arrayOf(value, name, "a typed array");
  requireFixedLength(value.Env(), info.buffer, name);
  return {static_cast<unsigned char*>(info.data), value.As<Napi::TypedArray>().ByteLength()};
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

std::size_t product(Napi::Env env, std::initializer_list<std::size_t> factors) {
  constexpr std::size_t most = std::size_t{1} << 53;
  std::size_t size = 1;
  for (const std::size_t factor : factors) {
    if (factor != 0 && size > most / factor) throw Napi::TypeError::New(env, "Expected sizes that fit into memory");
    size *= factor;
  }
  return size;
}

Arguments::Arguments(const Napi::CallbackInfo& info) {
  if (info.Length() < 1 || !info[0].IsObject())
    throw Napi::TypeError::New(info.Env(), "Expected an object of arguments");
  object_ = info[0].As<Napi::Object>();
}

Napi::Value Arguments::get(const char* name) const {
  for (const auto& [key, value] : read_)
    if (key == name) return value;
  const Napi::Value value = object_.Get(name);
  read_.emplace_back(name, value);
  return value;
}

bool Arguments::has(const char* name) const {
  const Napi::Value value = get(name);
  return !value.IsUndefined() && !value.IsNull();
}

std::string Arguments::text(const char* name) const {
  const Napi::Value value = get(name);
  if (!value.IsString()) throw expected(object_.Env(), name, "a string");
  return value.As<Napi::String>().Utf8Value();
}

std::int64_t Arguments::integer(const char* name, std::int64_t least, std::int64_t most) const {
  const Napi::Value value = get(name);
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : std::nan("");
  if (!(number >= static_cast<double>(least) && number <= static_cast<double>(most)) || number != std::floor(number))
    throw expected(object_.Env(), name, "a whole number from " + std::to_string(least) + " to " + std::to_string(most));
  return static_cast<std::int64_t>(number);
}

double Arguments::number(const char* name, double least, double most) const {
  const Napi::Value value = get(name);
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : std::nan("");
  if (!(number >= least && number <= most)) throw expected(object_.Env(), name, "a number");
  return number;
}

std::vector<double> Arguments::doubles(const char* name, std::size_t length) const {
  Floats floats = copyFloats(get(name), name);
  if (floats.size() != length)
    throw expected(object_.Env(), name,
                   "an array of " + std::to_string(length) + " numbers, not " + std::to_string(floats.size()));
  if (!floats.single.empty()) return {floats.single.begin(), floats.single.end()};
  return std::move(floats.twice);
}

std::vector<float> Arguments::floats(const char* name) const {
  Floats floats = copyFloats(get(name), name);
  if (!floats.twice.empty()) throw expected(object_.Env(), name, "a Float32Array");
  return std::move(floats.single);
}

std::vector<std::int64_t> Arguments::integers(const char* name) const {
  const Napi::Value value = get(name);
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

Bytes Arguments::bytes(const char* name, std::size_t least, std::size_t alignment) const {
  const Napi::Value value = get(name);
  const Bytes bytes = bytesOf(value, name);
  if (bytes.size < least)
    throw expected(object_.Env(), name,
                   "of " + std::to_string(least) + " bytes or more, not " + std::to_string(bytes.size));
  if (reinterpret_cast<std::uintptr_t>(bytes.data) % alignment != 0)
    throw expected(object_.Env(), name, "at an address that is a multiple of " + std::to_string(alignment));
  taken_.push_back({name, value, bytes});
  return bytes;
}

Napi::Object Arguments::hold() const {
  Napi::Array held = Napi::Array::New(object_.Env(), taken_.size());
  for (std::size_t i = 0; i < taken_.size(); ++i) {
    const auto& [name, array, bytes] = taken_[i];
    const Bytes now = bytesOf(array, name);
    if (now.data != bytes.data || now.size != bytes.size)
      throw expected(object_.Env(), name, "left as it is: it was changed while the other arguments were read");
    held.Set(static_cast<std::uint32_t>(i), array);
  }
  return held;
}

Floats copyFloats(const Napi::Value& value, const char* name) {
  const char* kind = "a Float32Array or Float64Array";
  const auto [type, length, data, buffer] = arrayOf(value, name, kind);
  (void)buffer;
  Floats floats;
  if (type == napi_float32_array)
    floats.single = copyOf<float>(data, length);
  else if (type == napi_float64_array)
    floats.twice = copyOf<double>(data, length);
  else
    throw expected(value.Env(), name, kind);
  return floats;
}

Napi::Value resizableGetter(Napi::Env env) {
  const Napi::Object global = env.Global();
  const auto object = global.Get("Object").As<Napi::Object>();
  const Napi::Value prototype = global.Get("ArrayBuffer").As<Napi::Object>().Get("prototype");
  const Napi::Value property = object.Get("getOwnPropertyDescriptor")
                                   .As<Napi::Function>()
                                   .Call(object, {prototype, Napi::String::New(env, "resizable")});
  return property.IsObject() ? property.As<Napi::Object>().Get("get") : property;
}

Napi::Float64Array toJs(Napi::Env env, const std::vector<double>& values) {
  return copyToJs<Napi::Float64Array>(env, values);
}

Napi::Float32Array toJs(Napi::Env env, const std::vector<float>& values) {
  return copyToJs<Napi::Float32Array>(env, values);
}

}  // namespace vertexq::addon
