// Who runs long jobs: threads of our own, so that libuv's four stay free for files and name look-ups.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>

namespace vertexq {

/** Runs submitted tasks in order, at most kRunners at a time: each also works in the pool's parallelFor it calls. */
class JobQueue {
 public:
  /** With ThreadPool::kMaxThreads helpers this stays well below the number of buffers OpenBLAS has for its callers. */
  static constexpr unsigned kRunners = 8;

  /** The queue of the process. It is never destroyed: at exit its idle threads end with the process. */
  static JobQueue& shared();

  /**
   * `task` must not throw. Throws ERR_VERTEXQ_THREADS where the system gives no thread to run it on, and std::bad_alloc; then it will
   * not run.
   */
  void submit(std::function<void()> task);

 private:
  JobQueue() = default;
  void runnerLoop();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> queue_;
  unsigned runners_ = 0;
  unsigned idle_ = 0;
};

}  // namespace vertexq
