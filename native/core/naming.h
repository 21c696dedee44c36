// Errors that say what they are about: where they are thrown that is not known.
#pragma once

#include <string>

#include "error.h"

namespace vertexq {

/** What a task gives; an error says what it was about, as what() tells then. */
template <typename What, typename Task>
auto naming(What what, Task task) {
  try {
    return task();
  } catch (const Error& error) {
    throw Error(error.code(), std::string(what()) + ": " + error.what());
  }
}

template <typename Task>
auto namingHoldout(Task task) {
  return naming([] { return "held-out data"; }, task);
}

}  // namespace vertexq
