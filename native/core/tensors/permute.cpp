#include "tensors/permute.h"

#include <algorithm>
#include <cstring>

#include "linalg/simd.h"
#include "parallel/thread_pool.h"

namespace vertexq {

namespace {

/** A dimension of the result, and how far apart its elements are, in elements. */
struct Axis {
  std::size_t size, from, to;
};

/** The dimensions of the result, as few as tell the same: without those of size 1, and with neighbours that stay neighbours as one. */
std::vector<Axis> axesOf(const std::vector<std::size_t>& dims, const std::vector<std::size_t>& order) {
  std::vector<std::size_t> strides(dims.size());
  std::size_t stride = 1;
  for (std::size_t i = dims.size(); i-- > 0; stride *= dims[i]) strides[i] = stride;
  std::vector<Axis> axes;
  for (const std::size_t axis : order) {
    if (dims[axis] == 1) continue;
    if (!axes.empty() && axes.back().from == dims[axis] * strides[axis]) {
      axes.back().size *= dims[axis];
      axes.back().from = strides[axis];
    } else {
      axes.push_back({dims[axis], strides[axis], 0});
    }
  }
  stride = 1;
  for (std::size_t i = axes.size(); i-- > 0; stride *= axes[i].size) axes[i].to = stride;
  return axes;
}

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

/** Runs tile(i) for all of them, as many a task as make about kTask elements. */
template <typename Tile>
void forEachTile(std::size_t tiles, std::size_t elements, unsigned threads, const JobControl& control, Tile tile) {
  const std::size_t each = std::max<std::size_t>(1, kTask / elements);
  ThreadPool::shared().parallelFor((tiles + each - 1) / each, threads, [&](std::size_t task, unsigned) {
    control.checkpoint();
    for (std::size_t i = task * each; i < std::min(tiles, (task + 1) * each); ++i) tile(i);
  });
}

/** Where the element is that `index` counts, over the axes but the two at the end. */
struct Place {
  std::size_t from = 0, to = 0;
  Place(const std::vector<Axis>& axes, std::size_t index) {
    for (std::size_t i = axes.size(); i-- > 0; index /= axes[i].size) {
      from += index % axes[i].size * axes[i].from;
      to += index % axes[i].size * axes[i].to;
    }
  }
};

std::size_t countOf(const std::vector<Axis>& axes) {
  std::size_t count = 1;
  for (const Axis& axis : axes) count *= axis.size;
  return count;
}

}  // namespace

void permute(std::size_t elementSize, const void* from, const std::vector<std::size_t>& dims,
             const std::vector<std::size_t>& order, void* to, unsigned threads, const JobControl& control) {
  const auto* source = static_cast<const unsigned char*>(from);
  auto* target = static_cast<unsigned char*>(to);
  for (const std::size_t dim : dims)
    if (dim == 0) return;
  std::vector<Axis> axes = axesOf(dims, order);
  // Of a tensor as it is, pieces.
  if (axes.size() < 2) {
    const std::size_t bytes = elementSize * (axes.empty() ? 1 : axes[0].size), piece = kTask * elementSize;
    return forEachTile((bytes + piece - 1) / piece, kTask, threads, control, [&](std::size_t i) {
      std::memcpy(target + i * piece, source + i * piece, std::min(piece, bytes - i * piece));
    });
  }
  const Axis last = axes.back();
  axes.pop_back();
  if (last.from == 1)
    return forEachTile(countOf(axes), last.size, threads, control, [&](std::size_t i) {
      const Place place(axes, i);
      std::memcpy(target + place.to * elementSize, source + place.from * elementSize, last.size * elementSize);
    });
  const auto inner = std::find_if(axes.begin(), axes.end(), [](const Axis& axis) { return axis.from == 1; });
  const Axis columns = *inner;
  axes.erase(inner);
  Transpose* const transposed = transposeOf(elementSize);
  const std::size_t side = kSquares * 64 / elementSize;
  const std::size_t down = (last.size + side - 1) / side, across = (columns.size + side - 1) / side;
  forEachTile(countOf(axes) * down * across, std::min(side, last.size) * std::min(side, columns.size), threads, control,
              [&](std::size_t i) {
                const Place place(axes, i / (down * across));
                const std::size_t row = i / across % down * side, column = i % across * side;
                transposed(source + (place.from + row * last.from + column) * elementSize, last.from,
                           std::min(side, last.size - row), std::min(side, columns.size - column),
                           target + (place.to + row + column * columns.to) * elementSize, columns.to);
              });
}

}  // namespace vertexq
