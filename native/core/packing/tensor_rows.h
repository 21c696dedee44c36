// Rows of a weight on their way from its file's bytes to those of the quantized one.
#pragma once

#include <cstddef>
#include <cstdint>

#include "layer.h"
#include "parallel/job_control.h"
#include "tensors/coded_rows.h"
#include "tensors/convert.h"

namespace vertexq {

/** How the numbers of a packed weight lie. Codes are packed as bit_packing.h tells in all orders. */
enum class PackedOrder {
  NeuronMajor,  // a neuron a row: codes [outFeatures, words], scales and zero points [outFeatures, groups], these packed down the rows
  InputMajor,  // a neuron a column: everything transposed
  Values,      // the levels themselves, in the layout and type of the weight
  Codes,       // a byte a code, [outFeatures, inFeatures]; scales and zero points float32, [outFeatures, groups]
};

/**
 * Where rows go, and how. With InputMajor all addresses are those of the whole parts, `firstRow` telling the column.
 */
struct PackedRows {
  PackedOrder order = PackedOrder::NeuronMajor;
  int bits = 4;
  /** Of the scales, with Codes what they are rounded to; with Values of these. */
  NumberType type = NumberType::BFloat16;
  /** With Codes, in which the weights themselves will be stored, where codes are not: errors are those of what is stored. */
  ScalePrecision values = ScalePrecision::Float64;
  unsigned char* codes = nullptr;
  unsigned char* scales = nullptr;
  /** Null where none are kept. */
  unsigned char* zeroPoints = nullptr;
  /** Added to a zero point in its field. */
  int zeroShift = 0;
  std::size_t outFeatures = 0;
  std::size_t firstRow = 0;
  /** With Codes: inputs of a whole row, of which these are some, in whole groups but for the last one; 0: these are all. */
  std::size_t width = 0;

  /** How far apart rows of codes are. */
  std::size_t pitch(std::size_t cols) const { return order == PackedOrder::Codes && width != 0 ? width : cols; }
};

/** Rows of one job begin at multiples of this, so that packed zero points begin at a word. */
inline constexpr std::size_t kRowBlock = 32;

/** Sums over the rows: of (w - q)² and of w². To about 1e-5, with Codes as float64 has them. */
struct RowSums {
  double error = 0, signal = 0;
  /** With Codes: weights that no level is equal to, and whether there is a zero point but 0. */
  std::size_t offAlphabet = 0;
  bool hasZeroPoints = false;
  /** Groups whose weights have all become 0, although not all were. */
  std::size_t zeroedGroups = 0;

  /** Adds the sums of further rows. */
  void add(const RowSums& more);
};

/** rows × cols numbers of the type: a row behind the other, or where `stride` is not 0 a column, so many numbers apart. */
struct RawRows {
  const unsigned char* data;
  NumberType type;
  std::size_t rows, cols;
  std::size_t stride = 0;
};

/**
 * Plain rounding of rows (plain_rounding.h), packed as they are made, kRowBlock of them a task. Steps are rounded to the type of
 * the scales, but with Values to float32. Progress: one unit a row. Throws ERR_VERTEXQ_NOT_FINITE, naming neuron and input;
 * ERR_VERTEXQ_SCALE_RANGE, with Codes also as requireStored, of these rows; Cancelled.
 */
RowSums roundRows(const RawRows& weights, const AlphabetOptions& alphabet, ScaleRule rule, const PackedRows& to,
                  unsigned threads, JobControl& control);

/**
 * Packs codes; scales become the nearest numbers of their type. Throws ERR_VERTEXQ_SCALE_RANGE where one becomes infinite;
 * Cancelled.
 */
void packRows(const CodedRows& coded, const PackedRows& to, unsigned threads, JobControl& control);

}  // namespace vertexq
