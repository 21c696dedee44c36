#include "packing/tensor_rows.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "error.h"
#include "packing/row_rounding.h"
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
        groupPitch_(groupsOf(to.pitch(cols), groupSize)),
        words_(wordsFor(cols, to.bits)) {
    if (to.order == PackedOrder::Values) values_.resize(cols);
    if (to.order == PackedOrder::InputMajor) packed_.resize(kRowBlock * words_ * 4);
    if (to.zeroPoints && to.order != PackedOrder::Codes) zeros_.resize(groups_ * kRowBlock);
  }

  /** Packs a row of codes, scales and zero points as row `row` of the job. */
  void put(std::size_t row, const std::int8_t* codes, const float* scales, const float* zeroPoints) {
    if (to_.order == PackedOrder::Values) return putValues(row, codes, scales, zeroPoints);
    if (to_.order == PackedOrder::Codes) return putCodes(row, codes, scales, zeroPoints);
    const int offset = 1 << (to_.bits - 1);
    const std::size_t within = row % kRowBlock;
    const bool transposed = to_.order == PackedOrder::InputMajor;
    packCodes(codes, cols_, to_.bits, offset,
              transposed ? packed_.data() + within * words_ * 4 : to_.codes + row * words_ * 4);
    const std::size_t bytes = bytesOf(to_.type);
    if (transposed) {
      unsigned char narrowed[8];
      for (std::size_t g = 0; g < groups_; ++g) {
        narrow(to_.type, &scales[g], 1, narrowed);
        std::memcpy(to_.scales + (g * to_.outFeatures + to_.firstRow + row) * bytes, narrowed, bytes);
      }
    } else {
      narrow(to_.type, scales, groups_, to_.scales + row * groups_ * bytes);
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
    if (!to_.zeroPoints || to_.order == PackedOrder::Codes) return;
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
  void putCodes(std::size_t row, const std::int8_t* codes, const float* scales, const float* zeroPoints) {
    unsigned char* own = to_.codes + row * to_.pitch(cols_);
    if (reinterpret_cast<const unsigned char*>(codes) != own) std::memcpy(own, codes, cols_);
    std::memcpy(to_.scales + row * groupPitch_ * sizeof(float), scales, groups_ * sizeof(float));
    std::memcpy(to_.zeroPoints + row * groupPitch_ * sizeof(float), zeroPoints, groups_ * sizeof(float));
  }

  void putValues(std::size_t row, const std::int8_t* codes, const float* scales, const float* zeroPoints) {
    dequantizeRow(codes, scales, zeroPoints, cols_, groupSize_, values_.data());
    narrow(to_.type, values_.data(), cols_, to_.codes + row * cols_ * bytesOf(to_.type));
  }

  const PackedRows& to_;
  std::size_t cols_, groupSize_, groups_, groupPitch_, words_;
  std::vector<float> values_;
  std::vector<unsigned char> packed_;
  std::vector<std::int8_t> zeros_;
};

/** Rows of a task: where they lie down columns, so many that a piece of each of these is worth going to, as long as every thread has tasks. */
std::size_t rowsPerTask(const RawRows& weights, const PackedRows& to, unsigned threads) {
  if (weights.stride == 0 || to.order != PackedOrder::Codes) return kRowBlock;
  const std::size_t each = weights.rows / (4 * threads) / kRowBlock * kRowBlock;
  return std::clamp(each, 4 * kRowBlock, 16 * kRowBlock);
}

/** Runs put(packer, slot, first, count) for all rows, `each` of them a task, with a packer a thread; it is to put all of them. */
template <typename Put>
void forEachBlock(std::size_t rows, std::size_t cols, std::size_t groupSize, const PackedRows& to, std::size_t each,
                  unsigned threads, JobControl& control, Put put) {
  control.expect(rows);
  std::vector<std::unique_ptr<RowPacker>> packers(threads);
  ThreadPool::shared().parallelFor((rows + each - 1) / each, threads, [&](std::size_t block, unsigned slot) {
    control.throwIfCancelled();
    if (!packers[slot]) packers[slot] = std::make_unique<RowPacker>(to, cols, groupSize);
    const std::size_t first = block * each, count = std::min(each, rows - first);
    put(*packers[slot], slot, first, count);
    packers[slot]->finish(first, count);
    control.finish(count);
  });
}

/** Throws where levels are lost that are not 0, and no stored weight is another number. */
void requireKept(const PackedRows& to, std::size_t rows, std::size_t cols, std::size_t groupSize) {
  const std::size_t groups = groupsOf(to.pitch(cols), groupSize);
  const auto numberAt = [](const unsigned char* from, std::size_t index) {
    float number;
    std::memcpy(&number, from + index * sizeof number, sizeof number);
    return double{number};
  };
  std::size_t lost = rows * cols;
  for (std::size_t i = 0; i < rows * cols; ++i) {
    const std::size_t group = i / cols * groups + i % cols / groupSize;
    const std::size_t code = i / cols * to.pitch(cols) + i % cols;
    const double level =
        (static_cast<std::int8_t>(to.codes[code]) - numberAt(to.zeroPoints, group)) * numberAt(to.scales, group);
    if (storedLevel(level, to.values) != 0) return;
    if (level != 0) lost = std::min(lost, i);
  }
  if (lost < rows * cols) refuseLost(to.firstRow + lost / cols);
}

}  // namespace

