#include "parallel/job_queue.h"

#include <thread>

namespace vertexq {

JobQueue& JobQueue::shared() {
  static JobQueue* queue = new JobQueue();
  return *queue;
}

void JobQueue::submit(std::function<void()> task) {
  std::lock_guard<std::mutex> lock(mutex_);
  queue_.push_back(std::move(task));
  if (idle_ < queue_.size() && runners_ < kRunners) {
    ++runners_;
    std::thread([this] { runnerLoop(); }).detach();
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
