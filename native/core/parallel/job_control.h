// How a long computation is watched and stopped from another thread.
#pragma once

#include <atomic>
#include <cstddef>

#include "error.h"

namespace vertexq {

/**
 * Shared by the thread that asked for the work, which reads the progress and may cancel, and the threads that do it,
 * which count finished units (neurons, in every job so far) and stop the next time they look.
 */
class JobControl {
 public:
  JobControl() = default;
  /** A part of a larger job: cancelled with it, but with progress of its own. */
  explicit JobControl(const JobControl* whole) : whole_(whole) {}

  void cancel() { cancelled_.store(true, std::memory_order_relaxed); }
  bool cancelled() const {
    return cancelled_.load(std::memory_order_relaxed) || (whole_ != nullptr && whole_->cancelled());
  }
  void throwIfCancelled() const {
    if (cancelled()) throw Cancelled();
  }

  void expect(std::size_t units) { total_.fetch_add(units, std::memory_order_relaxed); }
  void finish(std::size_t units) { done_.fetch_add(units, std::memory_order_relaxed); }
  std::size_t done() const { return done_.load(std::memory_order_relaxed); }
  std::size_t total() const { return total_.load(std::memory_order_relaxed); }

 private:
  const JobControl* whole_ = nullptr;
  std::atomic<bool> cancelled_{false};
  std::atomic<std::size_t> done_{0};
  std::atomic<std::size_t> total_{0};
};

}  // namespace vertexq
