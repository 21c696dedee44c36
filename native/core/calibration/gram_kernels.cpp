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

/** Rows that are read side by side: what they become lies together, and they are few enough to be fetched ahead. */
constexpr std::size_t kRowsAtOnce = 8;

template <typename Real, typename From>
VERTEXQ_INLINE void packBody(const From* VERTEXQ_RESTRICT rows, std::size_t count, std::size_t n,
                             Real* VERTEXQ_RESTRICT to, std::size_t stride) {
  constexpr std::size_t height = linalg::kStripRows<Real>;
  for (std::size_t top = 0; top < count; top += kRowsAtOnce) {
    const std::size_t end = top + kRowsAtOnce < count ? top + kRowsAtOnce : count;
    Real* strip = to;
    std::size_t i = 0;
    for (; i + height <= n; i += height, strip += stride)
      for (std::size_t k = top; k < end; ++k)
        for (std::size_t j = 0; j < height; ++j) strip[k * height + j] = static_cast<Real>(rows[k * n + i + j]);
    if (i == n) continue;
    for (std::size_t k = top; k < end; ++k)
      for (std::size_t j = 0; j < height; ++j)
        strip[k * height + j] = i + j < n ? static_cast<Real>(rows[k * n + i + j]) : Real(0);
  }
}

template <typename Real>
VERTEXQ_INLINE void widenBody(const Real* VERTEXQ_RESTRICT products, std::size_t rows, std::size_t cols,
                              double* VERTEXQ_RESTRICT sums, std::size_t distance) {
  constexpr std::size_t side = linalg::kStripRows<Real>;
  for (std::size_t j = 0; j < cols; ++j, products += side, sums += distance) {
    const Real* strip = products;
    std::size_t i = 0;
    for (; i + side <= rows; i += side, strip += side * side)
      for (std::size_t k = 0; k < side; ++k) sums[i + k] -= static_cast<double>(strip[k]);
    for (std::size_t k = 0; i + k < rows; ++k) sums[i + k] -= static_cast<double>(strip[k]);
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

template <typename Real, typename From>
struct Pack {
  static void portable(const From* rows, std::size_t count, std::size_t n, Real* to, std::size_t stride) {
    packBody(rows, count, n, to, stride);
  }
  VERTEXQ_AVX2 static void avx2(const From* rows, std::size_t count, std::size_t n, Real* to, std::size_t stride) {
    packBody(rows, count, n, to, stride);
  }
  VERTEXQ_AVX512 static void avx512(const From* rows, std::size_t count, std::size_t n, Real* to, std::size_t stride) {
    packBody(rows, count, n, to, stride);
  }
};

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

template <typename Real, typename From>
void packRows(const From* rows, std::size_t count, std::size_t n, linalg::StripMatrix<Real>& to, std::size_t first) {
  using Kernels = Pack<Real, From>;
  const linalg::Strips<Real> columns = to.columns(first);
  linalg::forInstructionSet(Kernels::avx512, Kernels::avx2, Kernels::portable)(rows, count, n, columns.first,
                                                                               columns.stride);
}

template void packRows(const float*, std::size_t, std::size_t, linalg::StripMatrix<float>&, std::size_t);
template void packRows(const float*, std::size_t, std::size_t, linalg::StripMatrix<double>&, std::size_t);
template void packRows(const double*, std::size_t, std::size_t, linalg::StripMatrix<double>&, std::size_t);

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
