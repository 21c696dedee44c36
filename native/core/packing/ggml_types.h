// The block types of GGUF files: what a block holds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "alphabet/alphabet.h"
#include "alphabet/super_blocks.h"
#include "layer.h"

namespace vertexq {

/** A type of ggml's whose weights are code·step, code·step + minimum or table[code]·step, group by group. */
struct GgmlType {
  const char* name;
  std::size_t weights, bytes;  // of a block
  std::size_t group;           // weights that share a step
  Grid grid;                   // FullRange, Minimum or Table
  int levels;
  SuperBlocks factors;

  std::size_t groups() const { return weights / group; }
  /** What fits are told; steps are numbers of float16, alone or times few-bit factors. */
  AlphabetOptions alphabet() const;
  /** The code of the field 0. */
  int offset() const { return grid == Grid::FullRange ? -levels / 2 : 0; }
};

/** All of them. */
const std::vector<GgmlType>& ggmlTypes();

/** Null where there is none of that name. */
const GgmlType* ggmlType(const char* name);

/** The sixteen levels of IQ4_NL and IQ4_XS. */
const LevelTable& ggmlTable();

inline constexpr std::size_t kMostBlock = 256;
inline constexpr std::size_t kMostGroups = 16;

/** A block's weights as numbers. Steps and minima are exact: no product of d and s has more bits than float32. */
struct GgmlBlock {
  std::int8_t codes[kMostBlock];
  float scales[kMostGroups];
  float minima[kMostGroups];
};

/** What a block's bytes mean. */
void unpackBlock(const GgmlType& type, const unsigned char* from, GgmlBlock& block);

/**
 * The bytes of a block. Of all d and s with the same products those with the least s are taken, and d > 0 where either sign would do; a d
 * whose s are all 0 is 0. Throws ERR_VERTEXQ_SCALE_RANGE where there are none: a step is no number of float16, or those of a super-block are
 * no multiples, within the factors' range, of such a number.
 */
void packBlock(const GgmlType& type, const GgmlBlock& block, unsigned char* to);

/** A block's values, exact products and sums rounded once: bit for bit those of ggml. */
void blockValues(const GgmlType& type, const GgmlBlock& block, float* values);

}  // namespace vertexq
