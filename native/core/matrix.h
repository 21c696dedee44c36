// Dense matrices as LAPACK likes them.
#pragma once

#include <cstddef>
#include <vector>

namespace vertexq {

/** A column-major rows × cols matrix of doubles; element (i, j) is at data[i + j·rows]. */
class Matrix {
 public:
  Matrix() = default;
  Matrix(std::size_t rows, std::size_t cols) : rows_(rows), cols_(cols), data_(rows * cols) {}

  std::size_t rows() const { return rows_; }
  std::size_t cols() const { return cols_; }
  double* data() { return data_.data(); }
  const double* data() const { return data_.data(); }
  double* column(std::size_t j) { return data_.data() + j * rows_; }
  const double* column(std::size_t j) const { return data_.data() + j * rows_; }
  double& operator()(std::size_t i, std::size_t j) { return data_[i + j * rows_]; }
  double operator()(std::size_t i, std::size_t j) const { return data_[i + j * rows_]; }

 private:
  std::size_t rows_ = 0;
  std::size_t cols_ = 0;
  std::vector<double> data_;
};

}  // namespace vertexq
