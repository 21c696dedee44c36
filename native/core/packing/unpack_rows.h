// Rows of a quantized weight of a checkpoint, back from its bytes: the counterpart of packRows.
#pragma once

#include "packing/tensor_rows.h"

namespace vertexq {

/** What is wanted of some rows: null for what is not. */
struct UnpackedRows {
  std::int8_t* codes = nullptr;  // rows × cols; none with Values
  float* scales = nullptr;       // rows × groups; likewise
  float* zeroPoints = nullptr;   // likewise
  float* values = nullptr;       // rows × cols: (code - zero point)·scale, in float64 and rounded once
};

/** How the groups of a weight lie. */
struct Groups {
  std::size_t count = 1, size = 1;
  /** Of each input, below `count`; null where they lie one after the other, `size` inputs each. */
  const std::int32_t* of = nullptr;
};

/**
 * Unpacks rows × cols numbers that lie in `from` as packRows lays them, `from.scales` and `from.zeroPoints` included; without the latter
 * all zero points are 0. With `reference`, the same rows of the float weight, gives the sums of (w - q)² and w², else 0 and the sum of q².
 * Throws ERR_VERTEXQ_NOT_FINITE where a value is not finite, naming neuron and input; Cancelled.
 */
RowSums unpackRows(const PackedRows& from, std::size_t rows, std::size_t cols, const Groups& groups,
                   const UnpackedRows& to, const RawRows* reference, unsigned threads, JobControl& control);

}  // namespace vertexq
