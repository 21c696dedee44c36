// The jobs on weights in the block types of GGUF files.
#pragma once

#include "arguments.h"
#include "packing/ggml_types.h"

namespace vertexq::addon {

/** The type that a member names. */
const GgmlType& ggmlTypeOf(const Arguments& given, const char* name);

/** ggmlTypes(): a row a type, as GgmlType has it. */
Napi::Value ggmlTypesToJs(Napi::Env env);

/** packGgml({ type, input (codes), stepValues, minima?, rows, cols, firstRow, threads, output }): a job. */
Napi::Value packGgmlRows(const Napi::CallbackInfo& info);

/**
 * unpackGgml({ type, input, rows, cols, firstRow, threads, codesTo?, scalesTo?, minimaTo?, valuesTo?, reference?, referenceType? }): a job with
 * { error, signal }, sums of squares. `reference`: the same rows of the float weight, of numbers of a type.
 */
Napi::Value unpackGgmlRows(const Napi::CallbackInfo& info);

/** roundGgml({ type, input, inputType, importance?, rows, cols, firstRow, threads, output }): a job with { error, signal }, sums of squares. */
Napi::Value roundGgmlRows(const Napi::CallbackInfo& info);

}  // namespace vertexq::addon
