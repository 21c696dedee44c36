#include "job.h"

#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <memory>
#include <mutex>
#include <set>

#include "guard.h"
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
  HeldMemory held;

 private:
  enum class State { Queued, Running, Finished };
  static void onSettled(Napi::Env env, Napi::Function, Job* job, void*) {
    if (env != nullptr) job->settle(env);
  }
  /** What tells the JavaScript thread. A call of it takes no memory of ours: there may be none left. */
  using Settled = Napi::TypedThreadSafeFunction<Job, void, &Job::onSettled>;

  Napi::Object handle(Napi::Env env);
  void launch(Napi::Env env);
  void run();
  void settle(Napi::Env env);
  static void onEnvironmentExit(void* data) { static_cast<Job*>(data)->abandon(); }
  void abandon();

  Napi::Promise::Deferred deferred_;
  Work work_;
  Result result_;
  Settled settled_;
  std::shared_ptr<Job> self_;  // until settled or abandoned

  std::mutex mutex_;
  std::condition_variable finished_;
  State state_ = State::Queued;
  std::exception_ptr failure_;
};

/** A job that cannot be started is one whose promise is rejected. */
Napi::Object Job::start(Napi::Env env) {
  Napi::Object object;
  try {
    object = handle(env);
  } catch (...) {
    deferred_.Resolve(env.Undefined());  // nobody has the promise: else it would never be freed
    throw;
  }
  try {
    launch(env);
  } catch (...) {
    work_ = nullptr;
    result_ = nullptr;
    held = {};
    deferred_.Reject(toJs(env, std::current_exception()).Value());
  }
  return object;
}

Napi::Object Job::handle(Napi::Env env) {
  const auto job = shared_from_this();
  Napi::Object object = Napi::Object::New(env);
  object.Set("promise", deferred_.Promise());
  object.Set("cancel", Napi::Function::New(env, [job](const Napi::CallbackInfo&) { job->control.cancel(); }));
  object.Set("progress", Napi::Function::New(env, [job](const Napi::CallbackInfo& info) -> Napi::Value {
               Napi::Object progress = Napi::Object::New(info.Env());
               progress.Set("done", static_cast<double>(job->control.done()));
               progress.Set("total", static_cast<double>(job->control.total()));
               return progress;
             }));
  return object;
}

void Job::launch(Napi::Env env) {
  // Keeps the event loop alive until the job has settled.
  settled_ = Settled::New(env, "vertexq job", 0, 1, this);
  // Environment hooks run last in, first out: this one, added after the thread-safe function's own, stops the thread that
  // calls it before it is torn down.
  napi_add_env_cleanup_hook(env, onEnvironmentExit, this);
  try {
    self_ = shared_from_this();
    {
      std::lock_guard<std::mutex> lock(running().mutex);
      running().jobs.insert(this);
    }
    JobQueue::shared().submit([job = self_] { job->run(); });
  } catch (...) {
    {
      std::lock_guard<std::mutex> lock(running().mutex);
      running().jobs.erase(this);
    }
    napi_remove_env_cleanup_hook(env, onEnvironmentExit, this);
    settled_.Release();
    self_.reset();
    throw;
  }
}

void Job::run() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (state_ == State::Finished) return;
    state_ = State::Running;
  }
  try {
    control.throwIfCancelled();
    work_(control);
  } catch (...) {
    failure_ = std::current_exception();
  }
  work_ = nullptr;  // its copies of the inputs are not needed for the result
  std::lock_guard<std::mutex> process(running().mutex);
  std::lock_guard<std::mutex> lock(mutex_);
  running().jobs.erase(this);
  state_ = State::Finished;
  if (!running().exiting) settled_.NonBlockingCall();
  finished_.notify_all();
}

void Job::settle(Napi::Env env) {
  const auto self = std::move(self_);
  napi_remove_env_cleanup_hook(env, onEnvironmentExit, this);
  settled_.Release();
  const Napi::HandleScope scope(env);
  const Result result = std::move(result_);
  const HeldMemory memory = std::move(held);
  result_ = nullptr;
  if (!failure_) {
    try {
      memory.writeBack();
      return deferred_.Resolve(result(env));
    } catch (...) {
      // No memory for the result, or the environment is on its way out.
      failure_ = std::current_exception();
    }
  }
  deferred_.Reject(toJs(env, failure_).Value());
  failure_ = nullptr;  // an error of Napi's holds a JavaScript object, and is freed on its thread
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
  held = {};
  self_.reset();
}

void stopAll() {
  std::set<Job*> jobs;
  {
    std::lock_guard<std::mutex> lock(running().mutex);
    running().exiting = true;
    jobs.swap(running().jobs);
    for (Job* job : jobs) job->control.cancel();
  }
  // A job is freed only on a JavaScript thread, and no JavaScript runs any more.
  for (Job* job : jobs) job->stop();
}

}  // namespace

Napi::Object startJob(Napi::Env env, Work work, Result result) {
  return std::make_shared<Job>(env, std::move(work), std::move(result))->start(env);
}

Napi::Object startJob(Napi::Env env, Work work, Result result, HeldMemory held) {
  auto job = std::make_shared<Job>(env, std::move(work), std::move(result));
  job->held = std::move(held);
  return job->start(env);
}

void stopJobsAtExit() { std::atexit(stopAll); }

}  // namespace vertexq::addon
