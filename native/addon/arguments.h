// All argument checking of the addon; the one header that includes <napi.h>.
//
// The TypeScript above checks options with messages for people. What is checked here keeps memory safe whatever it passes.
#pragma once

#include <napi.h>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

namespace vertexq::addon {

/** LAPACK counts in 32 bits. */
constexpr std::int64_t kMaxFeatures = 0x7fffffff;

/** Memory of a typed array. */
struct Bytes {
  unsigned char* data;
  std::size_t size;
};

/** The product of sizes. Throws a Napi::TypeError where there is no memory of so many bytes. */
std::size_t product(Napi::Env env, std::initializer_list<std::size_t> factors);

/**
 * The named members of an options object. Every getter throws a Napi::TypeError that names the member. A member is read from the object
 * once: reading it may run JavaScript, which may give another answer the next time.
 */
class Arguments {
 public:
  explicit Arguments(const Napi::CallbackInfo& info);

  bool has(const char* name) const;
  std::string text(const char* name) const;
  /** A whole number in [least, most]. */
  std::int64_t integer(const char* name, std::int64_t least, std::int64_t most) const;
  /** A number in [least, most]. */
  double number(const char* name, double least, double most) const;
  /** A copy of a Float32Array or Float64Array of exactly `length` entries, as doubles. */
  std::vector<double> doubles(const char* name, std::size_t length) const;
  /** A copy of a Float32Array. */
  std::vector<float> floats(const char* name) const;
  /** An array of whole numbers. */
  std::vector<std::int64_t> integers(const char* name) const;

  /**
   * The bytes of a typed array of at least `least` of them, where they lie, on a multiple of `alignment`. They are for a job that holds
   * what hold() returns.
   */
  Bytes bytes(const char* name, std::size_t least, std::size_t alignment = 1) const;
  /**
   * All typed arrays that bytes() has given the memory of, looked at once more: reading a later member may have run JavaScript that
   * transferred or shrank an earlier one. To be called when all members have been read. Throws a Napi::TypeError.
   */
  Napi::Object hold() const;

  /** The value that the text member stands for. */
  template <typename Value>
  Value choice(const char* name, std::initializer_list<std::pair<const char*, Value>> choices) const {
    const std::string given = text(name);
    for (const auto& [key, value] : choices)
      if (given == key) return value;
    throw Napi::TypeError::New(object_.Env(), std::string("Unknown \"") + name + "\": \"" + given + "\"");
  }

  /** The native object behind a member that was made by the class Wrapped, whatever its prototype is by now. */
  template <typename Wrapped>
  Wrapped* instance(const char* name) const {
    const Napi::Value value = get(name);
    if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&Wrapped::kTag))
      throw Napi::TypeError::New(object_.Env(), std::string("Expected \"") + name + "\" to be a Calibration");
    return Wrapped::Unwrap(value.As<Napi::Object>());
  }

 private:
  struct Taken {
    const char* name;
    Napi::Value array;
    Bytes bytes;
  };
  /** A member, read when it is first asked for. */
  Napi::Value get(const char* name) const;

  Napi::Object object_;
  mutable std::vector<std::pair<std::string, Napi::Value>> read_;
  mutable std::vector<Taken> taken_;
};

/** Floating-point numbers copied out of a typed array in their own precision: one of the two is empty. */
struct Floats {
  std::vector<float> single;
  std::vector<double> twice;

  std::size_t size() const { return single.size() + twice.size(); }
};

/**
 * Copies `value`. Throws a Napi::TypeError unless it is a Float32Array or Float64Array over an ArrayBuffer that is neither
 * detached nor shared: another thread could change or free those during a job.
 */
Floats copyFloats(const Napi::Value& value, const char* name);

/** The getter for AddonData::isResizable. */
Napi::Value resizableGetter(Napi::Env env);

Napi::Float64Array toJs(Napi::Env env, const std::vector<double>& values);
Napi::Float32Array toJs(Napi::Env env, const std::vector<float>& values);

}  // namespace vertexq::addon
