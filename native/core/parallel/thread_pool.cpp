#include "parallel/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <utility>
#include <vector>

#include "linalg/blas.h"

namespace vertexq {

namespace {

/**
 * How long a thread stays awake for what is likely to come soon: in a loop of short batches, waking up (some 100 µs where an idle
 * core of a virtual machine has to be brought back) would take longer than the work.
 */
constexpr std::chrono::microseconds kPatience{100};

template <typename Done>
void stayAwakeUntil(Done done) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (!done() && std::chrono::steady_clock::now() < end) std::this_thread::yield();
}

}  // namespace

/** One parallelFor: helpers and the caller draw indices from it until none is left. */
struct ThreadPool::Batch {
  Batch(std::size_t tasks, unsigned threads, const std::function<void(std::size_t, unsigned)>& run)
      : count(tasks), limit(threads), task(run) {
    for (unsigned slot = threads; slot-- > 1;) freeSlots.push_back(slot);  // 0 is the caller's
  }

  const std::size_t count;
  const unsigned limit;  // threads at work on it, the caller included
  const std::function<void(std::size_t, unsigned)>& task;
  std::atomic<std::size_t> next{0};

  std::mutex mutex;
  std::condition_variable left;
  std::vector<unsigned> freeSlots;
  unsigned running = 0;  // helpers at work
  bool closed = false;   // the caller has seen the end: latecomers must not touch `task`
  std::exception_ptr error;
  std::size_t errorIndex = 0;

  bool hasTasks() const { return next.load() < count; }

  /** A helper's part: tasks until none is left, or `enough` says so between two of them. */
  template <typename Enough>
  void help(Enough enough) {
    unsigned slot;
    {
      std::lock_guard<std::mutex> lock(mutex);
      if (closed || freeSlots.empty()) return;
      slot = freeSlots.back();
      freeSlots.pop_back();
      ++running;
    }
    draw(slot, enough);
    std::lock_guard<std::mutex> lock(mutex);
    freeSlots.push_back(slot);
    if (--running == 0) left.notify_all();
  }

  /** The caller's: whatever helpers came first, it has a slot, for they may leave before the end. */
  void drain() {
    draw(0, [] { return false; });
  }

 private:
  template <typename Enough>
  void draw(unsigned slot, Enough enough) {
    std::size_t i = 0;
    try {
      while (!enough() && (i = next.fetch_add(1)) < count) task(i, slot);
    } catch (...) {
      next.store(count);
      // All indices below a failing one were drawn before it, and run to their end: the lowest error is always found.
      std::lock_guard<std::mutex> lock(mutex);
      if (!error || i < errorIndex) {
        error = std::current_exception();
        errorIndex = i;
      }
    }
  }
};

ThreadPool& ThreadPool::shared() {
  static ThreadPool* pool = new ThreadPool();
  return *pool;
}

namespace {

/** A task that calls parallelFor itself is one thread at work, not two. */
thread_local unsigned depth = 0;

class Working {
 public:
  explicit Working(std::atomic<std::size_t>& count) : count_(count) {
    if (depth++ == 0) ++count_;
  }
  ~Working() {
    if (--depth == 0) --count_;
  }
  Working(const Working&) = delete;
  Working& operator=(const Working&) = delete;

 private:
  std::atomic<std::size_t>& count_;
};

}  // namespace

void ThreadPool::parallelFor(std::size_t count, unsigned threads,
                             const std::function<void(std::size_t, unsigned)>& task) {
  if (count == 0) return;
  const std::size_t wanted = std::max<std::size_t>(1, std::min<std::size_t>({threads, kMaxThreads, count}));
  auto batch = std::make_shared<Batch>(count, static_cast<unsigned>(wanted), task);
  if (wanted > 1) {
    std::lock_guard<std::mutex> lock(mutex_);
    growTo(wanted - 1);
    open_.push_back(batch);
    ++posted_;
    wake_.notify_all();
  }
  {
    const Working working(working_);
    batch->drain();
  }
  stayAwakeUntil([&] {
    std::lock_guard<std::mutex> look(batch->mutex);
    return batch->running == 0;
  });
  std::unique_lock<std::mutex> lock(batch->mutex);
  batch->left.wait(lock, [&] { return batch->running == 0; });
  batch->closed = true;
  // Taken out of the batch: a helper that lets go of it last must not free what the caller is still handling.
  const std::exception_ptr error = std::move(batch->error);
  lock.unlock();
  {
    // There is room for a helper elsewhere now.
    std::lock_guard<std::mutex> poolLock(mutex_);
    open_.erase(std::remove(open_.begin(), open_.end(), batch), open_.end());  // there may be no helper to do so
    wake_.notify_all();
  }
  if (error) std::rethrow_exception(error);
}

void ThreadPool::growTo(std::size_t helpers) {
  // Where there is no thread or no memory for another, those that there are, and the caller, do the work.
  for (; helpers_ < helpers && admitBlasCaller(); ++helpers_) {
    try {
      std::thread([this] { helperLoop(); }).detach();
    } catch (const std::exception&) {
      dismissBlasCaller();
      return;
    }
  }
}

/** The next batch that may have one more helper; forgets those whose tasks are all drawn. The mutex is held. */
std::shared_ptr<ThreadPool::Batch> ThreadPool::batchToHelp() {
  for (auto at = open_.begin(); at != open_.end();) {
    if (!(*at)->hasTasks()) {
      at = open_.erase(at);
      continue;
    }
    if (working_.load() < (*at)->limit) {
      // To the back: the next helper goes to another batch.
      std::rotate(at, at + 1, open_.end());  // without an allocation, which could fail
      return open_.back();
    }
    ++at;
  }
  return nullptr;
}

void ThreadPool::helperLoop() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    std::shared_ptr<Batch> batch = batchToHelp();
    if (!batch) {
      const std::uint64_t posted = posted_.load();
      lock.unlock();
      stayAwakeUntil([&] { return posted_.load() != posted; });
      lock.lock();
      wake_.wait(lock, [&] { return (batch = batchToHelp()) != nullptr; });
    }
    {
      const Working working(working_);
      lock.unlock();
      batch->help([&] { return working_.load() > batch->limit; });
    }
    batch = nullptr;
    lock.lock();
    wake_.notify_one();  // this one has left: another may be wanted elsewhere
  }
}

}  // namespace vertexq
