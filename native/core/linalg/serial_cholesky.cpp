#include "linalg/serial_cholesky.h"

#include <algorithm>
#include <cmath>

#include "linalg/panel_update.h"
#include "linalg/real_blas.h"
#include "linalg/simd.h"

namespace vertexq::linalg {

namespace {

/** Columns of a panel: wide enough for GEMM. */
constexpr std::size_t kPanelWidth = 64;
/** Columns that are brought up to date together within a panel. */
constexpr std::size_t kStrip = 8;

/**
 * Factors a panel, `rows` × `width`, its triangle on top; rows is padded as by paddedRows. What is above the diagonal is scratch.
 */
template <typename Real, std::size_t Bytes, std::size_t Columns>
VERTEXQ_INLINE bool factorPanelBody(std::size_t rows, std::size_t width, Real* v, std::size_t ld) {
  constexpr std::size_t grain = 128 / sizeof(Real);
  Real factors[kPanelWidth * kStrip];
  for (std::size_t first = 0; first < width; first += kStrip) {
    const std::size_t columns = std::min(kStrip, width - first);
    const std::size_t top = first / grain * grain;
    Real* strip = v + top + first * ld;
    for (std::size_t e = 0; e < first; ++e)
      for (std::size_t c = 0; c < columns; ++c) factors[e * kStrip + c] = v[first + c + e * ld];
    updatePanel<Real, Bytes, Columns>(rows - top, first, columns, v + top, ld, factors, kStrip, strip, ld);
    for (std::size_t c = 0; c < columns; ++c) {
      const std::size_t j = first + c;
      for (std::size_t d = 0; d < c; ++d) factors[d] = v[j + (first + d) * ld];
      updateStrip<Real, Bytes, 1>(rows - top, c, strip, ld, factors, 1, strip + c * ld, ld);
      const Real pivot = v[j + j * ld];
      if (!(pivot > 0)) return false;
      const Real root = std::sqrt(pivot), inverse = 1 / root;
      for (std::size_t i = top; i < rows; ++i) v[i + j * ld] *= inverse;
      v[j + j * ld] = root;
    }
  }
  return true;
}

template <typename Real>
struct Panel {
  static bool portable(std::size_t rows, std::size_t width, Real* v, std::size_t ld) {
    return factorPanelBody<Real, 16, 2>(rows, width, v, ld);
  }
  VERTEXQ_AVX2 static bool avx2(std::size_t rows, std::size_t width, Real* v, std::size_t ld) {
    return factorPanelBody<Real, 32, 4>(rows, width, v, ld);
  }
  VERTEXQ_AVX512 static bool avx512(std::size_t rows, std::size_t width, Real* v, std::size_t ld) {
    return factorPanelBody<Real, 64, 8>(rows, width, v, ld);
  }
};

}  // namespace

template <typename Real>
SerialCholesky<Real>::SerialCholesky(std::size_t maxOrder)
    : panel_(paddedRows<Real>(maxOrder) * std::min(maxOrder, kPanelWidth)) {}

template <typename Real>
bool SerialCholesky<Real>::factor(std::size_t n, Real* a, std::size_t lda) {
  const auto factorPanel = forInstructionSet(Panel<Real>::avx512, Panel<Real>::avx2, Panel<Real>::portable);
  for (std::size_t first = 0; first < n; first += kPanelWidth) {
    const std::size_t width = std::min(kPanelWidth, n - first), rows = n - first;
    const std::size_t ld = paddedRows<Real>(rows);
    Real* panel = panel_.data();
    for (std::size_t j = 0; j < width; ++j) {
      Real* column = panel + j * ld;
      std::fill_n(column, j, Real(0));
      std::copy_n(a + first + j + (first + j) * lda, rows - j, column + j);
      std::fill(column + rows, column + ld, Real(0));
    }
    if (first > 0)
      gemm(kPlain, kTransposed, rows, width, first, Real(-1), a + first, lda, a + first, lda, Real(1), panel, ld);
    if (!factorPanel(ld, width, panel, ld)) return false;
    for (std::size_t j = 0; j < width; ++j)
      std::copy_n(panel + j + j * ld, rows - j, a + first + j + (first + j) * lda);
  }
  return true;
}

template class SerialCholesky<float>;
template class SerialCholesky<double>;

}  // namespace vertexq::linalg
