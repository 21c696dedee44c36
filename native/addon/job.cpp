#include "job.h"

#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <set>

#include "error.h"
#include "parallel/job_queue.h"

namespace vertexq::addon {

namespace {

class Job;

/** Jobs whose work may still run, for the process's exit. */
struct Running {
  std::mutex mutex;
  std::set<Job*> jobs;
  bool exiting = false;
};

Running& running() {
  static Running* instance = new Running();
  return *instance;
}

class Job : public std::enable_shared_from_this<Job> {
 public:
  Job(Napi::Env env, Work work, Result result)
      : deferred_(Napi::Promise::Deferred::New(env)), work_(std::move(work)), result_(std::move(result)) {}

  Napi::Object start(Napi::Env env);
  /** Cancels and waits until no thread of ours is in the work, nor will be. Called on any thread but the work's. */
  void stop();

  JobControl control;
  /** What the work reads and writes of JavaScript's. Let go on the JavaScript thread. */
  Napi::ObjectReference held;

 private:
  enum class State { Queued, Running, Finished };

  void run();
  void settle(Napi::Env env);
  static void onEnvironmentExit(void* data) { static_cast<Job*>(data)->abandon(); }
  void abandon();

  Napi::Promise::Deferred deferred_;
  Work work_;
  Result result_;
  Napi::ThreadSafeFunction settled_;
  std::shared_ptr<Job> self_;  // until settled or abandoned

  std::mutex mutex_;
  std::condition_variable finished_;
  State state_ = State::Queued;
  std::string errorCode_;
  std::string errorMessage_;
};

Napi::Object Job::start(Napi::Env env) {
  self_ = shared_from_this();
  // Keeps the event loop alive until the job has settled.
  settled_ = Napi::ThreadSafeFunction::New(env, Napi::Function::New(env, [](const Napi::CallbackInfo&) {}),
                                           "vertexq job", 0, 1);
  // Environment hooks run last in, first out: this one, added after the thread-safe function's own, stops the thread that
  // calls it before it is torn down.
  napi_add_env_cleanup_hook(env, onEnvironmentExit, this);
  {
    std::lock_guard<std::mutex> lock(running().mutex);
    running().jobs.insert(this);
  }
  JobQueue::shared().submit([job = self_] { job->run(); });

  Napi::Object handle = Napi::Object::New(env);
  handle.Set("promise", deferred_.Promise());
  handle.Set("cancel", Napi::Function::New(env, [job = self_](const Napi::CallbackInfo&) { job->control.cancel(); }));
  handle.Set("progress", Napi::Function::New(env, [job = self_](const Napi::CallbackInfo& info) -> Napi::Value {
               Napi::Object progress = Napi::Object::New(info.Env());
               progress.Set("done", static_cast<double>(job->control.done()));
               progress.Set("total", static_cast<double>(job->control.total()));
               return progress;
             }));
  return handle;
}

void Job::run() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (state_ == State::Finished) return;
    state_ = State::Running;
  }
  try {
    control.checkpoint();
    work_(control);
  } catch (const Cancelled&) {
    errorCode_ = "ERR_VERTEXQ_CANCELLED";
    errorMessage_ = "the job was cancelled";
  } catch (const Error& error) {
    errorCode_ = error.code();
    errorMessage_ = error.what();
  } catch (const std::bad_alloc&) {
    errorCode_ = "ERR_VERTEXQ_MEMORY";
    errorMessage_ = "out of memory";
  } catch (const std::exception& error) {
    errorCode_ = "ERR_VERTEXQ_INTERNAL";
    errorMessage_ = error.what();
  }
  work_ = nullptr;  // its copies of the inputs are not needed for the result
  std::lock_guard<std::mutex> process(running().mutex);
  std::lock_guard<std::mutex> lock(mutex_);
  running().jobs.erase(this);
  state_ = State::Finished;
  if (!running().exiting)
    settled_.NonBlockingCall([job = self_](Napi::Env env, Napi::Function) {
      if (env != nullptr) job->settle(env);
    });
  finished_.notify_all();
}

void Job::settle(Napi::Env env) {
  napi_remove_env_cleanup_hook(env, onEnvironmentExit, this);
  settled_.Release();
  const Napi::HandleScope scope(env);
  try {
    if (errorCode_.empty()) {
      deferred_.Resolve(result_(env));
    } else {
      Napi::Error error = Napi::Error::New(env, errorMessage_);
      error.Value().Set("code", errorCode_);
      deferred_.Reject(error.Value());
    }
  } catch (const Napi::Error& error) {
    // No memory for the result, or the environment is on its way out.
    deferred_.Reject(error.Value());
  }
  result_ = nullptr;
  held.Reset();
  self_.reset();
}

void Job::stop() {
  control.cancel();
  std::unique_lock<std::mutex> lock(mutex_);
  if (state_ == State::Queued) state_ = State::Finished;
  finished_.wait(lock, [&] { return state_ == State::Finished; });
}

void Job::abandon() {
  stop();
  {
    std::lock_guard<std::mutex> lock(running().mutex);
    running().jobs.erase(this);
  }
  settled_.Release();
  held.Reset();
  self_.reset();
}

void stopAll() {
  std::set<Job*> jobs;
  {
    std::lock_guard<std::mutex> lock(running().mutex);
    running().exiting = true;
    jobs = running().jobs;
    for (Job* job : jobs) job->control.cancel();
  }
  // A job is freed only on a JavaScript thread, and no JavaScript runs any more.
  for (Job* job : jobs) job->stop();
}

}  // namespace

Napi::Object startJob(Napi::Env env, Work work, Result result) {
  return std::make_shared<Job>(env, std::move(work), std::move(result))->start(env);
}

Napi::Object startJob(Napi::Env env, Work work, Result result, Napi::Object held) {
  auto job = std::make_shared<Job>(env, std::move(work), std::move(result));
  job->held = Napi::Persistent(held);
  return job->start(env);
}

void stopJobsAtExit() { std::atexit(stopAll); }

}  // namespace vertexq::addon
