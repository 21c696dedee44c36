// Jobs that judge networks by what they say.
#pragma once

#include "arguments.h"

namespace vertexq::addon {

/**
 * addNextTokens({ sides, tokens, size, first, count, scale, cap, threads, hidden, weights, sums, next }): a job that adds a panel of the
 * vocabulary to `sums`. Of the sides' arrays each is one behind the other.
 */
Napi::Value addNextTokensOf(const Napi::CallbackInfo& info);

/**
 * drawOutputs({ kind, rows, size, seed, first, threads, values, cotangents }): a job that writes what is drawn for the rows of an output, both
 * float32, to `cotangents` (native/core/curvature/output_draws.h).
 */
Napi::Value drawOutputsOf(const Napi::CallbackInfo& info);

/** drawClasses({ rows, size, seed, first, threads, values, classes }): a job that writes the class drawn for each row of logits to `classes`, int32. */
Napi::Value drawClassesOf(const Napi::CallbackInfo& info);

}  // namespace vertexq::addon
