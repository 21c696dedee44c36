// Blocks of a weight's rows, rounded from its file's numbers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "packing/plain_rounding.h"
#include "packing/rounding_kernels.h"
#include "packing/tensor_rows.h"

namespace vertexq {

/** What rows became: codes of rows × cols, as far apart as PackedRows has them, scales and zero points of rows × groups. */
struct RoundedRows {
  const std::int8_t* codes;
  const float *scales, *zeroPoints;
};

/** Plain rounding of some rows at a time, sixteen groups at once where there are so many. One object serves one thread. */
class RowRounding {
 public:
  /** `weights` and `to` must outlive it. */
  RowRounding(const RawRows& weights, const AlphabetOptions& alphabet, ScaleRule rule, const PackedRows& to);

  /** The rows [first, first + count), and their sums. What it returns is there until the next call. Throws as roundRows, of the first row that is wrong. */
  RoundedRows run(std::size_t first, std::size_t count, RowSums* sums);

 private:
  /** Columns that groups of so many rows lie in. */
  struct Span {
    std::size_t group, first, count;
  };

  bool runLanes(std::size_t first, std::size_t count, RowSums* sums);
  bool roundColumns(std::size_t first, std::size_t count, const Span& span, RowSums* sums);
  void fetchAhead(std::size_t first, std::size_t count, const Span& span, std::size_t done) const;
  bool roundRow(std::size_t row, std::size_t at, RowSums* sums);
  void take(std::size_t row, std::size_t at, const Span& span, std::size_t lane, const LaneWeights& from,
            RowSums& sums);
  void gather(std::size_t first, std::size_t count);
  void roundPlainly(std::size_t row, std::size_t at, RowSums& sums);
  const unsigned char* numbers(std::size_t row, std::size_t col) const;
  std::size_t groups() const { return (weights_.cols + groupSize_ - 1) / groupSize_; }
  Changed changeOf(const float* w, const std::int8_t* codes, std::size_t count, const Alphabet& alphabet,
                   std::size_t neuron) const;

  const RawRows& weights_;
  const PackedRows& to_;
  GridKind kind_;
  std::size_t groupSize_;
  ScalePrecision precision_;
  PlainRounding rounding_;
  std::vector<std::int8_t> ownCodes_;
  std::int8_t* codes_ = nullptr;
  std::vector<float> scales_, zeroPoints_, wide_, gathered_;
  std::vector<unsigned char> turned_;
  RoundedLanes lanes_;
};

}  // namespace vertexq
