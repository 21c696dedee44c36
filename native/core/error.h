// What the core throws. The addon turns `code` into the `code` of a VertexqError.
#pragma once

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

/** Thrown at a checkpoint of a job that has been cancelled. */
class Cancelled : public std::runtime_error {
 public:
  Cancelled() : std::runtime_error("cancelled") {}
};

}  // namespace vertexq
