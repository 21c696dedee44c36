// No C++ exception but Napi's own leaves a callback of the addon: anything else would end the process.
#pragma once

#include <napi.h>

#include <exception>

namespace vertexq::addon {

/**
 * The JavaScript Error for an exception: with the `code` of a core error; ERR_VERTEXQ_CANCELLED, ERR_VERTEXQ_MEMORY,
 * ERR_VERTEXQ_INTERNAL; a Napi::Error is itself. Takes no memory but JavaScript's.
 */
Napi::Error toJs(Napi::Env env, const std::exception_ptr& exception);

/** What `body` returns. Throws nothing but Napi::Error. */
template <typename Body>
auto guard(Napi::Env env, const Body& body) -> decltype(body()) {
  try {
    return body();
  } catch (...) {
    throw toJs(env, std::current_exception());
  }
}

/** `Entry` as a function for JavaScript. */
template <Napi::Value (*Entry)(const Napi::CallbackInfo&)>
Napi::Value guarded(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&] { return Entry(info); });
}

}  // namespace vertexq::addon
