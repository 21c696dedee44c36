// Quantized weights as codes, and as other programs read them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "parallel/job_control.h"
#include "tensors/bit_packing.h"

namespace vertexq {

/** value = (code - zero point)·scale, code·scale + minimum or table[code]·scale. A group of inputs shares a scale. */
struct CodedRows {
  const std::int8_t* codes;  // rows × cols
  const float* scales;       // rows × groups
  const float* zeroPoints;   // likewise; null where all are 0
  std::size_t rows, cols, groupSize;
  const float* minima = nullptr;  // rows × groups
  const float* table = nullptr;   // 256 numbers, the first for code -128

  std::size_t groups() const { return (cols + groupSize - 1) / groupSize; }
};

/** The values, each computed in float64 and rounded once. Throws Cancelled. (Packers take values of the first kind alone.) */
void dequantize(const CodedRows& coded, float* values, unsigned threads, JobControl& control);

/**
 * A layout of blocks of inputs, as com.microsoft.MatMulNBits has it: each block in one group, with a scale and a zero point of its own.
 */
struct Blocks {
  std::size_t blockSize;      // a multiple of 8
  Field field;                // of the codes; the zero points get its offset too
  unsigned char* codes;       // rows × blocks × blockSize·bits/8
  float* scales;              // rows × blocks; halved where codes are doubled
  unsigned char* zeroPoints;  // rows × ⌈blocks·bits/8⌉; null where all are 2^(bits-1)

  std::size_t blocks(std::size_t cols) const { return (cols + blockSize - 1) / blockSize; }
};

/** What fills a row's last block stands for 0. Throws Cancelled. */
void packBlocks(const CodedRows& coded, const Blocks& to, unsigned threads, JobControl& control);

/**
 * Codes as integers of ONNX, one behind the other across rows: each row of `cols` codes filled up to `rowLength` with the integer
 * fill[row], or 0 where that is null. Throws Cancelled.
 */
void packIntegers(const std::int8_t* codes, std::size_t rows, std::size_t cols, std::size_t rowLength,
                  const std::int8_t* fill, const Field& field, unsigned char* to, unsigned threads,
                  JobControl& control);

/** One row's values: dequantize for those that have no more. `zeroPoints` may be null. */
void dequantizeRow(const std::int8_t* codes, const float* scales, const float* zeroPoints, std::size_t cols,
                   std::size_t groupSize, float* values);

}  // namespace vertexq
