// The product of two thin matrices, in registers.
#pragma once

#include <cstddef>

#include "linalg/lanes.h"
#include "linalg/simd.h"

namespace vertexq::linalg {

/** `Columns` columns of V at once, two vectors of rows in registers: Y is read once for all of them. */
template <typename Real, std::size_t Bytes, std::size_t Columns>
VERTEXQ_INLINE void updateStrip(std::size_t n, std::size_t depth, const Real* y, std::size_t ldy, const Real* a,
                                std::size_t lda, Real* v, std::size_t ldv) {
  using L = linalg::Lanes<Real, Bytes>;
  using V = typename L::type;
  for (std::size_t k = 0; k < n; k += 2 * L::count) {
    V first[Columns], second[Columns];
    for (std::size_t c = 0; c < Columns; ++c) {
      first[c] = load<V>(v + c * ldv + k);
      second[c] = load<V>(v + c * ldv + k + L::count);
    }
    for (std::size_t e = 0; e < depth; ++e) {
      const V y1 = load<V>(y + e * ldy + k), y2 = load<V>(y + e * ldy + k + L::count);
      for (std::size_t c = 0; c < Columns; ++c) {
        const Real factor = a[e * lda + c];
        first[c] -= y1 * factor;
        second[c] -= y2 * factor;
      }
    }
    for (std::size_t c = 0; c < Columns; ++c) {
      store(v + c * ldv + k, first[c]);
      store(v + c * ldv + k + L::count, second[c]);
    }
  }
}

/**
 * V ← V - Y·A: V n × columns, Y n × depth (column-major, distances ldv, ldy), A depth × columns, row-major (lda). n is a multiple
 * of two vectors. As fast as GEMM while Y stays in the cache. The body of a kernel (simd.h).
 */
template <typename Real, std::size_t Bytes, std::size_t Columns>
VERTEXQ_INLINE void updatePanel(std::size_t n, std::size_t depth, std::size_t columns, const Real* y, std::size_t ldy,
                                const Real* a, std::size_t lda, Real* v, std::size_t ldv) {
  std::size_t c = 0;
  for (; c + Columns <= columns; c += Columns)
    updateStrip<Real, Bytes, Columns>(n, depth, y, ldy, a + c, lda, v + c * ldv, ldv);
  for (; c + 2 <= columns; c += 2) updateStrip<Real, Bytes, 2>(n, depth, y, ldy, a + c, lda, v + c * ldv, ldv);
  if (c < columns) updateStrip<Real, Bytes, 1>(n, depth, y, ldy, a + c, lda, v + c * ldv, ldv);
}

}  // namespace vertexq::linalg
