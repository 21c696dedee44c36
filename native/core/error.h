// What the core throws. The addon turns `code` into the `code` of a VertexqError.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>

namespace vertexq {

class Error : public std::runtime_error {
 public:
  Error(std::string code, const std::string& message) : std::runtime_error(message), code_(std::move(code)) {}
  const std::string& code() const { return code_; }

 private:
  std::string code_;
};

/** Runs a task about a neuron; an error says which one. */
template <typename Task>
void namingNeuron(std::size_t neuron, Task task) {
  try {
    task();
  } catch (const Error& error) {
    throw Error(error.code(), "neuron " + std::to_string(neuron) + ": " + error.what());
  }
}

/** Thrown where a job looks whether it has been cancelled, and it has. */
class Cancelled : public std::runtime_error {
 public:
  Cancelled() : std::runtime_error("cancelled") {}
};

}  // namespace vertexq
