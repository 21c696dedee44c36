// Workspace for vector kernels.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <new>

namespace vertexq::linalg {

struct Uninitialised {};

/**
 * `size` elements that begin on a cache line, zeroed unless asked for otherwise. Never grows: a kernel's workspace is sized before
 * its loops.
 */
template <typename Real>
class AlignedBuffer {
 public:
  static constexpr std::size_t kAlignment = 64;

  AlignedBuffer() = default;
  explicit AlignedBuffer(std::size_t size) : AlignedBuffer(size, Uninitialised()) { clear(); }
  AlignedBuffer(std::size_t size, Uninitialised)
      : size_(size),
        data_(static_cast<Real*>(
            ::operator new(std::max<std::size_t>(size, 1) * sizeof(Real), std::align_val_t(kAlignment)))) {}

  std::size_t size() const { return size_; }
  std::size_t bytes() const { return size_ * sizeof(Real); }
  Real* data() { return data_.get(); }
  const Real* data() const { return data_.get(); }
  Real& operator[](std::size_t i) { return data_.get()[i]; }
  Real operator[](std::size_t i) const { return data_.get()[i]; }
  void clear() { std::fill_n(data_.get(), size_, Real(0)); }

 private:
  struct Delete {
    void operator()(Real* data) const { ::operator delete(data, std::align_val_t(kAlignment)); }
  };
  std::size_t size_ = 0;
  std::unique_ptr<Real, Delete> data_;
};

/**
 * The distance between columns of `rows` elements: whole vectors of the widest kind, two at a time, and never a multiple of a
 * power of two that would put the elements of a row all in one set of the cache.
 */
template <typename Real>
std::size_t paddedRows(std::size_t rows) {
  constexpr std::size_t unit = 128 / sizeof(Real);
  const std::size_t padded = (rows + unit - 1) / unit * unit;
  return padded * sizeof(Real) % 1024 == 0 ? padded + unit : padded;
}

}  // namespace vertexq::linalg
