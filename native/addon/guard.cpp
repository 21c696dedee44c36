#include "guard.h"

#include <new>
#include <stdexcept>

#include "error.h"

namespace vertexq::addon {

namespace {

Napi::Error coded(Napi::Env env, const char* code, const char* message) {
  Napi::Error error = Napi::Error::New(env, message);
  error.Value().Set("code", Napi::String::New(env, code));
  return error;
}

constexpr const char* kNoMemory = "the system had no memory left for the work";

}  // namespace

Napi::Error toJs(Napi::Env env, const std::exception_ptr& exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const Napi::Error& error) {
    return error;
  } catch (const Cancelled&) {
    return coded(env, "ERR_VERTEXQ_CANCELLED", "the job was cancelled");
  } catch (const Error& error) {
    return coded(env, error.code().c_str(), error.what());
  } catch (const std::bad_alloc&) {
    return coded(env, "ERR_VERTEXQ_MEMORY", kNoMemory);
  } catch (const std::length_error&) {
    return coded(env, "ERR_VERTEXQ_MEMORY", kNoMemory);  // more elements than addresses
  } catch (const std::exception& error) {
    return coded(env, "ERR_VERTEXQ_INTERNAL", error.what());
  } catch (...) {
    return coded(env, "ERR_VERTEXQ_INTERNAL", "an exception of an unknown kind");
  }
}

}  // namespace vertexq::addon
