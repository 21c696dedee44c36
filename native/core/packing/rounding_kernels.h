// The vectorised parts of plain rounding.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vertexq {

struct Range {
  float low, high;
  double squares;  // Σ w², to about 1e-6
};

/** Levels are the whole numbers from `least` to `most`, plus `offset` (0, or 1/2 for a zero-free alphabet), times a step. */
struct Levels {
  float least, most, offset;
};

/** What codes changed of weights: Σ (w - level)², Σ w², and how many weights are no level. */
struct Changed {
  double error, signal;
  std::size_t count;
};

/** The kernels for one instruction set. Sums are accurate to about 1e-6. */
struct RoundingKernels {
  Range (*range)(const float* w, std::size_t count);
  /** Σ (w - nearest level)², in steps², for levels at 1/inverse. */
  double (*error)(const float* w, std::size_t count, const Levels& levels, float inverse);
  /** Σ of the squares of what lies outside [low, high]. */
  double (*clipped)(const float* w, std::size_t count, float low, float high);
  /**
   * The codes, nearest level plus `zero`, of two equally near ones the lower. `step` has at most 15 significant bits, so that what lies half
   * way between two levels is a float32 number.
   */
  void (*codes)(const float* w, std::size_t count, const Levels& levels, float step, int zero, std::int8_t* codes);
  /** The same for any step; false where a weight is within `margin` steps of half way, so that float32 does not tell. */
  bool (*likelyCodes)(const float* w, std::size_t count, const Levels& levels, float inverse, int zero, float margin,
                      std::int8_t* codes);
  /** In float64, of levels (code - zero)·step. */
  Changed (*changed)(const float* w, const std::int8_t* codes, std::size_t count, double zero, double step);
};

const RoundingKernels& roundingKernels();

}  // namespace vertexq
