// A long computation started from JavaScript.
#pragma once

#include <functional>

#include "arguments.h"
#include "parallel/job_control.h"

namespace vertexq::addon {

/** Runs on a thread of our own. Sees no JavaScript. */
using Work = std::function<void(JobControl&)>;
/** Runs on the JavaScript thread after the work and makes its result. */
using Result = std::function<Napi::Value(Napi::Env)>;

/**
 * Starts `work` and returns `{ promise, cancel(), progress() }` to JavaScript: `progress` gives `{ done, total }`.
 *
 * The promise is resolved with result(env), or rejected with an Error that carries the `code` of a core error;
 * `ERR_VERTEXQ_CANCELLED` after cancel(). When the environment goes away first (a worker is terminated, the process exits), the
 * work is cancelled and waited for, so that no thread of ours outlives what it uses.
 */
Napi::Object startJob(Napi::Env env, Work work, Result result);

/** The same for work on memory of JavaScript's. */
Napi::Object startJob(Napi::Env env, Work work, Result result, HeldMemory held);

/** To be called once, when the addon is loaded: makes process.exit() wait for running jobs to stop. */
void stopJobsAtExit();

}  // namespace vertexq::addon
