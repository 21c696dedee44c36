// One pool of threads for all work of the process.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace vertexq {

/**
 * Splits independent tasks over the calling thread and helpers that are started when first needed and then kept.
 *
 * Which thread runs a task is left to chance, so a task must write only its own part of the result; then the result has
 * the same bytes for every number of threads.
 */
class ThreadPool {
 public:
  /** Debian's OpenBLAS has buffers for 64 callers; one stays free for the host's own use of it. */
  static constexpr unsigned kMaxThreads = 63;

  /** The pool of the process. It is never destroyed: at exit its idle threads end with the process. */
  static ThreadPool& shared();

  /**
   * Runs task(index, slot) for every index in [0, count) on at most `threads` threads, the calling one included, and
   * returns when all have finished. `slot` < threads tells concurrent tasks apart, for per-thread workspace. An
   * exception stops tasks that have not begun; that of the lowest index is thrown on, whatever came first.
   *
   * Calls that run at the same time share the helpers: one helps only while fewer than `threads` threads work in the whole
   * pool, and leaves between two tasks when there are more. So two jobs that may use every core do not take each twice.
   */
  void parallelFor(std::size_t count, unsigned threads,
                   const std::function<void(std::size_t index, unsigned slot)>& task);

 private:
  struct Batch;

  ThreadPool() = default;
  void growTo(std::size_t helpers);
  void helperLoop();
  std::shared_ptr<Batch> batchToHelp();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::shared_ptr<Batch>> open_;  // those with tasks left that want helpers
  std::size_t helpers_ = 0;
  std::atomic<std::size_t> working_{0};   // callers and helpers inside a batch
  std::atomic<std::uint64_t> posted_{0};  // batches so far
};

}  // namespace vertexq
