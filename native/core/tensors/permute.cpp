#include "tensors/permute.h"

#include <algorithm>
#include <cstring>

#include "linalg/simd.h"
#include "parallel/thread_pool.h"

namespace vertexq {

namespace {

/** Elements of a side of the square that is taken at once: of a cache line, read and written as a whole. */
template <std::size_t bytes>
constexpr std::size_t kSide = 64 / bytes;
/** Squares a task has in each direction: so many pages are touched at once. */
constexpr std::size_t kSquares = 8;
/** Elements of a task, about. */
constexpr std::size_t kTask = std::size_t{1} << 16;

/** to[c·toStride + r] = from[r·fromStride + c], of elements of so many bytes. */
template <std::size_t bytes>
VERTEXQ_INLINE void square(const unsigned char* VERTEXQ_RESTRICT from, std::size_t fromStride, std::size_t rows,
                           std::size_t cols, unsigned char* VERTEXQ_RESTRICT to, std::size_t toStride) {
  constexpr std::size_t side = kSide<bytes>;
  if (rows < side || cols < side) {
    for (std::size_t c = 0; c < cols; ++c)
      for (std::size_t r = 0; r < rows; ++r)
        std::memcpy(to + (c * toStride + r) * bytes, from + (r * fromStride + c) * bytes, bytes);
    return;
  }
  unsigned char lines[side * side * bytes], line[side * bytes];
  for (std::size_t r = 0; r < side; ++r)
    std::memcpy(lines + r * side * bytes, from + r * fromStride * bytes, side * bytes);
  for (std::size_t c = 0; c < side; ++c) {
    for (std::size_t r = 0; r < side; ++r) std::memcpy(line + r * bytes, lines + (r * side + c) * bytes, bytes);
    std::memcpy(to + c * toStride * bytes, line, side * bytes);
  }
}

template <std::size_t bytes>
void transpose(const unsigned char* from, std::size_t fromStride, std::size_t rows, std::size_t cols, unsigned char* to,
               std::size_t toStride) {
  constexpr std::size_t side = kSide<bytes>;
  for (std::size_t r = 0; r < rows; r += side)
    for (std::size_t c = 0; c < cols; c += side)
      square<bytes>(from + (r * fromStride + c) * bytes, fromStride, std::min(side, rows - r), std::min(side, cols - c),
                    to + (c * toStride + r) * bytes, toStride);
}

using Transpose = void(const unsigned char*, std::size_t, std::size_t, std::size_t, unsigned char*, std::size_t);

Transpose* transposeOf(std::size_t bytes) {
  return bytes == 1 ? transpose<1> : bytes == 2 ? transpose<2> : bytes == 4 ? transpose<4> : transpose<8>;
}

}  // namespace

void transposeBlock(std::size_t elementSize, const void* from, std::size_t fromStride, std::size_t rows,
                    std::size_t cols, void* to, std::size_t toStride) {
  transposeOf(elementSize)(static_cast<const unsigned char*>(from), fromStride, rows, cols,
                           static_cast<unsigned char*>(to), toStride);
}

/** The dimensions of the result, as few as tell the same: without those of size 1, and with neighbours that stay neighbours as one. */
void Permutation::reduce(const std::vector<std::size_t>& dims, const std::vector<std::size_t>& order) {
  std::vector<std::size_t> strides(dims.size());
  std::size_t stride = 1;
  for (std::size_t i = dims.size(); i-- > 0; stride *= dims[i]) strides[i] = stride;
  for (const std::size_t axis : order) {
    if (dims[axis] == 1) continue;
    if (!outer_.empty() && outer_.back().from == dims[axis] * strides[axis]) {
      outer_.back().size *= dims[axis];
      outer_.back().from = strides[axis];
    } else {
      outer_.push_back({dims[axis], strides[axis], 0});
    }
  }
  stride = 1;
  for (std::size_t i = outer_.size(); i-- > 0; stride *= outer_[i].size) outer_[i].to = stride;
}

Permutation::Permutation(std::size_t elementSize, const std::vector<std::size_t>& dims,
                         const std::vector<std::size_t>& order)
    : elementSize_(elementSize) {
  for (const std::size_t dim : dims)
    if (dim == 0) return;
  reduce(dims, order);
  if (!outer_.empty()) {
    rows_ = outer_.back();
    outer_.pop_back();
  }
  std::size_t elements = rows_.size;
  if (rows_.from == 1) {
    // Runs, cut to pieces.
    side_ = std::min(rows_.size, kTask);
    elements = side_;
  } else {
    const auto inner = std::find_if(outer_.begin(), outer_.end(), [](const Axis& axis) { return axis.from == 1; });
    columns_ = *inner;
    outer_.erase(inner);
    side_ = kSquares * 64 / elementSize;
    across_ = (columns_.size + side_ - 1) / side_;
    elements = std::min(side_, rows_.size) * std::min(side_, columns_.size);
  }
  down_ = (rows_.size + side_ - 1) / side_;
  tiles_ = down_ * across_;
  for (const Axis& axis : outer_) tiles_ *= axis.size;
  tilesEach_ = std::max<std::size_t>(1, kTask / elements);
}

Permutation::Place Permutation::placeOf(std::size_t index) const {
  Place place{0, 0};
  for (std::size_t i = outer_.size(); i-- > 0; index /= outer_[i].size) {
    place.from += index % outer_[i].size * outer_[i].from;
    place.to += index % outer_[i].size * outer_[i].to;
  }
  return place;
}

void Permutation::runTile(std::size_t tile, const unsigned char* from, unsigned char* to) const {
  const Place place = placeOf(tile / (down_ * across_));
  const std::size_t row = tile / across_ % down_ * side_, column = tile % across_ * side_;
  from += (place.from + row * rows_.from + column * columns_.from) * elementSize_;
  to += (place.to + row * rows_.to + column * columns_.to) * elementSize_;
  const std::size_t rows = std::min(side_, rows_.size - row);
  if (rows_.from == 1)
    std::memcpy(to, from, rows * elementSize_);
  else
    transposeOf(elementSize_)(from, rows_.from, rows, std::min(side_, columns_.size - column), to, columns_.to);
}

void Permutation::run(const void* from, void* to, std::size_t first, std::size_t last, unsigned threads,
                      const JobControl& control) const {
  last = std::min(last, pieces());
  if (first >= last) return;
  ThreadPool::shared().parallelFor(last - first, threads, [&](std::size_t i, unsigned) {
    control.throwIfCancelled();
    const std::size_t begin = (first + i) * tilesEach_;
    for (std::size_t tile = begin; tile < std::min(tiles_, begin + tilesEach_); ++tile)
      runTile(tile, static_cast<const unsigned char*>(from), static_cast<unsigned char*>(to));
  });
}

}  // namespace vertexq
