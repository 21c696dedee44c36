// Plain rounding of float32 weights, group by group, as fast as memory allows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "alphabet/alphabet.h"
#include "layer.h"

namespace vertexq {

/** What a group's weights became. */
struct RoundedGroup {
  Alphabet alphabet;
  double error = 0;   // Σ (w - q)², to about 1e-5
  double signal = 0;  // Σ w²
};

/**
 * Rounds groups of weights with the scale that searchAlphabet or coveringAlphabet gives, its step in `precision`.
 *
 * The search is the reference's: every shrinking factor is tried in float32, 16 weights an instruction, and those whose error lies
 * within the bounds of what float32 may be off are judged again as the reference does. So alphabets and codes are equal to
 * roundReference's, and the same on every instruction set. Factors are not tried once the clipped part of the weights alone costs more
 * than the best one. (Minimum and Table go by roundReference.) About 1.5 ns a weight and thread at 4 bits on AVX-512, 200 for the reference.
 *
 * One object serves one thread.
 */
class PlainRounding {
 public:
  PlainRounding(const GridKind& kind, ScaleRule rule, ScalePrecision precision);

  /**
   * `weights` are finite. Writes count codes. Throws ERR_VERTEXQ_SCALE_RANGE.
   */
  RoundedGroup round(const float* weights, std::size_t count, std::int8_t* codes);
  RoundedGroup roundReference(const float* weights, std::size_t count, std::int8_t* codes);

 private:
  GridKind kind_;
  Grid grid_;
  int levels_;
  ScaleRule rule_;
  ScalePrecision precision_;
  int minCode_, maxCode_;
  std::vector<float> scaled_;
  std::vector<double> exact_;
};

}  // namespace vertexq
