#include "packing/tensor_rows.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "error.h"
#include "packing/plain_rounding.h"
#include "parallel/thread_pool.h"
#include "tensors/bit_packing.h"

namespace vertexq {

namespace {

/** Up to kRowBlock rows being packed; one object serves one thread. */
class RowPacker {
 public:
  RowPacker(const PackedRows& to, std::size_t cols, std::size_t groupSize)
      : to_(to),
        cols_(cols),
        groupSize_(groupSize),
        groups_(groupsOf(cols, groupSize)),
        words_(wordsFor(cols, to.bits)),
        codes(cols),
        scales(groups_),
        zeroPoints(groups_) {
    if (to.order == PackedOrder::Values) values_.resize(cols);
    if (to.order == PackedOrder::InputMajor) packed_.resize(kRowBlock * words_ * 4);
    if (to.zeroPoints) zeros_.resize(groups_ * kRowBlock);
  }

  /** Packs what is in `codes`, `scales` and `zeroPoints` as row `row` of the job. */
  void put(std::size_t row) {
    if (to_.order == PackedOrder::Values) return putValues(row);
    const int offset = 1 << (to_.bits - 1);
    const std::size_t within = row % kRowBlock;
    const bool transposed = to_.order == PackedOrder::InputMajor;
    packCodes(codes.data(), cols_, to_.bits, offset,
              transposed ? packed_.data() + within * words_ * 4 : to_.codes + row * words_ * 4);
    const std::size_t bytes = bytesOf(to_.type);
    if (transposed) {
      unsigned char narrowed[8];
      for (std::size_t g = 0; g < groups_; ++g) {
        narrow(to_.type, &scales[g], 1, narrowed);
        std::memcpy(to_.scales + (g * to_.outFeatures + to_.firstRow + row) * bytes, narrowed, bytes);
      }
    } else {
      narrow(to_.type, scales.data(), groups_, to_.scales + row * groups_ * bytes);
    }
    if (to_.zeroPoints)
      for (std::size_t g = 0; g < groups_; ++g)
        zeros_[g * kRowBlock + within] = static_cast<std::int8_t>(static_cast<int>(zeroPoints[g]) + to_.zeroShift);
  }

  /** Writes what the rows [first, first + count) of a block share words in. */
  void finish(std::size_t first, std::size_t count) {
    if (to_.order == PackedOrder::InputMajor)
      for (std::size_t w = 0; w < words_; ++w) {
        unsigned char* at = to_.codes + (w * to_.outFeatures + to_.firstRow + first) * 4;
        for (std::size_t i = 0; i < count; ++i) std::memcpy(at + 4 * i, packed_.data() + (i * words_ + w) * 4, 4);
      }
    if (!to_.zeroPoints) return;
    const int offset = 1 << (to_.bits - 1);
    const std::size_t words = wordsFor(count, to_.bits);
    std::vector<unsigned char> field(words * 4);
    for (std::size_t g = 0; g < groups_; ++g) {
      packCodes(zeros_.data() + g * kRowBlock, count, to_.bits, offset, field.data());
      if (to_.order == PackedOrder::InputMajor) {
        const std::size_t rowWords = wordsFor(to_.outFeatures, to_.bits);
        const std::size_t word = (to_.firstRow + first) * static_cast<std::size_t>(to_.bits) / 32;
        std::memcpy(to_.zeroPoints + (g * rowWords + word) * 4, field.data(), words * 4);
      } else {
        const std::size_t word = first * static_cast<std::size_t>(to_.bits) / 32;
        for (std::size_t w = 0; w < words; ++w)
          std::memcpy(to_.zeroPoints + ((word + w) * groups_ + g) * 4, field.data() + 4 * w, 4);
      }
    }
  }

 private:
  void putValues(std::size_t row) {
    dequantizeRow(codes.data(), scales.data(), zeroPoints.data(), cols_, groupSize_, values_.data());
    narrow(to_.type, values_.data(), cols_, to_.codes + row * cols_ * bytesOf(to_.type));
  }

  const PackedRows& to_;
  std::size_t cols_, groupSize_, groups_, words_;
  std::vector<float> values_;
  std::vector<unsigned char> packed_;
  std::vector<std::int8_t> zeros_;

