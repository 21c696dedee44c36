#include "parallel/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <utility>

namespace vertexq {

/** One parallelFor: helpers and the caller draw indices from it until none is left. */
struct ThreadPool::Batch {
  Batch(std::size_t tasks, const std::function<void(std::size_t, unsigned)>& run) : count(tasks), task(run) {}

  const std::size_t count;
  const std::function<void(std::size_t, unsigned)>& task;
  std::atomic<std::size_t> next{0};

  std::mutex mutex;
  std::condition_variable left;
  unsigned slots = 0;    // handed out so far
  unsigned running = 0;  // threads inside drain()
  bool closed = false;   // the caller has seen the end: latecomers must not touch `task`
  std::exception_ptr error;
  std::size_t errorIndex = 0;

  void drain() {
    unsigned slot;
    {
      std::lock_guard<std::mutex> lock(mutex);
      if (closed) return;
      slot = slots++;
      ++running;
    }
    std::size_t i = 0;
    try {
      while ((i = next.fetch_add(1)) < count) task(i, slot);
    } catch (...) {
      next.store(count);
      // All indices below a failing one were drawn before it, and run to their end: the lowest error is always found.
      std::lock_guard<std::mutex> lock(mutex);
      if (!error || i < errorIndex) {
        error = std::current_exception();
        errorIndex = i;
      }
    }
    std::lock_guard<std::mutex> lock(mutex);
    if (--running == 0) left.notify_all();
  }
};

ThreadPool& ThreadPool::shared() {
  static ThreadPool* pool = new ThreadPool();
  return *pool;
}

void ThreadPool::parallelFor(std::size_t count, unsigned threads,
                             const std::function<void(std::size_t, unsigned)>& task) {
  if (count == 0) return;
  const std::size_t wanted = std::min<std::size_t>({threads, kMaxThreads, count});
  auto batch = std::make_shared<Batch>(count, task);
  if (wanted > 1) {
    std::lock_guard<std::mutex> lock(mutex_);
    growTo(wanted - 1);
    for (std::size_t i = 1; i < wanted; ++i) queue_.push_back(batch);
    wake_.notify_all();
  }
  batch->drain();
  std::unique_lock<std::mutex> lock(batch->mutex);
  batch->left.wait(lock, [&] { return batch->running == 0; });
  batch->closed = true;
  // Taken out of the batch: a helper that lets go of it last must not free what the caller is still handling.
  const std::exception_ptr error = std::move(batch->error);
  lock.unlock();
  if (error) std::rethrow_exception(error);
}

void ThreadPool::growTo(std::size_t helpers) {
  for (; helpers_ < helpers; ++helpers_) std::thread([this] { helperLoop(); }).detach();
}

void ThreadPool::helperLoop() {
  for (;;) {
    std::shared_ptr<Batch> batch;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [&] { return !queue_.empty(); });
      batch = std::move(queue_.front());
      queue_.pop_front();
    }
    batch->drain();
  }
}

}  // namespace vertexq
