// Dense matrices as LAPACK likes them.
#pragma once

#include <cstddef>
#include <vector>

namespace vertexq {

/** A column-major rows × cols matrix of float or double; element (i, j) is at data[i + j·rows]. */
template <typename Real>
class BasicMatrix {
 public:
  BasicMatrix() = default;
  BasicMatrix(std::size_t rows, std::size_t cols) : rows_(rows), cols_(cols), data_(rows * cols) {}

  std::size_t rows() const { return rows_; }
  std::size_t cols() const { return cols_; }
  Real* data() { return data_.data(); }
  const Real* data() const { return data_.data(); }
  Real* column(std::size_t j) { return data_.data() + j * rows_; }
  const Real* column(std::size_t j) const { return data_.data() + j * rows_; }
  Real& operator()(std::size_t i, std::size_t j) { return data_[i + j * rows_]; }
  Real operator()(std::size_t i, std::size_t j) const { return data_[i + j * rows_]; }

 private:
  std::size_t rows_ = 0;
  std::size_t cols_ = 0;
  std::vector<Real> data_;
};

using Matrix = BasicMatrix<double>;
using FloatMatrix = BasicMatrix<float>;

}  // namespace vertexq
