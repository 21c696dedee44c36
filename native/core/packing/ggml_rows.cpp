#include "packing/ggml_rows.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "error.h"
#include "parallel/thread_pool.h"

namespace vertexq {

namespace {

/** Calls visit(row) for all rows, some of them a task. */
template <typename Visit>
void forEachRow(std::size_t rows, unsigned threads, JobControl& control, Visit visit) {
  control.expect(rows);
  ThreadPool::shared().parallelFor((rows + kRowBlock - 1) / kRowBlock, threads, [&](std::size_t task, unsigned) {
    control.checkpoint();
    const std::size_t first = task * kRowBlock, last = std::min(rows, first + kRowBlock);
    for (std::size_t row = first; row < last; ++row) visit(row);
    control.finish(last - first);
  });
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
  forEachRow(rows, threads, control, [&](std::size_t row) {
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
  RowSums total;
  for (const RowSums& row : sums) {
    total.error += row.error;
    total.signal += row.signal;
  }
  return total;
}

void packGgml(const GgmlType& type, const GgmlCodes& from, std::size_t rows, std::size_t cols, std::size_t firstRow,
              unsigned char* to, unsigned threads, JobControl& control) {
  const std::size_t blocks = cols / type.weights, groups = type.groups();
  forEachRow(rows, threads, control, [&](std::size_t row) {
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

}  // namespace vertexq
