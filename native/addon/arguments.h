// All argument checking of the addon; the one header that includes <napi.h>.
//
// The TypeScript above checks options with messages for people. What is checked here keeps memory safe whatever it passes.
#pragma once

#include <napi.h>

#include <cstdint>
#include <initializer_list>
#include <memory>
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

/**
 * The memory that a job works on, kept until it has ended. Shared memory, which nobody can take away, is worked on where it lies. Any other
 * may be transferred or shrunk by JavaScript at any moment, and N-API cannot hold it: of that the job has a copy, which is written back.
 */
struct HeldMemory {
  struct Copy {
    const char* name;
    std::uint32_t index;  // of its array
    std::unique_ptr<unsigned char[]> bytes;
    std::size_t size;
    bool isWritten;
  };

  /** Writes what the job has made where it belongs. Throws a Napi::TypeError where that has been taken away. */
  void writeBack() const;
  /** Keeps an array that lies in shared memory besides. */
  void keep(const Napi::Value& array);

  Napi::ObjectReference arrays;
  std::vector<Copy> copies;
};

/** Floating-point numbers copied out of a typed array in their own precision: one of the two is empty. */
struct Floats {
  std::vector<float> single;
  std::vector<double> twice;

  std::size_t size() const { return single.size() + twice.size(); }
};

/** Numbers that a job reads: those of shared memory where they lie, of any other a copy. */
class HeldFloats {
 public:
  HeldFloats() = default;
  HeldFloats(HeldFloats&&) = default;
  HeldFloats& operator=(HeldFloats&&) = default;
  /** Throws as copyFloats. What is in shared memory stays as long as `held`. */
  HeldFloats(const Napi::Value& value, const char* name, HeldMemory& held);

  /** Whether they are float32; where there are none both may be asked for. */
  bool isSingle() const { return type_ == napi_float32_array; }
  std::size_t size() const { return size_; }
  const float* single() const { return static_cast<const float*>(data_); }
  const double* twice() const { return static_cast<const double*>(data_); }
  /** A copy that may be changed, and is what is read from then on. Not on the JavaScript thread, where it would take long. */
  Floats& own();

 private:
  napi_typedarray_type type_ = napi_float32_array;
  const void* data_ = nullptr;
  std::size_t size_ = 0;
  Floats copy_;
};

/** Memory of a Float32Array or Float64Array. */
struct FloatBytes {
  bool isSingle;
  const unsigned char* data;
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
  /** A copy of a Float32Array. */
  std::vector<float> floats(const char* name) const;
  /** The numbers of a Float32Array. */
  HeldFloats singles(const char* name, HeldMemory& held) const;
  /** An array of whole numbers of at most `most` in magnitude. */
  std::vector<std::int64_t> integers(const char* name, std::int64_t most = kMaxFeatures) const;

  /** The bytes that a job reads of a typed array of at least `least` of them, on a multiple of `alignment`: its hold() makes them stay. */
  Bytes bytes(const char* name, std::size_t least, std::size_t alignment = 1) const;
  /** The memory of a Float32Array or Float64Array of exactly `length` numbers that a job reads, as bytes(). */
  FloatBytes floatBytes(const char* name, std::size_t length) const;
  /** Whether the work is done before the call returns, as the member "now" says: then it is done where any memory lies. To be asked first. */
  bool atOnce() const;
  /** The same of one that it writes to. */
  Bytes room(const char* name, std::size_t least, std::size_t alignment = 1) const;
  /**
   * All memory that bytes() and room() have given. The arrays are looked at once more: reading a later member may have run JavaScript that
   * transferred or shrank an earlier one. To be called once, when all members have been read. Throws a Napi::TypeError.
   */
  HeldMemory hold() const;

  /** The value that the text member stands for. */
  template <typename Value>
  Value choice(const char* name, const std::vector<std::pair<const char*, Value>>& choices) const {
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
      throw Napi::TypeError::New(object_.Env(), std::string("Expected \"") + name + "\" to be a LayerRows");
    return Wrapped::Unwrap(value.As<Napi::Object>());
  }

 private:
  struct Taken {
    Napi::Value array;
    Bytes lies;  // where JavaScript has it
    HeldMemory::Copy copy;
  };
  Bytes take(const char* name, std::size_t least, std::size_t alignment, bool isWritten) const;
  /** A member, read when it is first asked for. */
  Napi::Value get(const char* name) const;

  Napi::Object object_;
  mutable std::vector<std::pair<std::string, Napi::Value>> read_;
  mutable std::vector<Taken> taken_;
  mutable bool atOnce_ = false;
};

/** Copies `value`. Throws a Napi::TypeError unless it is a Float32Array or Float64Array whose memory has not been transferred. */
Floats copyFloats(const Napi::Value& value, const char* name);

Napi::Float64Array toJs(Napi::Env env, const std::vector<double>& values);
Napi::Float32Array toJs(Napi::Env env, const std::vector<float>& values);

/** An array of what `values` holds, without a copy, which is only made where the runtime takes no memory of others. */
Napi::Int8Array givenToJs(Napi::Env env, std::vector<std::int8_t> values);
Napi::Float32Array givenToJs(Napi::Env env, std::vector<float> values);
Napi::Float64Array givenToJs(Napi::Env env, std::vector<double> values);

}  // namespace vertexq::addon
