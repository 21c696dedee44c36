// The jobs on parts of a checkpoint. They work on JavaScript's memory where it lies: nobody may touch it until they have ended.
#pragma once

#include "arguments.h"

namespace vertexq::addon {

/**
 * roundRows({ input, type, rows, cols, grid, levels, groupSize, scale, threads, ...packed }): a job with { error, signal }, sums of
 * squares. `packed`: { format, bits, outType, codes, scales?, zeroPoints?, zeroShift, outFeatures, firstRow, width? }.
 */
Napi::Value roundRows(const Napi::CallbackInfo& info);

/**
 * roundMany({ input, output, places, type, grid, levels, scale, threads, order, bits, outType, zeroShift }): the same for whole weights that
 * differ in their shapes alone; a job with a Float64Array, error, signal and zeroed groups of each. `places`, a Float64Array, has seven numbers of each:
 * rows, columns, the size of its groups, where it begins in `input`, and where its codes, scales and zero points (-1: none) begin in `output`.
 */
Napi::Value roundMany(const Napi::CallbackInfo& info);

/** packRows({ input (codes), stepValues, zeroValues?, rows, cols, groupSize, threads, ...packed }): a job. */
Napi::Value packRows(const Napi::CallbackInfo& info);

/**
 * unpackRows({ rows, cols, groupSize, threads, groupOf?, groups?, codesTo?, scalesTo?, zeroPointsTo?, valuesTo?, reference?, type?, ...packed }):
 * a job with { error, signal }, sums of squares. `groupOf`, an Int32Array: the group of each input, of so many `groups`. `reference`: the same
 * rows of the float weight, of numbers of a type.
 */
Napi::Value unpackRows(const Napi::CallbackInfo& info);

/** checksum({ input }): a job with the XXH64 of all bytes in hexadecimal. */
Napi::Value checksumOf(const Napi::CallbackInfo& info);

/**
 * lockFile(fd): whether the open file is now locked for this descriptor, until it is closed or the process ends; null where
 * its file system knows no such locks.
 */
Napi::Value lockFile(const Napi::CallbackInfo& info);

}  // namespace vertexq::addon
