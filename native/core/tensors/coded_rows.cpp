#include "tensors/coded_rows.h"

#include <algorithm>
#include <vector>

#include "parallel/thread_pool.h"

namespace vertexq {

namespace {

/** Codes of a task, about. */
constexpr std::size_t kTask = std::size_t{1} << 16;

/** Runs work(first, last) for pieces of so many rows that their codes make a task, a multiple of `step`. */
template <typename Work>
void forEachPiece(std::size_t rows, std::size_t cols, std::size_t step, unsigned threads, JobControl& control,
                  Work work) {
  const std::size_t each = step * std::max<std::size_t>(1, kTask / (step * std::max<std::size_t>(cols, 1)));
  ThreadPool::shared().parallelFor((rows + each - 1) / each, threads, [&](std::size_t piece, unsigned) {
    control.throwIfCancelled();
    work(piece * each, std::min(rows, (piece + 1) * each));
  });
}

/** A field's value before it is cut to its bits. */
std::int8_t fieldOf(const Field& field, int code) {
  return static_cast<std::int8_t>((field.doubled ? 2 * code + 1 : code) + field.offset);
}

/** dequantizeRow for levels of a table, or with minima. */
void dequantizeUneven(const CodedRows& coded, std::size_t row, float* values) {
  const std::int8_t* codes = coded.codes + row * coded.cols;
  for (std::size_t g = row * coded.groups(), i = 0; i < coded.cols; ++g) {
    const double scale = coded.scales[g], minimum = coded.minima ? coded.minima[g] : 0;
    for (const std::size_t end = std::min(coded.cols, i + coded.groupSize); i < end; ++i)
      values[i] = static_cast<float>((coded.table ? coded.table[codes[i] + 128] : codes[i]) * scale + minimum);
  }
}

}  // namespace

void dequantizeRow(const std::int8_t* codes, const float* scales, const float* zeroPoints, std::size_t cols,
                   std::size_t groupSize, float* values) {
  for (std::size_t g = 0, i = 0; i < cols; ++g) {
    const double zero = zeroPoints ? zeroPoints[g] : 0, scale = scales[g];
    for (const std::size_t end = std::min(cols, i + groupSize); i < end; ++i)
      values[i] = static_cast<float>((codes[i] - zero) * scale);
  }
}

void dequantize(const CodedRows& coded, float* values, unsigned threads, JobControl& control) {
  const std::size_t cols = coded.cols, groups = coded.groups();
  forEachPiece(coded.rows, cols, 1, threads, control, [&](std::size_t first, std::size_t last) {
    for (std::size_t row = first; row < last; ++row) {
      if (coded.table || coded.minima) {
        dequantizeUneven(coded, row, values + row * cols);
        continue;
      }
      dequantizeRow(coded.codes + row * cols, coded.scales + row * groups,
                    coded.zeroPoints ? coded.zeroPoints + row * groups : nullptr, cols, coded.groupSize,
                    values + row * cols);
    }
  });
}

void packBlocks(const CodedRows& coded, const Blocks& to, unsigned threads, JobControl& control) {
  const Field& field = to.field;
  const std::size_t cols = coded.cols, groups = coded.groups(), blocks = to.blocks(cols);
  const std::size_t rowBytes = bytesFor(blocks * to.blockSize, field.bits), zeroBytes = bytesFor(blocks, field.bits);
  const std::size_t whole = cols == blocks * to.blockSize ? cols : cols / 8 * 8;
  forEachPiece(coded.rows, cols, 1, threads, control, [&](std::size_t first, std::size_t last) {
    std::vector<std::int8_t> zeros(blocks), end(blocks * to.blockSize - whole);
    for (std::size_t row = first; row < last; ++row) {
      for (std::size_t b = 0; b < blocks; ++b) {
        const std::size_t group = row * groups + b * to.blockSize / coded.groupSize;
        to.scales[row * blocks + b] = coded.scales[group] * (field.doubled ? 0.5F : 1.0F);
        zeros[b] = static_cast<std::int8_t>(coded.zeroPoints ? static_cast<int>(coded.zeroPoints[group]) + field.offset
                                                             : 1 << (field.bits - 1));
      }
      const std::int8_t* codes = coded.codes + row * cols;
      packFields(codes, whole, field, to.codes + row * rowBytes);
      if (!end.empty()) {
        std::fill(end.begin(), end.end(), zeros[blocks - 1]);
        for (std::size_t i = whole; i < cols; ++i) end[i - whole] = fieldOf(field, codes[i]);
        packFields(end.data(), end.size(), {field.bits}, to.codes + row * rowBytes + bytesFor(whole, field.bits));
      }
      if (to.zeroPoints) packFields(zeros.data(), blocks, {field.bits}, to.zeroPoints + row * zeroBytes);
    }
  });
}

void packIntegers(const std::int8_t* codes, std::size_t rows, std::size_t cols, std::size_t rowLength,
                  const std::int8_t* fill, const Field& field, unsigned char* to, unsigned threads,
                  JobControl& control) {
  // Eight of anything end at a byte.
  if (rowLength == cols)
    return forEachPiece(rows * cols, 1, 8, threads, control, [&](std::size_t first, std::size_t last) {
      packFields(codes + first, last - first, field, to + bytesFor(first, field.bits));
    });
  forEachPiece(rows, rowLength, 8, threads, control, [&](std::size_t first, std::size_t last) {
    std::vector<std::int8_t> fields((last - first) * rowLength);
    for (std::size_t row = first; row < last; ++row) {
      std::int8_t* own = fields.data() + (row - first) * rowLength;
      for (std::size_t i = 0; i < cols; ++i) own[i] = fieldOf(field, codes[row * cols + i]);
      std::fill(own + cols, own + rowLength, fill ? fill[row] : std::int8_t{0});
    }
    packFields(fields.data(), fields.size(), {field.bits}, to + bytesFor(first * rowLength, field.bits));
  });
}

}  // namespace vertexq
