// The jobs on a whole layer.
#pragma once

#include "arguments.h"

namespace vertexq::addon {

/**
 * preprocess({ weight, outFeatures, inFeatures, calibration, grid, levels, groupSize, box, rank, threads }): a job with
 * { weight, free, bound, residual, rank, scales, zeroPoints, minima, lowest, highest }.
 */
Napi::Value preprocess(const Napi::CallbackInfo& info);

/**
 * quantize({ weight, outFeatures, inFeatures, calibration?, holdout?, method, scale, grid, levels, groupSize, box, rank,
 * threads }): a job with { codes, scales, zeroPoints, minima, rank, offAlphabet, bound, norms,
 * zeroedGroups }.
 */
Napi::Value quantize(const Napi::CallbackInfo& info);

/** The table of methods: [{ name, about, needsData, …, options, scales, memory }]. */
Napi::Value methodsToJs(Napi::Env env);

}  // namespace vertexq::addon
