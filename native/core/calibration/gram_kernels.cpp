#include "calibration/gram_kernels.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "linalg/simd.h"
#include "linalg/strip_matrix.h"

namespace vertexq {

namespace {

/**
 * Column maxima between which float32 products will do. Above, 512 squares may pass 2^128. Below, a product that underflows
 * (off by 2^-126, where subnormals are flushed) is no longer below a rounding error of the column's own square, 2^-90.
 */
constexpr float kLargestNarrow = 0x1p59f;
constexpr float kSmallestNarrow = 0x1p-45f;

std::int32_t magnitudeBits(float value) {
  std::int32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits & 0x7fffffff;
}

/** peaks_j ← max(peaks_j, |x_j| over the rows), as bits: their order is that of the numbers, NaN above infinity. */
VERTEXQ_INLINE void peaksBody(const float* rows, std::size_t count, std::size_t n,
                              std::int32_t* VERTEXQ_RESTRICT peaks) {
  for (std::size_t i = 0; i < count; ++i, rows += n)
    for (std::size_t j = 0; j < n; ++j) {
      std::int32_t bits;
      std::memcpy(&bits, rows + j, sizeof bits);
      bits &= 0x7fffffff;
      peaks[j] = bits > peaks[j] ? bits : peaks[j];
    }
}

/** sums -= products, columns of `rows` entries. */
template <typename Real>
VERTEXQ_INLINE void widenBody(const Real* VERTEXQ_RESTRICT products, std::size_t rows, std::size_t cols,
                              double* VERTEXQ_RESTRICT sums, std::size_t distance) {
  constexpr std::size_t side = linalg::kStripRows<Real>;
  for (std::size_t j = 0; j < cols; ++j, products += side, sums += distance) {
    if (rows == side)
      for (std::size_t i = 0; i < side; ++i) sums[i] -= static_cast<double>(products[i]);
    else
      for (std::size_t i = 0; i < rows; ++i) sums[i] -= static_cast<double>(products[i]);
  }
}

void peaksPortable(const float* rows, std::size_t count, std::size_t n, std::int32_t* peaks) {
  peaksBody(rows, count, n, peaks);
}
VERTEXQ_AVX512 void peaksAvx512(const float* rows, std::size_t count, std::size_t n, std::int32_t* peaks) {
  peaksBody(rows, count, n, peaks);
}
VERTEXQ_AVX2 void peaksAvx2(const float* rows, std::size_t count, std::size_t n, std::int32_t* peaks) {
  peaksBody(rows, count, n, peaks);
}

template <typename Real>
struct Widen {
  static void portable(const Real* p, std::size_t rows, std::size_t cols, double* sums, std::size_t distance) {
    widenBody(p, rows, cols, sums, distance);
  }
  VERTEXQ_AVX2 static void avx2(const Real* p, std::size_t rows, std::size_t cols, double* sums, std::size_t distance) {
    widenBody(p, rows, cols, sums, distance);
  }
  VERTEXQ_AVX512 static void avx512(const Real* p, std::size_t rows, std::size_t cols, double* sums,
                                    std::size_t distance) {
    widenBody(p, rows, cols, sums, distance);
  }
};

}  // namespace

template <typename Real>
void subtractWidened(const Real* products, std::size_t rows, std::size_t cols, double* sums, std::size_t distance) {
  linalg::forInstructionSet(Widen<Real>::avx512, Widen<Real>::avx2, Widen<Real>::portable)(products, rows, cols, sums,
                                                                                           distance);
}

template void subtractWidened(const float*, std::size_t, std::size_t, double*, std::size_t);
template void subtractWidened(const double*, std::size_t, std::size_t, double*, std::size_t);

Verdict judge(const float* rows, std::size_t count, std::size_t n) {
  std::vector<std::int32_t> peaks(n);
  linalg::forInstructionSet(peaksAvx512, peaksAvx2, peaksPortable)(rows, count, n, peaks.data());
  const std::int32_t infinity = magnitudeBits(std::numeric_limits<float>::infinity());
  const std::int32_t largest = magnitudeBits(kLargestNarrow), smallest = magnitudeBits(kSmallestNarrow);
  Verdict verdict{true, true};
  for (const std::int32_t peak : peaks) {
    if (peak >= infinity) verdict.finite = false;
    if (peak > largest || (peak != 0 && peak < smallest)) verdict.narrow = false;
  }
  return verdict;
}

Verdict judge(const double* rows, std::size_t count, std::size_t n) {
  bool bad = false;
  for (std::size_t i = 0; i < count * n; ++i) bad |= !(std::abs(rows[i]) <= std::numeric_limits<double>::max());
  return {!bad, false};
}

}  // namespace vertexq
