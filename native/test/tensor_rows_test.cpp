// Rows of a tensor, packed: in every order within its memory, with the bytes that single codes give, on any number of threads.
#include "packing/tensor_rows.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "error.h"
#include "packing/plain_rounding.h"
#include "packing/unpack_rows.h"
#include "tensors/bit_packing.h"
#include "test_data.h"

using namespace vertexq;

namespace {

constexpr PackedOrder kOrders[] = {PackedOrder::NeuronMajor, PackedOrder::InputMajor, PackedOrder::Values};

/** A weight's parts, each exactly as long as it is. */
struct Packed {
  std::vector<unsigned char> codes, scales, zeros;

  PackedRows view(PackedOrder order, int bits, NumberType type, std::size_t rows) {
    PackedRows to;
    to.order = order;
    to.bits = bits;
    to.type = type;
    to.codes = codes.data();
    to.scales = scales.data();
    to.zeroPoints = order == PackedOrder::Values ? nullptr : zeros.data();
    to.outFeatures = rows;
    return to;
  }
};

Packed room(PackedOrder order, int bits, NumberType type, std::size_t rows, std::size_t cols, std::size_t groups) {
  Packed packed;
  const bool isFloat = order == PackedOrder::Values;
  packed.codes.resize(isFloat ? rows * cols * bytesOf(type) : rows * wordsFor(cols, bits) * 4);
  if (isFloat) return packed;
  packed.scales.resize(rows * groups * bytesOf(type));
  packed.zeros.resize(groups * wordsFor(rows, bits) * 4);
  return packed;
}

int field(const std::vector<unsigned char>& bytes, std::size_t bit, int bits) {
  int value = 0;
  for (int i = 0; i < bits; ++i) value |= (bytes[(bit + i) / 8] >> ((bit + i) % 8) & 1) << i;
  return value;
}

/** Bit `bit` of the numbers packed down column `column` of words `width` to a row. */
std::size_t down(std::size_t bit, std::size_t column, std::size_t width) {
  return ((bit / 32) * width + column) * 32 + bit % 32;
}

void packsEveryCode() {
  std::mt19937_64 random(7);
  for (const PackedOrder order : kOrders)
    for (const int bits : {2, 3, 4, 8})
      for (const std::size_t rows : {32u, 64u, 96u}) {
        const std::size_t cols = 64, groupSize = 32, groups = 2;
        const int offset = 1 << (bits - 1);
        std::vector<std::int8_t> codes(rows * cols);
        std::vector<float> scales(rows * groups), zeros(rows * groups);
        for (auto& code : codes) code = static_cast<std::int8_t>(static_cast<int>(random() % (2u * offset)) - offset);
        for (auto& scale : scales) scale = static_cast<float>(1 + random() % 7) / 8;
        for (auto& zero : zeros) zero = static_cast<float>(static_cast<int>(random() % (2u * offset)) - offset);
        Packed first;
        for (const unsigned threads : {1u, 3u}) {
          Packed packed = room(order, bits, NumberType::Float32, rows, cols, groups);
          JobControl control;
          packRows({codes.data(), scales.data(), zeros.data(), rows, cols, groupSize},
                   packed.view(order, bits, NumberType::Float32, rows), threads, control);
          if (threads == 1) first = packed;
          CHECK((packed.codes == first.codes && packed.scales == first.scales && packed.zeros == first.zeros));
        }
        for (std::size_t i = 0; i < rows; ++i)
          for (std::size_t j = 0; j < cols; ++j) {
            const std::size_t g = j / groupSize;
            const int code = codes[i * cols + j];
            const float zero = zeros[i * groups + g], scale = scales[i * groups + g];
            if (order == PackedOrder::Values) {
              float value;
              std::memcpy(&value, first.codes.data() + 4 * (i * cols + j), 4);
              CHECK(value == (static_cast<float>(code) - zero) * scale);
              continue;
            }
            const bool transposed = order == PackedOrder::InputMajor;
            const std::size_t codeBit = transposed ? 0 : i * wordsFor(cols, bits) * 32 + j * bits;
            int found = 0, foundZero = 0;
            for (int b = 0; b < bits; ++b) {
              found |= field(first.codes, transposed ? down(j * bits + b, i, rows) : codeBit + b, 1) << b;
              const std::size_t zeroBit =
                  transposed ? g * wordsFor(rows, bits) * 32 + i * bits + b : down(i * bits + b, g, groups);
              foundZero |= field(first.zeros, zeroBit, 1) << b;
            }
            CHECK((found - offset == code && foundZero - offset == static_cast<int>(zero)));
            float value;
            std::memcpy(&value, first.scales.data() + 4 * (transposed ? g * rows + i : i * groups + g), 4);
            CHECK(value == scale);
          }
      }
}

/** What is packed is what is unpacked, of odd shapes too, with the groups in any order, whole and by ranges of rows. */
void unpacksWhatWasPacked() {
  std::mt19937_64 random(9);
  for (const PackedOrder order : kOrders)
    for (int bits = 1; bits <= 8; ++bits)
      for (const int shift : {0, -1})
        for (const std::size_t rows : {1u, 31u, 32u, 65u, 128u})
          for (const std::size_t cols : {1u, 7u, 64u, 130u}) {
            // Neurons in columns fill whole words.
            if (order == PackedOrder::InputMajor && rows * static_cast<std::size_t>(bits) % 32 != 0) continue;
            const std::size_t groupSize = 1 + random() % cols, groups = groupsOf(cols, groupSize);
            const int offset = 1 << (bits - 1);
            std::vector<std::int8_t> codes(rows * cols);
            std::vector<float> scales(rows * groups), zeros(rows * groups);
            for (auto& code : codes)
              code = static_cast<std::int8_t>(static_cast<int>(random() % (2u * offset)) - offset);
            for (auto& scale : scales) scale = static_cast<float>(1 + random() % 7) / 8;
            // A zero point less 1 must not be below the lowest.
            for (auto& zero : zeros)
              zero = static_cast<float>(std::max(static_cast<int>(random() % (2u * offset)), -shift) - offset);
            Packed packed = room(order, bits, NumberType::Float16, rows, cols, groups);
            PackedRows view = packed.view(order, bits, NumberType::Float16, rows);
            view.zeroShift = shift;
            JobControl control;
            packRows({codes.data(), scales.data(), zeros.data(), rows, cols, groupSize}, view, 2, control);
            std::vector<std::int8_t> foundCodes(rows * cols);
            std::vector<float> foundScales(rows * groups), foundZeros(rows * groups), values(rows * cols);
            const std::size_t step = rows > 64 && order == PackedOrder::InputMajor ? 32 : rows;
            RowSums sums;
            for (std::size_t first = 0; first < rows; first += step) {
              view.firstRow = first;
              UnpackedRows to{foundCodes.data() + first * cols, foundScales.data() + first * groups,
                              foundZeros.data() + first * groups, values.data() + first * cols};
              if (order == PackedOrder::Values) to = {nullptr, nullptr, nullptr, values.data() + first * cols};
              sums = unpackRows(view, std::min(step, rows - first), cols, {groups, groupSize}, to, nullptr, 2, control);
            }
            bool equal = true;
            for (std::size_t i = 0; i < rows * cols; ++i) {
              const std::size_t group = i / cols * groups + i % cols / groupSize;
              float value = (static_cast<float>(codes[i]) - zeros[group]) * scales[group], half;
              unsigned char narrowed[2];
              narrow(NumberType::Float16, &value, 1, narrowed);
              widen(NumberType::Float16, narrowed, 1, &half);
              equal = equal && values[i] == (order == PackedOrder::Values ? half : value);
            }
            CHECK(equal);
            if (order == PackedOrder::Values) continue;
            CHECK((foundCodes == codes && foundScales == scales && foundZeros == zeros));
            // The inputs in another order: their groups are told one by one.
            std::vector<std::int32_t> groupOf(cols);
            for (std::size_t i = 0; i < cols; ++i) groupOf[i] = static_cast<std::int32_t>(i * 7 % groups);
            view.firstRow = 0;
            std::vector<float> reference(rows * cols);
            for (std::size_t i = 0; i < rows * cols; ++i) {
              const std::size_t group = i / cols * groups + static_cast<std::size_t>(groupOf[i % cols]);
              reference[i] = (static_cast<float>(codes[i]) - zeros[group]) * scales[group];
            }
            const RawRows raw{reinterpret_cast<unsigned char*>(reference.data()), NumberType::Float32, rows, cols};
            sums = unpackRows(view, rows, cols, {groups, 1, groupOf.data()}, {nullptr, nullptr, nullptr, values.data()},
                              &raw, 2, control);
            CHECK((values == reference && sums.error == 0));
          }
}

void roundsAnyShape() {
  std::mt19937_64 random(8);
  for (const PackedOrder order : {PackedOrder::NeuronMajor, PackedOrder::Values})
    for (const NumberType type : {NumberType::Float64, NumberType::Float32, NumberType::Float16, NumberType::BFloat16})
      for (const std::size_t rows : {1u, 31u, 33u, 100u})
        for (const std::size_t cols : {1u, 7u, 130u})
          for (const std::size_t groupSize : {std::size_t{1}, std::size_t{16}, cols}) {
            const std::size_t size = std::min(groupSize, cols), groups = groupsOf(cols, size);
            const std::vector<double> normal = testing::normals(random, rows * cols);
            const std::vector<float> values(normal.begin(), normal.end());
            std::vector<unsigned char> input(values.size() * bytesOf(type));
            narrow(type, values.data(), values.size(), input.data());
            AlphabetOptions alphabet;
            alphabet.grid = Grid::Asymmetric;
            alphabet.groupSize = size;
            const NumberType out = type == NumberType::Float64 ? NumberType::Float32 : type;
            Packed packed = room(order, 4, out, rows, cols, groups);
            JobControl control;
            const RowSums sums = roundRows({input.data(), type, rows, cols}, alphabet, ScaleRule::Search,
                                           packed.view(order, 4, out, rows), 2, control);
            CHECK(sums.error <= 0.05 * sums.signal);
          }
}

/** Rows one behind the other and rows down columns: codes, scales and sums are those of groups rounded one by one, on any number of threads. */
void roundsAsGroupsByThemselves() {
  std::mt19937_64 random(12);
  for (const NumberType type : {NumberType::Float32, NumberType::Float16})
    for (const std::size_t rows : {1u, 17u, 300u})
      for (const auto& [cols, groupSize] : {std::pair<std::size_t, std::size_t>{70, 32}, {64, 16}, {300, 300}, {5, 5}})
        for (const bool downColumns : {false, true})
          for (const unsigned threads : {1u, 4u}) {
            const std::size_t stride = downColumns ? rows + 3 : 0, groups = groupsOf(cols, groupSize);
            const std::vector<double> normal = testing::normals(random, downColumns ? stride * cols : rows * cols);
            std::vector<float> values(normal.begin(), normal.end());
            std::vector<unsigned char> input(values.size() * bytesOf(type));
            narrow(type, values.data(), values.size(), input.data());
            widen(type, input.data(), values.size(), values.data());
            AlphabetOptions alphabet;
            alphabet.grid = Grid::Asymmetric;
            alphabet.groupSize = groupSize;
            std::vector<std::int8_t> codes(rows * cols), expected(cols);
            std::vector<float> scales(rows * groups), zeros(rows * groups);
            PackedRows to;
            to.order = PackedOrder::Codes;
            to.type = NumberType::Float32;
            to.codes = reinterpret_cast<unsigned char*>(codes.data());
            to.scales = reinterpret_cast<unsigned char*>(scales.data());
            to.zeroPoints = reinterpret_cast<unsigned char*>(zeros.data());
            to.outFeatures = rows;
            JobControl control;
            const RowSums sums =
                roundRows({input.data(), type, rows, cols, stride}, alphabet, ScaleRule::Search, to, threads, control);
            PlainRounding rounding(alphabet.kind(), ScaleRule::Search, ScalePrecision::Float32);
            double error = 0, signal = 0;
            bool equal = true;
            for (std::size_t n = 0; n < rows; ++n)
              for (std::size_t g = 0; g < groups; ++g) {
                const std::size_t first = g * groupSize, count = std::min(groupSize, cols - first);
                std::vector<float> w(count);
                for (std::size_t i = 0; i < count; ++i)
                  w[i] = values[downColumns ? (first + i) * stride + n : n * cols + first + i];
                const Alphabet a = rounding.roundReference(w.data(), count, expected.data()).alphabet;
                equal = equal && scales[n * groups + g] == static_cast<float>(a.step()) &&
                        zeros[n * groups + g] == static_cast<float>(a.zeroPoint()) &&
                        std::equal(&expected[0], &expected[0] + count, &codes[n * cols + first]);
                for (std::size_t i = 0; i < count; ++i) {
                  error += std::pow(w[i] - a.level(expected[i]), 2);
                  signal += double{w[i]} * w[i];
                }
              }
            CHECK(equal);
            CHECK_LE(std::abs(sums.error - error), 1e-12 * error);
            CHECK_LE(std::abs(sums.signal - signal), 1e-12 * signal);
          }
}

/** Some inputs of all neurons at a time, into rows of all of them: as at once. */
void roundsInputsPieceByPiece() {
  std::mt19937_64 random(13);
  const std::size_t rows = 300;
  for (const NumberType type : {NumberType::Float32, NumberType::BFloat16})
    for (const auto& [cols, groupSize] : {std::pair<std::size_t, std::size_t>{70, 16}, {96, 32}, {45, 1}})
      for (const std::size_t groupsAtOnce : {1u, 2u, 5u}) {
        const std::size_t groups = groupsOf(cols, groupSize), each = groupsAtOnce * groupSize;
        const std::vector<double> normal = testing::normals(random, rows * cols);
        const std::vector<float> values(normal.begin(), normal.end());
        std::vector<unsigned char> input(values.size() * bytesOf(type));
        narrow(type, values.data(), values.size(), input.data());
        AlphabetOptions alphabet;
        alphabet.grid = Grid::Asymmetric;
        alphabet.groupSize = groupSize;
        struct Result {
          std::vector<std::int8_t> codes;
          std::vector<float> scales, zeros;
          bool operator==(const Result& other) const {
            return codes == other.codes && scales == other.scales && zeros == other.zeros;
          }
        };
        const Result blank{std::vector<std::int8_t>(rows * cols, 99), std::vector<float>(rows * groups, -1),
                           std::vector<float>(rows * groups, 99)};
        Result atOnce = blank, piecewise = blank;
        const auto round = [&](Result& to, std::size_t first, std::size_t count) {
          PackedRows view;
          view.order = PackedOrder::Codes;
          view.type = NumberType::Float32;
          view.width = cols;
          view.codes = reinterpret_cast<unsigned char*>(to.codes.data() + first);
          view.scales = reinterpret_cast<unsigned char*>(to.scales.data() + first / groupSize);
          view.zeroPoints = reinterpret_cast<unsigned char*>(to.zeros.data() + first / groupSize);
          view.outFeatures = rows;
          JobControl control;
          return roundRows({input.data() + first * rows * bytesOf(type), type, rows, count, rows}, alphabet,
                           ScaleRule::Search, view, 2, control);
        };
        const RowSums whole = round(atOnce, 0, cols);
        RowSums sums;
        for (std::size_t first = 0; first < cols; first += each) {
          const RowSums some = round(piecewise, first, std::min(each, cols - first));
          sums.error += some.error;
          sums.signal += some.signal;
          sums.offAlphabet += some.offAlphabet;
        }
        CHECK(atOnce == piecewise);
        CHECK_LE(std::abs(sums.error - whole.error), 1e-12 * whole.signal);
        CHECK_LE(std::abs(sums.signal - whole.signal), 1e-12 * whole.signal);
        CHECK(sums.offAlphabet == whole.offAlphabet);
      }
}

void whatIsNotFiniteIsNamed() {
  std::vector<float> w(64 * 8, 0.5F);
  w[40 * 8 + 3] = std::numeric_limits<float>::quiet_NaN();
  Packed packed = room(PackedOrder::NeuronMajor, 4, NumberType::Float32, 64, 8, 1);
  AlphabetOptions alphabet;
  alphabet.grid = Grid::Asymmetric;
  alphabet.groupSize = 8;
  JobControl control;
  try {
    roundRows({reinterpret_cast<unsigned char*>(w.data()), NumberType::Float32, 64, 8}, alphabet, ScaleRule::Max,
              packed.view(PackedOrder::NeuronMajor, 4, NumberType::Float32, 64), 2, control);
    CHECK(false);
  } catch (const Error& error) {
    CHECK(error.code() == "ERR_VERTEXQ_NOT_FINITE");
    CHECK(std::string(error.what()).find("neuron 40, input 3 is NaN") != std::string::npos);
  }
}

}  // namespace

TEST_CASE("packs every code") { packsEveryCode(); }
TEST_CASE("unpacks what was packed") { unpacksWhatWasPacked(); }
TEST_CASE("rounds any shape") { roundsAnyShape(); }
TEST_CASE("rounds as groups by themselves") { roundsAsGroupsByThemselves(); }
TEST_CASE("rounds inputs piece by piece") { roundsInputsPieceByPiece(); }
TEST_CASE("what is not finite is named") { whatIsNotFiniteIsNamed(); }
