// Conversions and reorderings of tensors.
//
// Each gives a job or, told `now`, does its work at once and returns what the job would have resolved with: for small tensors, and for
// memory that JavaScript could take away, in parts.
#pragma once

#include "arguments.h"
#include "tensors/coded_rows.h"

namespace vertexq::addon {

/** convert({ input, from, to, count, output, threads, now? }): whether all results are finite. */
Napi::Value convertNumbers(const Napi::CallbackInfo& info);

/**
 * permute({ input, output, elementSize, dims, order, first, last, threads, now? }): dimension i of the output is dimension order[i] of the
 * input. Of the pieces that the work falls into those from `first` up to before `last`; gives how many there are.
 */
Napi::Value permuteTensor(const Napi::CallbackInfo& info);

/** dequantize({ ...coded, minima?, table?, output, threads, now? }): `table` has 256 numbers, for the codes from -128. `coded`: { input (codes), stepValues, zeroValues?, rows, cols, groupSize }. */
Napi::Value dequantizeRows(const Napi::CallbackInfo& info);

/** packBlocks({ ...coded, blockSize, bits, offset, doubled, codes, scales, zeroPoints?, threads, now? }). */
Napi::Value packBlocksOf(const Napi::CallbackInfo& info);

/** packIntegers({ input (codes), rows, cols, rowLength, fill?, bits, doubled, output, threads, now? }). */
Napi::Value packIntegersOf(const Napi::CallbackInfo& info);

/** { input (codes), stepValues, zeroValues?, rows, cols, groupSize } */
CodedRows codedRows(const Napi::CallbackInfo& info, const Arguments& given);

}  // namespace vertexq::addon
