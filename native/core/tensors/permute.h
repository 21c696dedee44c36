// Tensors in another order of their dimensions.
#pragma once

#include <cstddef>
#include <vector>

#include "parallel/job_control.h"

namespace vertexq {

/**
 * Puts the dimensions of a row-major tensor in another order: dimension i of the result is dimension order[i] of `dims`, a permutation.
 * Elements have 1, 2, 4 or 8 bytes, and may lie anywhere.
 */
class Permutation {
 public:
  Permutation(std::size_t elementSize, const std::vector<std::size_t>& dims, const std::vector<std::size_t>& order);

  /** Pieces that the work falls into, each of about 2^16 elements. */
  std::size_t pieces() const { return (tiles_ + tilesEach_ - 1) / tilesEach_; }

  /** The pieces from `first` up to before `last`, of those that there are. The arrays must not overlap. Throws Cancelled. */
  void run(const void* from, void* to, std::size_t first, std::size_t last, unsigned threads,
           const JobControl& control) const;

 private:
  /** A dimension of the result, and how far apart its elements are, in elements. */
  struct Axis {
    std::size_t size, from, to;
  };
  /** Where a tile begins, in elements. */
  struct Place {
    std::size_t from, to;
  };

  void reduce(const std::vector<std::size_t>& dims, const std::vector<std::size_t>& order);
  Place placeOf(std::size_t index) const;
  void runTile(std::size_t tile, const unsigned char* from, unsigned char* to) const;

  std::size_t elementSize_;
  /** Those that tiles lie along. */
  std::vector<Axis> outer_;
  /** Of a tile: where rows run along both, `columns_` is of one element. */
  Axis rows_{1, 1, 1}, columns_{1, 1, 1};
  std::size_t side_ = 1;  // elements of a tile along rows and columns; of runs, all
  std::size_t down_ = 1, across_ = 1, tiles_ = 0, tilesEach_ = 1;
};

/** to[c·toStride + r] = from[r·fromStride + c] of rows × cols elements; strides in elements. */
void transposeBlock(std::size_t elementSize, const void* from, std::size_t fromStride, std::size_t rows,
                    std::size_t cols, void* to, std::size_t toStride);

}  // namespace vertexq
