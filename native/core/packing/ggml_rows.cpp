#include "packing/ggml_rows.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "error.h"
#include "parallel/thread_pool.h"
#include "scales/block_kernels.h"
#include "scales/block_search.h"

namespace vertexq {

namespace {

/** Calls visit(first, last, slot) for all rows, some of them a task. */
template <typename Visit>
void forEachRows(std::size_t rows, unsigned threads, JobControl& control, Visit visit) {
  control.expect(rows);
  ThreadPool::shared().parallelFor((rows + kRowBlock - 1) / kRowBlock, threads, [&](std::size_t task, unsigned slot) {
    control.throwIfCancelled();
    const std::size_t first = task * kRowBlock, last = std::min(rows, first + kRowBlock);
    visit(first, last, slot);
    control.finish(last - first);
  });
}

/** Calls visit(row, slot). */
template <typename Visit>
void forEachRow(std::size_t rows, unsigned threads, JobControl& control, Visit visit) {
  forEachRows(rows, threads, control, [&](std::size_t first, std::size_t last, unsigned slot) {
    for (std::size_t row = first; row < last; ++row) visit(row, slot);
  });
}

RowSums totalOf(const std::vector<RowSums>& sums) {
  RowSums total;
  for (const RowSums& row : sums) total.add(row);
  return total;
}

/** Groups of a block that have become all 0 of weights that are not. */
std::size_t zeroedGroups(const GgmlType& type, const float* weights, const float* values) {
  const auto isZero = [](float value) { return value == 0; };
  std::size_t count = 0;
  for (std::size_t first = 0; first < type.weights; first += type.group)
    count += std::all_of(values + first, values + first + type.group, isZero) &&
                     !std::all_of(weights + first, weights + first + type.group, isZero)
                 ? 1
                 : 0;
  return count;
}

[[noreturn]] void refuseValue(std::size_t neuron, std::size_t input, double value) {
  throw Error("ERR_VERTEXQ_NOT_FINITE", "neuron " + std::to_string(neuron) + ", input " + std::to_string(input) +
                                            (std::isnan(value) ? " is NaN" : " is infinite"));
}

}  // namespace

RowSums unpackGgml(const GgmlType& type, const unsigned char* from, std::size_t rows, std::size_t cols,
                   std::size_t firstRow, const GgmlParts& to, const RawRows* reference, unsigned threads,
                   JobControl& control) {
  const std::size_t blocks = cols / type.weights, groups = type.groups();
  std::vector<RowSums> sums(rows);
  forEachRow(rows, threads, control, [&](std::size_t row, unsigned) {
    GgmlBlock block;
    float values[kMostBlock], weights[kMostBlock];
    for (std::size_t b = 0; b < blocks; ++b) {
      const std::size_t index = row * blocks + b, at = index * type.weights;
      unpackBlock(type, from + index * type.bytes, block);
      blockValues(type, block, values);
      if (to.codes) std::copy_n(block.codes, type.weights, to.codes + at);
      if (to.scales) std::copy_n(block.scales, groups, to.scales + index * groups);
      if (to.minima) std::copy_n(block.minima, groups, to.minima + index * groups);
      if (to.values) std::copy_n(values, type.weights, to.values + at);
      if (reference) {
        const std::size_t size = bytesOf(reference->type);
        widen(reference->type, reference->data + at * size, type.weights, weights);
      }
      double error = 0, signal = 0;
      blockKernels().squares(reference ? weights : values, values, type.weights, error, signal);
      sums[row].error += error;
      sums[row].signal += signal;
      if (reference) sums[row].zeroedGroups += zeroedGroups(type, weights, values);
      if (std::isfinite(error + signal)) continue;
      for (std::size_t i = 0; i < type.weights; ++i)
        if (!std::isfinite(values[i])) refuseValue(firstRow + row, b * type.weights + i, values[i]);
    }
  });
  return totalOf(sums);
}

void packGgml(const GgmlType& type, const GgmlCodes& from, std::size_t rows, std::size_t cols, std::size_t firstRow,
              unsigned char* to, unsigned threads, JobControl& control) {
  const std::size_t blocks = cols / type.weights, groups = type.groups();
  forEachRow(rows, threads, control, [&](std::size_t row, unsigned) {
    GgmlBlock block{};
    namingNeuron(firstRow + row, [&] {
      for (std::size_t b = 0; b < blocks; ++b) {
        const std::size_t index = row * blocks + b;
        std::copy_n(from.codes + index * type.weights, type.weights, block.codes);
        std::copy_n(from.scales + index * groups, groups, block.scales);
        if (from.minima) std::copy_n(from.minima + index * groups, groups, block.minima);
        packBlock(type, block, to + index * type.bytes);
      }
    });
  });
}

namespace {

/** Blocks that are searched together. */
constexpr std::size_t kTogether = 16;

/** Rounds a thread's rows. */
class RoundedRows {
 public:
  RoundedRows(const GgmlType& type, const RawRows& weights, const float* importance, std::size_t firstRow,
              unsigned char* to)
      : type_(type),
        weights_(weights),
        importance_(importance),
        firstRow_(firstRow),
        to_(to),
        blocks_(weights.cols / type.weights),
        search_(type.alphabet()),
        given_(kTogether * type.weights),
        codes_(given_.size()) {}

