#include "packing/unpack_rows.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "error.h"
#include "parallel/thread_pool.h"
#include "tensors/bit_packing.h"

namespace vertexq {

namespace {

/** Up to kRowBlock rows being unpacked; one object serves one thread. */
class RowReader {
 public:
  RowReader(const PackedRows& from, std::size_t cols, const Groups& groups)
      : from_(from), cols_(cols), groups_(groups), words_(wordsFor(cols, from.bits)), values(cols), weights(cols) {
    if (from.order == PackedOrder::Values) return;
    codes.resize(cols);
    scales.resize(groups.count);
    zeroPoints.resize(groups.count);
    if (from.order == PackedOrder::InputMajor) packed_.resize(kRowBlock * words_ * 4);
    if (from.zeroPoints) zeros_.resize(groups.count * kRowBlock);
  }

  /** Reads what the rows [first, first + count) of a block share words in. */
  void begin(std::size_t first, std::size_t count) {
    if (from_.order == PackedOrder::Values) return;
    const bool transposed = from_.order == PackedOrder::InputMajor;
    if (transposed)
      for (std::size_t w = 0; w < words_; ++w) {
        const unsigned char* at = from_.codes + (w * from_.outFeatures + from_.firstRow + first) * 4;
        for (std::size_t i = 0; i < count; ++i) std::memcpy(packed_.data() + (i * words_ + w) * 4, at + 4 * i, 4);
      }
    if (!from_.zeroPoints) return;
    const std::size_t words = wordsFor(count, from_.bits), bits = static_cast<std::size_t>(from_.bits);
    const std::size_t word = ((transposed ? from_.firstRow : 0) + first) * bits / 32;
    const std::size_t rowWords = wordsFor(from_.outFeatures, from_.bits);
    std::vector<unsigned char> field(words * 4);
    for (std::size_t g = 0; g < groups_.count; ++g) {
      for (std::size_t w = 0; w < words; ++w)
        std::memcpy(field.data() + 4 * w,
                    from_.zeroPoints + (transposed ? g * rowWords + word + w : (word + w) * groups_.count + g) * 4, 4);
      unpackFields(field.data(), count, {from_.bits, 1 << (from_.bits - 1)}, zeros_.data() + g * kRowBlock);
    }
  }

  /** Row `row` of the job into `codes`, `scales`, `zeroPoints` and `values`. */
  void read(std::size_t row) {
    const std::size_t bytes = bytesOf(from_.type);
    if (from_.order == PackedOrder::Values) {
      widen(from_.type, from_.codes + row * cols_ * bytes, cols_, values.data());
      return;
    }
    const std::size_t within = row % kRowBlock;
    const bool transposed = from_.order == PackedOrder::InputMajor;
    unpackFields(transposed ? packed_.data() + within * words_ * 4 : from_.codes + row * words_ * 4, cols_,
                 {from_.bits, 1 << (from_.bits - 1)}, codes.data());
    if (transposed)
      for (std::size_t g = 0; g < groups_.count; ++g)
        widen(from_.type, from_.scales + (g * from_.outFeatures + from_.firstRow + row) * bytes, 1, &scales[g]);
    else
      widen(from_.type, from_.scales + row * groups_.count * bytes, groups_.count, scales.data());
    for (std::size_t g = 0; g < groups_.count; ++g)
      zeroPoints[g] = from_.zeroPoints ? static_cast<float>(zeros_[g * kRowBlock + within] - from_.zeroShift) : 0;
    if (!groups_.of) {
      dequantizeRow(codes.data(), scales.data(), zeroPoints.data(), cols_, groups_.size, values.data());
      return;
    }
    for (std::size_t i = 0; i < cols_; ++i) {
      const auto g = static_cast<std::size_t>(groups_.of[i]);
      values[i] = static_cast<float>((codes[i] - static_cast<double>(zeroPoints[g])) * scales[g]);
    }
  }

 private:
  const PackedRows& from_;
  std::size_t cols_;
  const Groups& groups_;
  std::size_t words_;
  std::vector<unsigned char> packed_;
  std::vector<std::int8_t> zeros_;

 public:
  std::vector<std::int8_t> codes;
  std::vector<float> scales, zeroPoints, values;
  std::vector<float> weights;  // room for the row of the float weight
};

/** Adds the sums of (w - q)² and w² to those of a row. In lanes: one sum would wait for itself at every number. */
void addSquares(const float* w, const float* q, std::size_t count, RowSums& sums) {
  constexpr std::size_t kSums = 8;
  double error[kSums] = {}, signal[kSums] = {};
  const auto add = [&](std::size_t lane, std::size_t i) {
    const double weight = w[i], off = weight - q[i];
    error[lane] += off * off;
    signal[lane] += weight * weight;
  };
  std::size_t i = 0;
  for (; i + kSums <= count; i += kSums)
    for (std::size_t lane = 0; lane < kSums; ++lane) add(lane, i + lane);
  for (std::size_t lane = 0; i < count; ++i, ++lane) add(lane, i);
  for (std::size_t lane = 0; lane < kSums; ++lane) {
    sums.error += error[lane];
    sums.signal += signal[lane];
  }
}

/** Throws ERR_VERTEXQ_NOT_FINITE at the first value that is not finite. */
void requireFinite(const std::vector<float>& values, std::size_t neuron) {
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!std::isfinite(values[i]))
      throw Error("ERR_VERTEXQ_NOT_FINITE", "neuron " + std::to_string(neuron) + ", input " + std::to_string(i) +
                                                (std::isnan(values[i]) ? " is NaN" : " is infinite"));
}

template <typename Number>
void put(const std::vector<Number>& row, std::size_t index, Number* to) {
  if (to) std::copy(row.begin(), row.end(), to + index * row.size());
}

}  // namespace

RowSums unpackRows(const PackedRows& from, std::size_t rows, std::size_t cols, const Groups& groups,
                   const UnpackedRows& to, const RawRows* reference, unsigned threads, JobControl& control) {
  control.expect(rows);
  std::vector<RowSums> sums(rows);
  std::vector<std::unique_ptr<RowReader>> readers(threads);
  const std::size_t blocks = (rows + kRowBlock - 1) / kRowBlock;
  ThreadPool::shared().parallelFor(blocks, threads, [&](std::size_t block, unsigned slot) {
    control.throwIfCancelled();
    if (!readers[slot]) readers[slot] = std::make_unique<RowReader>(from, cols, groups);
    RowReader& reader = *readers[slot];
    const std::size_t first = block * kRowBlock, count = std::min(kRowBlock, rows - first);
    reader.begin(first, count);
    for (std::size_t row = first; row < first + count; ++row) {
      reader.read(row);
      put(reader.codes, row, to.codes);
      put(reader.scales, row, to.scales);
      put(reader.zeroPoints, row, to.zeroPoints);
      put(reader.values, row, to.values);
      if (reference)
        widen(reference->type, reference->data + row * cols * bytesOf(reference->type), cols, reader.weights.data());
      const float* weights = reference ? reader.weights.data() : reader.values.data();
      addSquares(weights, reader.values.data(), cols, sums[row]);
      // A float's square is finite in float64, so that sums tell.
      if (!std::isfinite(sums[row].error) || !std::isfinite(sums[row].signal))
        requireFinite(reader.values, from.firstRow + row);
    }
    control.finish(count);
  });
  RowSums total;
  for (const RowSums& row : sums) total.add(row);
  return total;
}

}  // namespace vertexq
