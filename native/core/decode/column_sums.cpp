#include "decode/column_sums.h"

#include "linalg/simd.h"

namespace vertexq {

namespace {

template <typename Real>
VERTEXQ_INLINE void addColumnsBody(const BasicMatrix<Real>& a, const std::size_t* columns, std::size_t count,
                                   const Real* coefficients, Real* VERTEXQ_RESTRICT y) {
  const std::size_t n = a.rows();
  std::size_t j = 0;
  // Four at a time: y is loaded and stored once for four products.
  for (; j + 4 <= count; j += 4) {
    const Real* VERTEXQ_RESTRICT a0 = a.column(columns[j]);
    const Real* VERTEXQ_RESTRICT a1 = a.column(columns[j + 1]);
    const Real* VERTEXQ_RESTRICT a2 = a.column(columns[j + 2]);
    const Real* VERTEXQ_RESTRICT a3 = a.column(columns[j + 3]);
    const Real c0 = coefficients[columns[j]], c1 = coefficients[columns[j + 1]];
    const Real c2 = coefficients[columns[j + 2]], c3 = coefficients[columns[j + 3]];
    for (std::size_t i = 0; i < n; ++i) y[i] += (c0 * a0[i] + c1 * a1[i]) + (c2 * a2[i] + c3 * a3[i]);
  }
  for (; j < count; ++j) {
    const Real* VERTEXQ_RESTRICT a0 = a.column(columns[j]);
    const Real c0 = coefficients[columns[j]];
    for (std::size_t i = 0; i < n; ++i) y[i] += c0 * a0[i];
  }
}

template <typename Real>
void addColumnsPortable(const BasicMatrix<Real>& a, const std::size_t* columns, std::size_t count, const Real* c,
                        Real* y) {
  addColumnsBody(a, columns, count, c, y);
}
template <typename Real>
VERTEXQ_AVX2 void addColumnsAvx2(const BasicMatrix<Real>& a, const std::size_t* columns, std::size_t count,
                                 const Real* c, Real* y) {
  addColumnsBody(a, columns, count, c, y);
}
template <typename Real>
VERTEXQ_AVX512 void addColumnsAvx512(const BasicMatrix<Real>& a, const std::size_t* columns, std::size_t count,
                                     const Real* c, Real* y) {
  addColumnsBody(a, columns, count, c, y);
}

}  // namespace

template <typename Real>
void addColumns(const BasicMatrix<Real>& a, const std::size_t* columns, std::size_t count, const Real* coefficients,
                Real* y) {
  switch (linalg::instructionSet()) {
    case linalg::InstructionSet::Avx512:
      return addColumnsAvx512(a, columns, count, coefficients, y);
    case linalg::InstructionSet::Avx2:
      return addColumnsAvx2(a, columns, count, coefficients, y);
    case linalg::InstructionSet::Portable:
      break;
  }
  addColumnsPortable(a, columns, count, coefficients, y);
}

template void addColumns(const FloatMatrix&, const std::size_t*, std::size_t, const float*, float*);
template void addColumns(const Matrix&, const std::size_t*, std::size_t, const double*, double*);

}  // namespace vertexq
