#include "arguments.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace vertexq::addon {

namespace {

Napi::TypeError expected(Napi::Env env, const char* name, const std::string& what) {
  return Napi::TypeError::New(env, std::string("Expected \"") + name + "\" to be " + what);
}

struct ArrayInfo {
  napi_typedarray_type type;
  std::size_t length;
  void* data;
  bool isShared;
};

/** Throws unless `value` is a typed array whose memory has not been transferred. */
ArrayInfo arrayOf(const Napi::Value& value, const char* name, const char* kind) {
  if (!value.IsTypedArray()) throw expected(value.Env(), name, kind);
  // Not through Napi::TypedArray::ArrayBuffer: for a shared buffer that would be no ArrayBuffer at all.
  ArrayInfo info;
  napi_value buffer;
  if (napi_get_typedarray_info(value.Env(), value, &info.type, &info.length, &info.data, &buffer, nullptr) != napi_ok)
    throw expected(value.Env(), name, kind);
  bool isUnshared = false, isDetached = false;
  napi_is_arraybuffer(value.Env(), buffer, &isUnshared);
  if (isUnshared) napi_is_detached_arraybuffer(value.Env(), buffer, &isDetached);
  if (isDetached) throw expected(value.Env(), name, "attached to its data: its ArrayBuffer has been transferred");
  info.isShared = !isUnshared;
  return info;
}

struct Lying {
  Bytes bytes;
  bool isShared;
};

/** Where JavaScript has the bytes of a typed array now. */
Lying lyingAt(const Napi::Value& value, const char* name) {
  const auto info = arrayOf(value, name, "a typed array");
  return {{static_cast<unsigned char*>(info.data), value.As<Napi::TypedArray>().ByteLength()}, info.isShared};
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

/** Less is copied sooner than it is handed over. */
constexpr std::size_t kSmallArray = std::size_t{1} << 16;

template <typename Array, typename Element>
Array moveToJs(Napi::Env env, std::vector<Element>&& values) {
  const std::size_t size = values.size();
  if (size * sizeof(Element) < kSmallArray) return copyToJs<Array>(env, values);
  auto kept = std::make_unique<std::vector<Element>>(std::move(values));
  napi_value buffer;
  const napi_status status = napi_create_external_arraybuffer(
      env, kept->data(), size * sizeof(Element),
      [](napi_env, void*, void* hint) { delete static_cast<std::vector<Element>*>(hint); }, kept.get(), &buffer);
  // Electron has no such arrays.
  if (status != napi_ok) return copyToJs<Array>(env, *kept);
  kept.release();
  return Array::New(env, size, Napi::ArrayBuffer(env, buffer), 0);
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

FloatBytes Arguments::floatBytes(const char* name, std::size_t length) const {
  const char* kind = "a Float32Array or Float64Array";
  const ArrayInfo info = arrayOf(get(name), name, kind);
  if (info.type != napi_float32_array && info.type != napi_float64_array) throw expected(object_.Env(), name, kind);
  if (info.length != length)
    throw expected(object_.Env(), name,
                   "an array of " + std::to_string(length) + " numbers, not " + std::to_string(info.length));
  const bool isSingle = info.type == napi_float32_array;
  return {isSingle, bytes(name, info.length * (isSingle ? sizeof(float) : sizeof(double))).data};
}

std::vector<float> Arguments::floats(const char* name) const {
  Floats floats = copyFloats(get(name), name);
  if (!floats.twice.empty()) throw expected(object_.Env(), name, "a Float32Array");
  return std::move(floats.single);
}

HeldFloats Arguments::singles(const char* name, HeldMemory& held) const {
  HeldFloats floats(get(name), name, held);
  if (!floats.isSingle()) throw expected(object_.Env(), name, "a Float32Array");
  return floats;
}

std::vector<std::int64_t> Arguments::integers(const char* name, std::int64_t most) const {
  const Napi::Value value = get(name);
  if (!value.IsArray()) throw expected(object_.Env(), name, "an array of whole numbers");
  const auto array = value.As<Napi::Array>();
  std::vector<std::int64_t> numbers;
  for (std::uint32_t i = 0; i < array.Length(); ++i) {
    const Napi::Value entry = array.Get(i);
    const double number = entry.IsNumber() ? entry.As<Napi::Number>().DoubleValue() : std::nan("");
    if (!(std::abs(number) <= static_cast<double>(most)) || number != std::floor(number))
      throw expected(object_.Env(), name, "an array of whole numbers");
    numbers.push_back(static_cast<std::int64_t>(number));
  }
  return numbers;
}

bool Arguments::atOnce() const { return atOnce_ = has("now"); }

Bytes Arguments::bytes(const char* name, std::size_t least, std::size_t alignment) const {
  return take(name, least, alignment, false);
}

Bytes Arguments::room(const char* name, std::size_t least, std::size_t alignment) const {
  return take(name, least, alignment, true);
}

Bytes Arguments::take(const char* name, std::size_t least, std::size_t alignment, bool isWritten) const {
  const Napi::Value value = get(name);
  const auto [lies, isShared] = lyingAt(value, name);
  if (lies.size < least)
    throw expected(object_.Env(), name,
                   "of " + std::to_string(least) + " bytes or more, not " + std::to_string(lies.size));
  if (reinterpret_cast<std::uintptr_t>(lies.data) % alignment != 0)
    throw expected(object_.Env(), name, "at an address that is a multiple of " + std::to_string(alignment));
  Taken taken{value, lies, {name, static_cast<std::uint32_t>(taken_.size()), nullptr, lies.size, isWritten}};
  const bool inPlace = isShared || atOnce_;
  if (!inPlace) taken.copy.bytes.reset(new unsigned char[lies.size]);
  taken_.push_back(std::move(taken));
  return {inPlace ? lies.data : taken_.back().copy.bytes.get(), lies.size};
}

HeldMemory Arguments::hold() const {
  HeldMemory held;
  Napi::Array arrays = Napi::Array::New(object_.Env(), taken_.size());
  for (auto& [array, lies, copy] : taken_) {
    const Bytes now = lyingAt(array, copy.name).bytes;
    if (now.data != lies.data || now.size != lies.size)
      throw expected(object_.Env(), copy.name, "left as it is: it was changed while the other arguments were read");
    arrays.Set(copy.index, array);
    if (!copy.bytes) continue;
    if (copy.size > 0) std::memcpy(copy.bytes.get(), now.data, copy.size);
    held.copies.push_back(std::move(copy));
  }
  held.arrays = Napi::Persistent(arrays.As<Napi::Object>());
  return held;
}

void HeldMemory::writeBack() const {
  for (const Copy& copy : copies) {
    if (!copy.isWritten) continue;
    const Napi::Value array = arrays.Value().Get(copy.index);
    const Bytes now = lyingAt(array, copy.name).bytes;
    if (now.size != copy.size)
      throw expected(array.Env(), copy.name, "left as it is: its size was changed while the job ran");
    if (now.size > 0) std::memcpy(now.data, copy.bytes.get(), now.size);
  }
}

void HeldMemory::keep(const Napi::Value& array) {
  Napi::Array all;
  if (arrays.IsEmpty()) {
    all = Napi::Array::New(array.Env());
    arrays = Napi::Persistent(all.As<Napi::Object>());
  } else {
    all = arrays.Value().As<Napi::Array>();
  }
  all.Set(all.Length(), array);
}

namespace {

ArrayInfo floatsAt(const Napi::Value& value, const char* name) {
  const char* kind = "a Float32Array or Float64Array";
  const ArrayInfo info = arrayOf(value, name, kind);
  if (info.type != napi_float32_array && info.type != napi_float64_array) throw expected(value.Env(), name, kind);
  return info;
}

Floats copyOf(const void* data, std::size_t length, napi_typedarray_type type) {
  Floats floats;
  if (type == napi_float32_array)
    floats.single = copyOf<float>(data, length);
  else
    floats.twice = copyOf<double>(data, length);
  return floats;
}

}  // namespace

HeldFloats::HeldFloats(const Napi::Value& value, const char* name, HeldMemory& held) {
  const ArrayInfo info = floatsAt(value, name);
  type_ = info.type;
  size_ = info.length;
  data_ = info.data;
  if (info.isShared)
    held.keep(value);
  else
    own();
}

Floats& HeldFloats::own() {
  if (copy_.size() == 0 && size_ > 0) {
    copy_ = copyOf(data_, size_, type_);
    data_ = isSingle() ? static_cast<const void*>(copy_.single.data()) : copy_.twice.data();
  }
  return copy_;
}

Floats copyFloats(const Napi::Value& value, const char* name) {
  const ArrayInfo info = floatsAt(value, name);
  return copyOf(info.data, info.length, info.type);
}

Napi::Float64Array toJs(Napi::Env env, const std::vector<double>& values) {
  return copyToJs<Napi::Float64Array>(env, values);
}

Napi::Float32Array toJs(Napi::Env env, const std::vector<float>& values) {
  return copyToJs<Napi::Float32Array>(env, values);
}

Napi::Int8Array givenToJs(Napi::Env env, std::vector<std::int8_t> values) {
  return moveToJs<Napi::Int8Array>(env, std::move(values));
}

Napi::Float32Array givenToJs(Napi::Env env, std::vector<float> values) {
  return moveToJs<Napi::Float32Array>(env, std::move(values));
}

Napi::Float64Array givenToJs(Napi::Env env, std::vector<double> values) {
  return moveToJs<Napi::Float64Array>(env, std::move(values));
}

}  // namespace vertexq::addon
