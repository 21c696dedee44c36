#include "parallel/job_queue.h"

#include <exception>
#include <thread>

#include "error.h"

namespace vertexq {

JobQueue& JobQueue::shared() {
  static JobQueue* queue = new JobQueue();
  return *queue;
}

void JobQueue::submit(std::function<void()> task) {
  std::lock_guard<std::mutex> lock(mutex_);
  queue_.push_back(std::move(task));
  if (idle_ < queue_.size() && runners_ < kRunners) {
    try {
      std::thread([this] { runnerLoop(); }).detach();
      ++runners_;
    } catch (const std::exception& error) {
      // No thread to be had: those that there are will do, one at least.
      if (runners_ == 0) {
        queue_.pop_back();
        throw Error("ERR_VERTEXQ_THREADS",
                    std::string("no thread could be started for the work (") + error.what() +
                        "): raise the limit of processes (\"ulimit -u\", a container's pids) or of "
                        "memory (\"ulimit -v\")");
      }
    }
  }
  wake_.notify_one();
}

void JobQueue::runnerLoop() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    ++idle_;
    wake_.wait(lock, [&] { return !queue_.empty(); });
    --idle_;
    std::function<void()> task = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    task();
    task = nullptr;  // what it holds is freed before the lock is taken again
    lock.lock();
  }
}

}  // namespace vertexq