 public:
  std::vector<std::int8_t> codes;
  std::vector<float> scales, zeroPoints;
  std::vector<float> weights;  // room for the row that the codes come from
};

/** Runs row(packer, index) for all rows, a block of them a task, with a packer a thread. */
template <typename Row>
void forEachBlock(std::size_t rows, std::size_t cols, std::size_t groupSize, const PackedRows& to, unsigned threads,
                  JobControl& control, Row row) {
  control.expect(rows);
  std::vector<std::unique_ptr<RowPacker>> packers(threads);
  ThreadPool::shared().parallelFor((rows + kRowBlock - 1) / kRowBlock, threads, [&](std::size_t block, unsigned slot) {
    control.checkpoint();
    if (!packers[slot]) packers[slot] = std::make_unique<RowPacker>(to, cols, groupSize);
    const std::size_t first = block * kRowBlock, count = std::min(kRowBlock, rows - first);
    for (std::size_t i = first; i < first + count; ++i) {
      row(*packers[slot], i);
      packers[slot]->put(i);
    }
    packers[slot]->finish(first, count);
    control.finish(count);
  });
}

ScalePrecision precisionOf(const PackedRows& to) {
  if (to.order == PackedOrder::Values) return ScalePrecision::Float32;
  switch (to.type) {
    case NumberType::Float16:
      return ScalePrecision::Float16;
    case NumberType::BFloat16:
      return ScalePrecision::BFloat16;
    default:
      return ScalePrecision::Float32;
  }
}

[[noreturn]] void refuse(const std::vector<float>& w, std::size_t neuron) {
  const auto bad = std::find_if(w.begin(), w.end(), [](float v) { return !std::isfinite(v); });
  throw Error("ERR_VERTEXQ_NOT_FINITE", "weight of neuron " + std::to_string(neuron) + ", input " +
                                            std::to_string(bad - w.begin()) +
                                            (std::isnan(*bad) ? " is NaN" : " is infinite, or too large for float32"));
}

}  // namespace

RowSums roundRows(const RawRows& weights, const AlphabetOptions& alphabet, ScaleRule rule, const PackedRows& to,
                  unsigned threads, JobControl& control) {
  const std::size_t cols = weights.cols;
  std::vector<RowSums> sums(weights.rows);
  forEachBlock(weights.rows, cols, alphabet.groupSize, to, threads, control, [&](RowPacker& packer, std::size_t row) {
    PlainRounding rounding(alphabet.grid, alphabet.levels, rule, precisionOf(to));
    std::vector<float>& w = packer.weights;
    w.resize(cols);
    if (!widen(weights.type, weights.data + row * cols * bytesOf(weights.type), cols, w.data()))
      refuse(w, to.firstRow + row);
    namingNeuron(to.firstRow + row, [&] {
      for (std::size_t g = 0, first = 0; first < cols; ++g, first += alphabet.groupSize) {
        const std::size_t count = std::min(alphabet.groupSize, cols - first);
        const RoundedGroup group = rounding.round(w.data() + first, count, packer.codes.data() + first);
        packer.scales[g] = static_cast<float>(group.alphabet.step());
        packer.zeroPoints[g] = static_cast<float>(group.alphabet.zeroPoint());
        sums[row].error += group.error;
        sums[row].signal += group.signal;
      }
    });
  });
  RowSums total;
  for (const RowSums& row : sums) {
    total.error += row.error;
    total.signal += row.signal;
  }
  return total;
}

void packRows(const CodedRows& coded, const PackedRows& to, unsigned threads, JobControl& control) {
  const std::size_t groups = groupsOf(coded.cols, coded.groupSize);
  forEachBlock(coded.rows, coded.cols, coded.groupSize, to, threads, control, [&](RowPacker& packer, std::size_t row) {
    std::copy_n(coded.codes + row * coded.cols, coded.cols, packer.codes.data());
    std::copy_n(coded.scales + row * groups, groups, packer.scales.data());
    if (coded.zeroPoints)
      std::copy_n(coded.zeroPoints + row * groups, groups, packer.zeroPoints.data());
    else
      std::fill(packer.zeroPoints.begin(), packer.zeroPoints.end(), 0.0F);
    if (to.order != PackedOrder::Values && to.type == NumberType::Float16)
      for (const float scale : packer.scales)
        if (scale >= 65520)
          throw Error("ERR_VERTEXQ_SCALE_RANGE",
                      "neuron " + std::to_string(row) + ": its quantization step overflows float16");
  });
}

}  // namespace vertexq
