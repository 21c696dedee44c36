// Codes as other programs hold them, against a bit at a time.
#include "tensors/coded_rows.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

using namespace vertexq;

namespace {

/** Puts `bits` bits at bit `at`, lowest first. */
void put(std::vector<unsigned char>& to, std::size_t at, int bits, int value) {
  for (int i = 0; i < bits; ++i, ++at)
    if (value >> i & 1) to[at / 8] |= static_cast<unsigned char>(1 << at % 8);
}

int fieldOf(const Field& field, int code) { return (field.doubled ? 2 * code + 1 : code) + field.offset; }

struct Layer {
  std::vector<std::int8_t> codes;
  std::vector<float> scales, zeroPoints;
  CodedRows rows;
};

/** Codes of `bits` signed bits. */
Layer layerOf(std::size_t rows, std::size_t cols, std::size_t groupSize, int bits, bool zeros, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto code = [&] {
    return static_cast<std::int8_t>(static_cast<int>(random() % (1u << bits)) - (1 << (bits - 1)));
  };
  Layer layer;
  const std::size_t groups = (cols + groupSize - 1) / groupSize;
  for (std::size_t i = 0; i < rows * cols; ++i) layer.codes.push_back(code());
  for (std::size_t i = 0; i < rows * groups; ++i) {
    layer.scales.push_back(std::ldexp(static_cast<float>(random() % 1000 + 1), -static_cast<int>(random() % 30)));
    layer.zeroPoints.push_back(code());
  }
  layer.rows = {layer.codes.data(), layer.scales.data(), zeros ? layer.zeroPoints.data() : nullptr, rows, cols,
                groupSize};
  return layer;
}

TEST_CASE("fields of every width, doubled or not, of any length") {
  for (int bits = 1; bits <= 8; ++bits)
    for (const bool doubled : {false, true})
      for (const int offset : {0, 1 << (bits - 1), 3})
        for (std::size_t count = 0; count < 50; ++count) {
          const Layer layer = layerOf(1, count + 1, 1, 8, false, count + 1);
          const Field field{bits, offset, doubled};
          std::vector<unsigned char> expected(bytesFor(count, bits) + 1), packed(expected.size(), 0xaa);
          for (std::size_t i = 0; i < count; ++i)
            put(expected, i * static_cast<std::size_t>(bits), bits, fieldOf(field, layer.codes[i]));
          expected.back() = 0xaa;
          packFields(layer.codes.data(), count, field, packed.data());
          CHECK(packed == expected);
        }
}

TEST_CASE("blocks") {
  for (const int bits : {2, 4, 8})
    for (const bool zeros : {false, true})
      for (const std::size_t cols : {1u, 15u, 16u, 33u, 64u, 100u, 257u})
        for (const std::size_t blockSize : {16u, 32u, 128u})
          for (const std::size_t perGroup : {1u, 3u, 1000u}) {
            const bool doubled = !zeros && cols % 2 == 0 && bits > 2;
            const std::size_t groupSize = blockSize * perGroup, rows = 1 + cols % 37;
            const Layer layer = layerOf(rows, cols, groupSize, doubled ? bits - 1 : bits, zeros, cols + groupSize);
            const Field field{bits, 1 << (bits - 1), doubled};
            const std::size_t blocks = (cols + blockSize - 1) / blockSize, groups = layer.rows.groups();
            const std::size_t rowBits = blocks * blockSize * static_cast<std::size_t>(bits);
            const std::size_t zeroBytes = bytesFor(blocks, bits);
            std::vector<unsigned char> codes(rows * rowBits / 8), zeroPoints(rows * zeroBytes);
            std::vector<float> scales(rows * blocks);
            for (std::size_t n = 0; n < rows; ++n)
              for (std::size_t b = 0; b < blocks; ++b) {
                const std::size_t group = n * groups + b * blockSize / groupSize;
                const int zero = zeros ? static_cast<int>(layer.zeroPoints[group]) + field.offset : 1 << (bits - 1);
                put(zeroPoints, n * zeroBytes * 8 + b * static_cast<std::size_t>(bits), bits, zero);
                scales[n * blocks + b] = doubled ? layer.scales[group] / 2 : layer.scales[group];
                for (std::size_t i = 0; i < blockSize; ++i) {
                  const std::size_t k = b * blockSize + i;
                  put(codes, n * rowBits + k * static_cast<std::size_t>(bits), bits,
                      k < cols ? fieldOf(field, layer.codes[n * cols + k]) : zero);
                }
              }
            for (const unsigned threads : {1u, 3u}) {
              std::vector<unsigned char> madeCodes(codes.size()), madeZeros(zeroPoints.size());
              std::vector<float> madeScales(scales.size());
              JobControl control;
              packBlocks(layer.rows,
                         {blockSize, field, madeCodes.data(), madeScales.data(), zeros ? madeZeros.data() : nullptr},
                         threads, control);
              CHECK(madeCodes == codes);
              CHECK(madeScales == scales);
              if (zeros) CHECK(madeZeros == zeroPoints);
            }
          }
}

TEST_CASE("integers of ONNX, with rows that end within a byte") {
  for (const int bits : {2, 4, 8})
    for (const std::size_t rows : {1u, 7u, 8u, 9u, 300u})
      for (const std::size_t cols : {1u, 3u, 8u, 1000u})
        for (const std::size_t more : {0u, 1u, 5u})
          for (const bool filled : {false, true}) {
            const bool doubled = !filled && bits > 2;
            const Layer layer = layerOf(rows, cols, cols, doubled ? bits - 1 : bits, true, rows + cols + more);
            const std::vector<std::int8_t> fill(layer.zeroPoints.begin(), layer.zeroPoints.end());
            const Field field{bits, 0, doubled};
            const std::size_t length = cols + more;
            std::vector<unsigned char> expected(bytesFor(rows * length, bits));
            for (std::size_t n = 0; n < rows; ++n)
              for (std::size_t i = 0; i < length; ++i)
                put(expected, (n * length + i) * static_cast<std::size_t>(bits), bits,
                    i < cols ? fieldOf(field, layer.codes[n * cols + i])
                    : filled ? fill[n]
                             : 0);
            for (const unsigned threads : {1u, 3u}) {
              std::vector<unsigned char> packed(expected.size(), 0xaa);
              JobControl control;
              packIntegers(layer.codes.data(), rows, cols, length, filled ? fill.data() : nullptr, field, packed.data(),
                           threads, control);
              CHECK(packed == expected);
            }
          }
}

TEST_CASE("values are rounded once") {
  for (const bool zeros : {false, true})
    for (const std::size_t groupSize : {1u, 5u, 32u, 100u}) {
      Layer layer = layerOf(40, 100, groupSize, 8, zeros, groupSize);
      for (float& zero : layer.zeroPoints) zero += groupSize == 5 ? 0.5F : 0.0F;  // as of zero-free grids
      for (std::size_t i = 0; i < layer.scales.size(); i += 7) layer.scales[i] = 1e-44F;
      std::vector<float> values(4000);
      JobControl control;
      dequantize(layer.rows, values.data(), 2, control);
      for (std::size_t i = 0; i < values.size(); ++i) {
        const std::size_t group = i / 100 * layer.rows.groups() + i % 100 / groupSize;
        const double zero = zeros ? layer.zeroPoints[group] : 0;
        CHECK(values[i] == static_cast<float>((layer.codes[i] - zero) * layer.scales[group]));
      }
    }
}

}  // namespace
