// Rows of a weight in the block types of GGUF files. A row's inputs are whole blocks.
#pragma once

#include <cstddef>
#include <cstdint>

#include "packing/ggml_types.h"
#include "packing/tensor_rows.h"
#include "parallel/job_control.h"

namespace vertexq {

/** What is wanted of some rows: null for what is not. Groups are the type's. */
struct GgmlParts {
  std::int8_t* codes = nullptr;  // rows × cols
  float* scales = nullptr;       // rows × groups, of either sign
  float* minima = nullptr;       // likewise; of types that have some
  float* values = nullptr;       // rows × cols
};

/**
 * Unpacks rows × cols numbers. With `reference`, the same rows of the float weight, gives the sums of (w - q)² and w², else 0 and the sum of
 * q². `firstRow`: the row's number in messages. Progress: one unit a row. Throws ERR_VERTEXQ_NOT_FINITE where a value is not finite, naming
 * neuron and input; Cancelled.
 */
RowSums unpackGgml(const GgmlType& type, const unsigned char* from, std::size_t rows, std::size_t cols,
                   std::size_t firstRow, const GgmlParts& to, const RawRows* reference, unsigned threads,
                   JobControl& control);

/** Codes, scales and, of types that have some, minima of a weight. */
struct GgmlCodes {
  const std::int8_t* codes;
  const float* scales;
  const float* minima;
};

/** Packs them. Throws ERR_VERTEXQ_SCALE_RANGE, naming the neuron, as packBlock; Cancelled. Progress: one unit a row. */
void packGgml(const GgmlType& type, const GgmlCodes& from, std::size_t rows, std::size_t cols, std::size_t firstRow,
              unsigned char* to, unsigned threads, JobControl& control);

/**
 * Rounds rows of numbers to the nearest levels of scales that block_search.h finds, packed as they are made. `importance`: what the square of
 * each input's error counts, cols numbers, or null. Gives the sums of (w - q)² and w². Progress: one unit a row. Throws
 * ERR_VERTEXQ_NOT_FINITE, naming neuron and input; ERR_VERTEXQ_SCALE_RANGE, naming the neuron; Cancelled.
 */
RowSums roundGgml(const GgmlType& type, const RawRows& weights, const float* importance, std::size_t firstRow,
                  unsigned char* to, unsigned threads, JobControl& control);

}  // namespace vertexq
