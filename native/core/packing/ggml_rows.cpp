#include "packing/ggml_rows.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "error.h"
#include "parallel/thread_pool.h"
#include "scales/block_search.h"

namespace vertexq {

namespace {

/** Calls visit(row, slot) for all rows, some of them a task. */
template <typename Visit>
void forEachRow(std::size_t rows, unsigned threads, JobControl& control, Visit visit) {
  control.expect(rows);
  ThreadPool::shared().parallelFor((rows + kRowBlock - 1) / kRowBlock, threads, [&](std::size_t task, unsigned slot) {
    control.checkpoint();
    const std::size_t first = task * kRowBlock, last = std::min(rows, first + kRowBlock);
    for (std::size_t row = first; row < last; ++row) visit(row, slot);
    control.finish(last - first);
  });
}

RowSums totalOf(const std::vector<RowSums>& sums) {
  RowSums total;
  for (const RowSums& row : sums) {
    total.error += row.error;
    total.signal += row.signal;
  }
  return total;
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
      for (std::size_t i = 0; i < type.weights; ++i) {
        const double q = values[i], w = reference ? weights[i] : q;
        error += (w - q) * (w - q);
        signal += w * w;
      }
      sums[row].error += error;
      sums[row].signal += signal;
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

RowSums roundGgml(const GgmlType& type, const RawRows& weights, const float* importance, std::size_t firstRow,
                  unsigned char* to, unsigned threads, JobControl& control) {
  const std::size_t cols = weights.cols, blocks = cols / type.weights, size = bytesOf(weights.type);
  std::vector<RowSums> sums(weights.rows);
  std::vector<std::unique_ptr<BlockSearch>> searches(std::max(threads, 1U));
  forEachRow(weights.rows, threads, control, [&](std::size_t row, unsigned slot) {
    if (!searches[slot]) searches[slot] = std::make_unique<BlockSearch>(type.alphabet());
    GgmlBlock block{};
    float values[kMostBlock], given[kMostBlock];
    for (std::size_t b = 0; b < blocks; ++b) {
      const std::size_t at = row * cols + b * type.weights;
      if (!widen(weights.type, weights.data + at * size, type.weights, given))
        for (std::size_t i = 0; i < type.weights; ++i)
          if (!std::isfinite(given[i])) refuseValue(firstRow + row, b * type.weights + i, given[i]);
      namingNeuron(firstRow + row, [&] {
        searches[slot]->run(given, importance ? importance + b * type.weights : nullptr, block.codes, block.scales,
                            block.minima);
        packBlock(type, block, to + (row * blocks + b) * type.bytes);
      });
      blockValues(type, block, values);
      for (std::size_t i = 0; i < type.weights; ++i) {
        const double w = given[i], rest = w - values[i];
        sums[row].error += rest * rest;
        sums[row].signal += w * w;
      }
    }
  });
  return totalOf(sums);
}

}  // namespace vertexq
