// A matrix stored in the order in which a product with it reads it.
#pragma once

#include <cstddef>

#include "linalg/aligned_buffer.h"

namespace vertexq::linalg {

/** Rows of a strip: two vectors of the widest kind. */
template <typename Real>
inline constexpr std::size_t kStripRows = 128 / sizeof(Real);

/** Parts of columns, from strip to strip `stride` numbers apart; within a strip a column follows the other. */
template <typename Real>
struct Strips {
  Real* first;
  std::size_t stride;
};

template <typename Real>
struct Strips<const Real> {
  const Real* first = nullptr;
  std::size_t stride = 0;
  Strips() = default;
  Strips(const Real* from, std::size_t distance) : first(from), stride(distance) {}
  Strips(const Strips<Real>& strips) : first(strips.first), stride(strips.stride) {}
  /** Row i of the first column. */
  const Real& row(std::size_t i) const { return first[i / kStripRows<Real> * stride + i % kStripRows<Real>]; }
};

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
  StripMatrix(std::size_t rows, std::size_t columns) : StripMatrix(rows, columns, Uninitialised()) { data_.clear(); }
  StripMatrix(std::size_t rows, std::size_t columns, Uninitialised)
      : strips_((rows + kRows - 1) / kRows),
        stride_((columns | 1) * kRows),  // never a power of two: the parts of a column would share sets of the cache
        data_(strips_ * stride_, Uninitialised()) {}

  std::size_t strips() const { return strips_; }
  /** Of a whole vector: the rows with what the last strip pads. */
  std::size_t paddedRows() const { return strips_ * kRows; }
  std::size_t bytes() const { return data_.bytes(); }

  /** From column j on, in all strips or from the given one on. */
  Strips<Real> columns(std::size_t j, std::size_t strip = 0) {
    return {data_.data() + strip * stride_ + j * kRows, stride_};
  }
  Strips<const Real> columns(std::size_t j, std::size_t strip = 0) const {
    return {data_.data() + strip * stride_ + j * kRows, stride_};
  }

  Real& operator()(std::size_t i, std::size_t j) { return data_[offset(i, j)]; }
  Real operator()(std::size_t i, std::size_t j) const { return data_[offset(i, j)]; }

 private:
  std::size_t offset(std::size_t i, std::size_t j) const { return i / kRows * stride_ + j * kRows + i % kRows; }

  std::size_t strips_ = 0;
  std::size_t stride_ = 0;
  AlignedBuffer<Real> data_;
};

}  // namespace vertexq::linalg
