// A matrix stored in the order in which a product with it reads it.
#pragma once

#include <cstddef>

#include "linalg/aligned_buffer.h"

namespace vertexq::linalg {

/** Rows of a strip: two vectors of the widest kind. */
template <typename Real>
inline constexpr std::size_t kStripRows = 128 / sizeof(Real);

/**
 * rows × columns, cut into strips of kStripRows rows: a strip holds its part of column after column, without gaps. So a product
 * of some columns with a few vectors streams through each strip, and a row lies at a constant, short distance: what BLAS copies a
 * matrix for at every call is done once, as its columns are written.
 */
template <typename Real>
class StripMatrix {
 public:
  static constexpr std::size_t kRows = kStripRows<Real>;

  StripMatrix() = default;
  StripMatrix(std::size_t rows, std::size_t columns)
      : strips_((rows + kRows - 1) / kRows),
        stride_((columns | 1) * kRows),  // never a power of two: the parts of a column would share sets of the cache
        data_(strips_ * stride_) {}

  std::size_t strips() const { return strips_; }
  /** Between a strip and the next. */
  std::size_t stride() const { return stride_; }
  /** Of a whole vector: the rows with what the last strip pads. */
  std::size_t paddedRows() const { return strips_ * kRows; }
  std::size_t bytes() const { return data_.bytes(); }

  /** Column j's part of the first strip. */
  Real* column(std::size_t j) { return data_.data() + j * kRows; }
  const Real* column(std::size_t j) const { return data_.data() + j * kRows; }

  Real& operator()(std::size_t i, std::size_t j) { return data_[offset(i, j)]; }
  Real operator()(std::size_t i, std::size_t j) const { return data_[offset(i, j)]; }

 private:
  std::size_t offset(std::size_t i, std::size_t j) const { return i / kRows * stride_ + j * kRows + i % kRows; }

  std::size_t strips_ = 0;
  std::size_t stride_ = 0;
  AlignedBuffer<Real> data_;
};

}  // namespace vertexq::linalg