  void run(std::size_t first, std::size_t last, RowSums* sums) {
    // Where all inputs count alike, blocks of rows one behind the other are searched together too.
    const std::size_t rows = importance_ ? 1 : last - first;
    for (std::size_t row = first; row < last; row += rows)
      for (std::size_t b = row * blocks_, end = b + rows * blocks_; b < end; b += kTogether)
        add(b, std::min(kTogether, end - b), sums);
  }

 private:
  /** Blocks, numbered through all rows. */
  void add(std::size_t first, std::size_t count, RowSums* sums) {
    const std::size_t size = type_.weights, groups = type_.groups(), all = count * size;
    if (!widen(weights_.type, weights_.data + first * size * bytesOf(weights_.type), all, given_.data()))
      for (std::size_t i = 0, at = first * size; i < all; ++i)
        if (!std::isfinite(given_[i]))
          refuseValue(firstRow_ + (at + i) / weights_.cols, (at + i) % weights_.cols, given_[i]);
    search(first, count);
    for (std::size_t b = 0; b < count; ++b) {
      const std::size_t row = (first + b) / blocks_;
      std::copy_n(&codes_[b * size], size, block_.codes);
      std::copy_n(scales_ + b * groups, groups, block_.scales);
      std::copy_n(minima_ + b * groups, groups, block_.minima);
      namingNeuron(firstRow_ + row, [&] { packBlock(type_, block_, to_ + (first + b) * type_.bytes); });
      blockValues(type_, block_, values_);
      double error = 0, signal = 0;
      blockKernels().squares(&given_[b * size], values_, size, error, signal);
      sums[row].error += error;
      sums[row].signal += signal;
      sums[row].zeroedGroups += zeroedGroups(type_, &given_[b * size], values_);
    }
  }

  void search(std::size_t first, std::size_t count) {
    const std::size_t size = type_.weights, groups = type_.groups();
    const float* importance = importance_ ? importance_ + first % blocks_ * size : nullptr;
    const auto run = [&](std::size_t begin, std::size_t some) {
      search_.run(&given_[begin * size], importance ? importance + begin * size : nullptr, some, &codes_[begin * size],
                  scales_ + begin * groups, minima_ + begin * groups);
    };
    try {
      run(0, count);
    } catch (const Error&) {
      // Which it was is told by each alone.
      for (std::size_t b = 0; b < count; ++b) namingNeuron(firstRow_ + (first + b) / blocks_, [&] { run(b, 1); });
      throw;
    }
  }

  const GgmlType& type_;
  const RawRows& weights_;
  const float* importance_;
  std::size_t firstRow_;
  unsigned char* to_;
  std::size_t blocks_;
  BlockSearch search_;
  std::vector<float> given_;
  std::vector<std::int8_t> codes_;
  float scales_[kTogether * kMostGroups], minima_[kTogether * kMostGroups] = {};
  GgmlBlock block_{};
  float values_[kMostBlock];
};

}  // namespace

RowSums roundGgml(const GgmlType& type, const RawRows& weights, const float* importance, std::size_t firstRow,
                  unsigned char* to, unsigned threads, JobControl& control) {
  std::vector<RowSums> sums(weights.rows);
  std::vector<std::unique_ptr<RoundedRows>> all(std::max(threads, 1U));
  forEachRows(weights.rows, threads, control, [&](std::size_t first, std::size_t last, unsigned slot) {
    if (!all[slot]) all[slot] = std::make_unique<RoundedRows>(type, weights, importance, firstRow, to);
    all[slot]->run(first, last, sums.data());
  });
  return totalOf(sums);
}

}  // namespace vertexq