void RowSums::add(const RowSums& more) {
  error += more.error;
  signal += more.signal;
  offAlphabet += more.offAlphabet;
  hasZeroPoints = hasZeroPoints || more.hasZeroPoints;
  zeroedGroups += more.zeroedGroups;
}

RowSums roundRows(const RawRows& weights, const AlphabetOptions& alphabet, ScaleRule rule, const PackedRows& to,
                  unsigned threads, JobControl& control) {
  const std::size_t cols = weights.cols;
  std::vector<RowSums> sums(weights.rows);
  std::vector<std::unique_ptr<RowRounding>> roundings(threads);
  const auto round = [&](RowPacker& packer, unsigned slot, std::size_t first, std::size_t count) {
    if (!roundings[slot]) roundings[slot] = std::make_unique<RowRounding>(weights, alphabet, rule, to);
    const RoundedRows rounded = roundings[slot]->run(first, count, &sums[first]);
    const std::size_t groups = groupsOf(cols, alphabet.groupSize);
    for (std::size_t i = 0; i < count; ++i)
      packer.put(first + i, rounded.codes + i * to.pitch(cols), rounded.scales + i * groups,
                 rounded.zeroPoints + i * groups);
  };
  forEachBlock(weights.rows, cols, alphabet.groupSize, to, rowsPerTask(weights, to, threads), threads, control, round);
  RowSums total;
  for (const RowSums& row : sums) total.add(row);
  // What is nearer to a weight than 0 is, is not 0.
  if (to.order == PackedOrder::Codes && !(total.error < total.signal))
    requireKept(to, weights.rows, cols, alphabet.groupSize);
  return total;
}

void packRows(const CodedRows& coded, const PackedRows& to, unsigned threads, JobControl& control) {
  const std::size_t groups = groupsOf(coded.cols, coded.groupSize);
  const std::vector<float> none(coded.zeroPoints ? 0 : groups);
  const auto put = [&](RowPacker& packer, unsigned, std::size_t first, std::size_t count) {
    for (std::size_t row = first; row < first + count; ++row) {
      const float* scales = coded.scales + row * groups;
      if (to.order != PackedOrder::Values && to.type == NumberType::Float16)
        for (std::size_t g = 0; g < groups; ++g)
          if (scales[g] >= 65520)
            throw Error("ERR_VERTEXQ_SCALE_RANGE",
                        "neuron " + std::to_string(row) + ": its quantization step overflows float16");
      packer.put(row, coded.codes + row * coded.cols, scales,
                 coded.zeroPoints ? coded.zeroPoints + row * groups : none.data());
    }
  };
  forEachBlock(coded.rows, coded.cols, coded.groupSize, to, kRowBlock, threads, control, put);
}

}  // namespace vertexq
