// Cholesky factorisation of small matrices, on one thread.
#pragma once

#include <cstddef>

#include "linalg/aligned_buffer.h"

namespace vertexq::linalg {

/**
 * A = L Lᵀ, left-looking: a panel of columns is brought up to date by GEMM and factored in registers and caches. LAPACK's
 * potrf does it with small TRSMs and takes 1.1 to 2 times as long from 50 to 1,500 rows (float32).
 */
template <typename Real>
class SerialCholesky {
 public:
  /** For matrices of at most `maxOrder` rows: workspace of some 64·maxOrder numbers. */
  explicit SerialCholesky(std::size_t maxOrder);

  /**
   * L in place of A's lower triangle, `n` × `n`, column-major with distance lda; the upper triangle is not touched. False if a
   * pivot is not positive, and then the triangle is partly overwritten.
   */
  bool factor(std::size_t n, Real* a, std::size_t lda);

 private:
  AlignedBuffer<Real> panel_;
};

}  // namespace vertexq::linalg
