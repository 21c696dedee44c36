// BLAS and LAPACK under one name for float and double, column-major, so that a kernel is written once for both.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <new>

#include "linalg/openblas.h"

namespace vertexq::linalg {

/** BLAS counts in int; every dimension of this library is below 2^31 (addon/arguments.h). */
inline int dim(std::size_t n) { return static_cast<int>(n); }

inline constexpr CBLAS_TRANSPOSE kPlain = CblasNoTrans;
inline constexpr CBLAS_TRANSPOSE kTransposed = CblasTrans;

/** Throws std::bad_alloc where LAPACKE found no memory for its workspace. */
inline void requireWorkspace(lapack_int info) {
  if (info == LAPACK_WORK_MEMORY_ERROR || info == LAPACK_TRANSPOSE_MEMORY_ERROR) throw std::bad_alloc();
}

/** C ← alpha·op(A)·op(B) + beta·C, where C is m × n and the inner dimension is k. */
inline void gemm(CBLAS_TRANSPOSE opA, CBLAS_TRANSPOSE opB, std::size_t m, std::size_t n, std::size_t k, double alpha,
                 const double* a, std::size_t lda, const double* b, std::size_t ldb, double beta, double* c,
                 std::size_t ldc) {
  cblas_dgemm(CblasColMajor, opA, opB, dim(m), dim(n), dim(k), alpha, a, dim(lda), b, dim(ldb), beta, c, dim(ldc));
}
inline void gemm(CBLAS_TRANSPOSE opA, CBLAS_TRANSPOSE opB, std::size_t m, std::size_t n, std::size_t k, float alpha,
                 const float* a, std::size_t lda, const float* b, std::size_t ldb, float beta, float* c,
                 std::size_t ldc) {
  cblas_sgemm(CblasColMajor, opA, opB, dim(m), dim(n), dim(k), alpha, a, dim(lda), b, dim(ldb), beta, c, dim(ldc));
}

/** y ← alpha·op(A)·x + beta·y, where A is m × n. */
inline void gemv(CBLAS_TRANSPOSE op, std::size_t m, std::size_t n, double alpha, const double* a, std::size_t lda,
                 const double* x, double beta, double* y) {
  cblas_dgemv(CblasColMajor, op, dim(m), dim(n), alpha, a, dim(lda), x, 1, beta, y, 1);
}
inline void gemv(CBLAS_TRANSPOSE op, std::size_t m, std::size_t n, float alpha, const float* a, std::size_t lda,
                 const float* x, float beta, float* y) {
  cblas_sgemv(CblasColMajor, op, dim(m), dim(n), alpha, a, dim(lda), x, 1, beta, y, 1);
}

/** B ← op(A)⁻¹·B (left) or B·op(A)⁻¹ (right), A triangular, B m × n. */
inline void trsm(CBLAS_SIDE side, CBLAS_UPLO uplo, CBLAS_TRANSPOSE op, CBLAS_DIAG diag, std::size_t m, std::size_t n,
                 const double* a, std::size_t lda, double* b, std::size_t ldb) {
  cblas_dtrsm(CblasColMajor, side, uplo, op, diag, dim(m), dim(n), 1, a, dim(lda), b, dim(ldb));
}
inline void trsm(CBLAS_SIDE side, CBLAS_UPLO uplo, CBLAS_TRANSPOSE op, CBLAS_DIAG diag, std::size_t m, std::size_t n,
                 const float* a, std::size_t lda, float* b, std::size_t ldb) {
  cblas_strsm(CblasColMajor, side, uplo, op, diag, dim(m), dim(n), 1, a, dim(lda), b, dim(ldb));
}

/** x ← op(A)⁻¹·x, A triangular of order n. */
inline void trsv(CBLAS_UPLO uplo, CBLAS_TRANSPOSE op, CBLAS_DIAG diag, std::size_t n, const double* a, std::size_t lda,
                 double* x) {
  cblas_dtrsv(CblasColMajor, uplo, op, diag, dim(n), a, dim(lda), x, 1);
}
inline void trsv(CBLAS_UPLO uplo, CBLAS_TRANSPOSE op, CBLAS_DIAG diag, std::size_t n, const float* a, std::size_t lda,
                 float* x) {
  cblas_strsv(CblasColMajor, uplo, op, diag, dim(n), a, dim(lda), x, 1);
}

/** C ← alpha·op(A)·op(A)ᵀ + beta·C on one triangle; C is n × n and the inner dimension is k. */
inline void syrk(CBLAS_UPLO uplo, CBLAS_TRANSPOSE op, std::size_t n, std::size_t k, double alpha, const double* a,
                 std::size_t lda, double beta, double* c, std::size_t ldc) {
  cblas_dsyrk(CblasColMajor, uplo, op, dim(n), dim(k), alpha, a, dim(lda), beta, c, dim(ldc));
}
inline void syrk(CBLAS_UPLO uplo, CBLAS_TRANSPOSE op, std::size_t n, std::size_t k, float alpha, const float* a,
                 std::size_t lda, float beta, float* c, std::size_t ldc) {
  cblas_ssyrk(CblasColMajor, uplo, op, dim(n), dim(k), alpha, a, dim(lda), beta, c, dim(ldc));
}

inline void axpy(std::size_t n, double alpha, const double* x, double* y) { cblas_daxpy(dim(n), alpha, x, 1, y, 1); }
inline void axpy(std::size_t n, float alpha, const float* x, float* y) { cblas_saxpy(dim(n), alpha, x, 1, y, 1); }

/** x ← 2^exponent·x, rounded once; |exponent| < 4000. */
inline void timesPower(std::size_t n, int exponent, double* x) {
  if (exponent == 0) return;
  if (std::abs(exponent) < 1022) {
    // A number of full precision: a product is what ldexp, a call for each, gives.
    const double factor = std::ldexp(1.0, exponent);
    for (std::size_t i = 0; i < n; ++i) x[i] *= factor;
  } else {
    for (std::size_t i = 0; i < n; ++i) x[i] = std::ldexp(x[i], exponent);
  }
}

inline double dot(std::size_t n, const double* x, const double* y) { return cblas_ddot(dim(n), x, 1, y, 1); }
inline float dot(std::size_t n, const float* x, const float* y) { return cblas_sdot(dim(n), x, 1, y, 1); }

/** Cholesky factorisation in place of the triangle `uplo` ('U' or 'L'). Returns LAPACK's info: > 0 if not positive definite. */
inline lapack_int potrf(char uplo, std::size_t n, double* a, std::size_t lda) {
  return LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, uplo, dim(n), a, dim(lda));
}
inline lapack_int potrf(char uplo, std::size_t n, float* a, std::size_t lda) {
  return LAPACKE_spotrf_work(LAPACK_COL_MAJOR, uplo, dim(n), a, dim(lda));
}

}  // namespace vertexq::linalg
