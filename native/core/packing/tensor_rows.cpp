#include "packing/tensor_rows.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "error.h"
#include "packing/plain_rounding.h"
#include "packing/rounding_kernels.h"
#include "parallel/thread_pool.h"
#include "tensors/bit_packing.h"
#include "tensors/permute.h"

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
    if (to.zeroPoints && to.order != PackedOrder::Codes) zeros_.resize(groups_ * kRowBlock);
  }

  /** Packs what is in `codes`, `scales` and `zeroPoints` as row `row` of the job. */
  void put(std::size_t row) {
    if (to_.order == PackedOrder::Values) return putValues(row);
    if (to_.order == PackedOrder::Codes) return putCodes(row);
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
  void putCodes(std::size_t row) {
    std::memcpy(to_.codes + row * cols_, codes.data(), cols_);
    std::memcpy(to_.scales + row * groups_ * sizeof(float), scales.data(), groups_ * sizeof(float));
    std::memcpy(to_.zeroPoints + row * groups_ * sizeof(float), zeroPoints.data(), groups_ * sizeof(float));
  }

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

/** Rows of a task: where they lie down columns, so many that a piece of each of these is worth going to. */
std::size_t rowsPerTask(const RawRows& weights, const PackedRows& to) {
  return weights.stride != 0 && to.order == PackedOrder::Codes ? 4 * kRowBlock : kRowBlock;
}

/** Runs row(packer, index) for all rows, `each` of them a task, with a packer a thread; before each block begin(slot, first, count). */
template <typename Begin, typename Row>
void forEachBlock(std::size_t rows, std::size_t cols, std::size_t groupSize, const PackedRows& to, std::size_t each,
                  unsigned threads, JobControl& control, Begin begin, Row row) {
  control.expect(rows);
  std::vector<std::unique_ptr<RowPacker>> packers(threads);
  ThreadPool::shared().parallelFor((rows + each - 1) / each, threads, [&](std::size_t block, unsigned slot) {
    control.checkpoint();
    if (!packers[slot]) packers[slot] = std::make_unique<RowPacker>(to, cols, groupSize);
    const std::size_t first = block * each, count = std::min(each, rows - first);
    begin(slot, first, count);
    for (std::size_t i = first; i < first + count; ++i) {
      row(*packers[slot], i, slot);
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

[[noreturn]] void refuse(NumberType type, const std::vector<float>& w, std::size_t neuron) {
  const char* infinite = type == NumberType::Float64 ? " is infinite, or too large for float32" : " is infinite";
  const auto bad = std::find_if(w.begin(), w.end(), [](float v) { return !std::isfinite(v); });
  throw Error("ERR_VERTEXQ_NOT_FINITE", "weight of neuron " + std::to_string(neuron) + ", input " +
                                            std::to_string(bad - w.begin()) +
                                            (std::isnan(*bad) ? " is NaN" : infinite));
}

/** Levels up to this are finite in every precision, and as float32 numbers no denormal ones from steps of at least kSafeStep. */
constexpr double kSafeLevel = 0x1p15, kSafeStep = 0x1p-100;

/** What rounding changed of a group, as it will be stored. Throws where a weight or a level would be infinite. */
Changed changeOf(const float* w, const std::int8_t* codes, std::size_t count, const Alphabet& alphabet,
                 const PackedRows& to, ScalePrecision precision, std::size_t neuron) {
  if (to.values == ScalePrecision::Float64 && alphabet.step() >= kSafeStep &&
      std::max(-alphabet.lowest(), alphabet.highest()) <= kSafeLevel)
    return roundingKernels().changed(w, codes, count, alphabet.zeroPoint(), alphabet.step());
  if (!std::isfinite(alphabet.step()) || !alphabet.heldIn(precision)) refuseInfinite(neuron);
  Changed changed{0, 0, 0};
  for (std::size_t i = 0; i < count; ++i) {
    const double level = alphabet.level(codes[i]), value = storedLevel(level, to.values);
    if (!std::isfinite(value)) refuseInfinite(neuron);
    changed.error += (w[i] - value) * (w[i] - value);
    changed.signal += double{w[i]} * w[i];
    changed.count += level == w[i] ? 0 : 1;
  }
  return changed;
}

/** Throws where levels are lost that are not 0, and no stored weight is another number. */
void requireKept(const PackedRows& to, std::size_t rows, std::size_t cols, std::size_t groupSize) {
  const std::size_t groups = groupsOf(cols, groupSize);
  const auto numberAt = [](const unsigned char* from, std::size_t index) {
    float number;
    std::memcpy(&number, from + index * sizeof number, sizeof number);
    return double{number};
  };
  std::size_t lost = rows * cols;
  for (std::size_t i = 0; i < rows * cols; ++i) {
    const std::size_t group = i / cols * groups + i % cols / groupSize;
    const double level =
        (static_cast<std::int8_t>(to.codes[i]) - numberAt(to.zeroPoints, group)) * numberAt(to.scales, group);
    if (storedLevel(level, to.values) != 0) return;
    if (level != 0) lost = std::min(lost, i);
  }
  if (lost < rows * cols) refuseLost(to.firstRow + lost / cols);
}

/** Blocks of rows, which where they lie down columns are gathered: one object serves one thread. */
class RowSource {
 public:
  explicit RowSource(const RawRows& rows) : rows_(rows), size_(bytesOf(rows.type)) {}

  void gather(std::size_t first, std::size_t count) {
    first_ = first;
    if (rows_.stride == 0) return;
    block_.resize(count * rows_.cols * size_);
    transposeBlock(size_, rows_.data + first * size_, rows_.stride, rows_.cols, count, block_.data(), rows_.cols);
  }

  /** A row of the block. */
  const unsigned char* row(std::size_t index) const {
    return rows_.stride == 0 ? rows_.data + index * rows_.cols * size_
                             : block_.data() + (index - first_) * rows_.cols * size_;
  }

 private:
  RawRows rows_;
  std::size_t size_, first_ = 0;
  std::vector<unsigned char> block_;
};

}  // namespace

RowSums roundRows(const RawRows& weights, const AlphabetOptions& alphabet, ScaleRule rule, const PackedRows& to,
                  unsigned threads, JobControl& control) {
  const std::size_t cols = weights.cols;
  const ScalePrecision precision = precisionOf(to);
  std::vector<RowSums> sums(weights.rows);
  std::vector<RowSource> sources(threads, RowSource(weights));
  const auto gather = [&](unsigned slot, std::size_t first, std::size_t count) { sources[slot].gather(first, count); };
  const auto round = [&](RowPacker& packer, std::size_t row, unsigned slot) {
    const std::size_t neuron = to.firstRow + row;
    PlainRounding rounding(alphabet.kind(), rule, precision);
    std::vector<float>& w = packer.weights;
    w.resize(cols);
    if (!widen(weights.type, sources[slot].row(row), cols, w.data())) refuse(weights.type, w, neuron);
    for (std::size_t g = 0, first = 0; first < cols; ++g, first += alphabet.groupSize) {
      const std::size_t count = std::min(alphabet.groupSize, cols - first);
      std::int8_t* codes = packer.codes.data() + first;
      RoundedGroup group;
      namingNeuron(neuron, [&] { group = rounding.round(w.data() + first, count, codes); });
      packer.scales[g] = static_cast<float>(group.alphabet.step());
      packer.zeroPoints[g] = static_cast<float>(group.alphabet.zeroPoint());
      if (to.order == PackedOrder::Codes) {
        const Changed changed = changeOf(w.data() + first, codes, count, group.alphabet, to, precision, neuron);
        group.error = changed.error;
        group.signal = changed.signal;
        sums[row].offAlphabet += changed.count;
        sums[row].hasZeroPoints = sums[row].hasZeroPoints || packer.zeroPoints[g] != 0;
      }
      sums[row].error += group.error;
      sums[row].signal += group.signal;
    }
  };
  forEachBlock(weights.rows, cols, alphabet.groupSize, to, rowsPerTask(weights, to), threads, control, gather, round);
  RowSums total;
  for (const RowSums& row : sums) {
    total.error += row.error;
    total.signal += row.signal;
    total.offAlphabet += row.offAlphabet;
    total.hasZeroPoints = total.hasZeroPoints || row.hasZeroPoints;
  }
  // What is nearer to a weight than 0 is, is not 0.
  if (to.order == PackedOrder::Codes && !(total.error < total.signal))
    requireKept(to, weights.rows, cols, alphabet.groupSize);
  return total;
}

void packRows(const CodedRows& coded, const PackedRows& to, unsigned threads, JobControl& control) {
  const std::size_t groups = groupsOf(coded.cols, coded.groupSize);
  const auto begin = [](unsigned, std::size_t, std::size_t) {};
  const auto copy = [&](RowPacker& packer, std::size_t row, unsigned) {
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
  };
  forEachBlock(coded.rows, coded.cols, coded.groupSize, to, kRowBlock, threads, control, begin, copy);
}

}  // namespace vertexq
