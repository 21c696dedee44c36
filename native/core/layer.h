// A whole layer: every neuron walked and rounded, and what that did to its outputs.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "alphabet/alphabet.h"
#include "alphabet/super_blocks.h"
#include "linalg/matrix.h"
#include "parallel/job_control.h"
#include "walk/tableau.h"

namespace vertexq {

/** The box a walk stays in. */
enum class Box {
  Saturate,  // [lowest, highest] of the alphabet, the paper's [-c, c]
  Cell,      // [⌊w⌋, ⌈w⌉]: the levels around each weight, so that no weight moves by a step or more
};

/** W, row-major outFeatures × inFeatures: a neuron a row. */
struct Weights {
  const double* data;
  std::size_t outFeatures;
  std::size_t inFeatures;

  const double* neuron(std::size_t n) const { return data + n * inFeatures; }
};

struct AlphabetOptions {
  Grid grid = Grid::ZeroFree;
  int levels = 16;
  std::size_t groupSize = 0;  // consecutive inputs that share a scale; the last group may be shorter
  ScalePrecision precision = ScalePrecision::Float32;  // in which scales, and minima, are stored
  const LevelTable* table = nullptr;                   // of Grid::Table
  SuperBlocks factors = {};                            // of steps and minima that groups do not have for themselves
  bool eitherSign = false;                             // GridKind
  const LevelTable* mirrored = nullptr;
  bool isBlock = false;  // whether the inputs are whole blocks, whose scales block_search.h looks for

  GridKind kind() const { return {grid, levels, table, eitherSign, mirrored}; }
  /** In which a group's step and minimum are looked for: super-blocks round them later. */
  ScalePrecision stepPrecision() const { return factors.groups > 0 ? ScalePrecision::Float32 : precision; }
};

/**
 * Where super-blocks hold steps and minima, makes them what these hold: `alphabets`, of one neuron, are 2^exponent times those that are stored.
 * `importance`: what a change of each input's weight counts, or null for the same. Else does nothing.
 */
void holdAlphabets(const AlphabetOptions& options, const double* importance, std::size_t inFeatures, int exponent,
                   Alphabet* alphabets);

/** The alphabet that covers the weights of a group, as Alphabet::covering; minima that super-blocks hold are never above 0. */
Alphabet coveringGroup(const AlphabetOptions& options, double low, double high);

/** How many directions of the data a walk holds. */
struct RankRule {
  enum class Kind {
    Full,    // rank(X), the paper's choice: the outputs do not move at all
    Auto,    // spectrum.h: bestRank
    AtMost,  // `limit`
  };
  Kind kind = Kind::Full;
  std::size_t limit = 0;
};

struct Walked {
  Matrix weights;                      // Ŵ transposed: inFeatures × outFeatures, a neuron a column
  std::vector<Alphabet> alphabets;     // outFeatures × groups
  std::vector<std::vector<int>> free;  // per neuron, the inputs whose weight is not on the alphabet
  std::vector<double>
      bound;  // per neuron, the certificate: ‖Xŵ - Xw‖ + Σ over free (step/2)·‖x_i‖, of a table half the cell
  std::vector<double> residual;  // per neuron, ‖Xŵ - Xw‖
  double relativeResidual = 0;  // ‖XŴᵀ - XWᵀ‖ / ‖XWᵀ‖, Frobenius; 0 where both are, infinite where the latter is
  std::size_t rank = 0;  // directions held
};

/**
 * The pre-processing of Maly & Saab (2023) for every neuron, on at most `threads` threads.
 *
 * `r` is any matrix with RᵀR = XᵀX. The result does not depend on `threads`. Progress: one unit a neuron.
 * Throws ERR_VERTEXQ_NOT_FINITE for weights, ERR_VERTEXQ_SCALE_RANGE, ERR_VERTEXQ_NUMERIC, Cancelled.
 */
Walked walkLayer(const Weights& weights, const Matrix& r, const AlphabetOptions& options, Box box, const RankRule& rank,
                 unsigned threads, JobControl& control);

/**
 * A level as it is stored: rounded to the precision, or with Float64 as a code. Codes are read as float32 numbers: that is within 6e-8 of
 * the level, but for denormal ones, which lose all of it at last.
 */
inline double storedLevel(double level, ScalePrecision values) {
  if (values != ScalePrecision::Float64) return roundedTo(level, values);
  return std::abs(level) < std::numeric_limits<float>::min() ? static_cast<double>(static_cast<float>(level)) : level;
}

struct Rounded {
  std::vector<std::int8_t> codes;                   // outFeatures × inFeatures
  std::vector<Alphabet> alphabets;                  // outFeatures × groups
  std::size_t offAlphabet = 0;                      // entries that had to be rounded, in the whole layer
  ScalePrecision values = ScalePrecision::Float64;  // in which the weights themselves are stored, where codes are not

  /** The weight of a neuron's input in an alphabet of it, as it is stored. */
  double stored(const Alphabet& alphabet, std::size_t index) const {
    return storedLevel(alphabet.level(codes[index]), values);
  }
};

/** Memoryless scalar quantization of walked weights: the walk's fixed entries keep their value. */
Rounded roundWalked(const Walked& walked, const AlphabetOptions& options);

enum class ScaleRule { Max, Search };

/**
 * A neuron's alphabets: that cover each group's weights, or with the least rounding error, weighted by `importance`, which may be null. Throws
 * ERR_VERTEXQ_SCALE_RANGE.
 */
void plainAlphabets(const double* w, const double* importance, std::size_t inFeatures, const AlphabetOptions& options,
                    ScaleRule scale, Alphabet* alphabets);

/** Memoryless scalar quantization of W itself. `r` weighs the inputs in a scale search and may be null. */
Rounded roundLayer(const Weights& weights, const Matrix* r, const AlphabetOptions& options, ScaleRule scale,
                   unsigned threads, JobControl& control);

/**
 * Throws ERR_VERTEXQ_SCALE_RANGE, naming the first such neuron, where a stored weight or a level of the precision is infinite, or where
 * no weight is left of a layer whose levels are not all 0.
 */
void requireStored(const Rounded& rounded, std::size_t inFeatures, const AlphabetOptions& options);

/** What requireStored throws, of a neuron. */
[[noreturn]] void refuseInfinite(std::size_t neuron);
[[noreturn]] void refuseLost(std::size_t neuron);

/** ‖X(W - Q)ᵀ‖ and ‖XWᵀ‖, Frobenius; with a null `r`, ‖W - Q‖ and ‖W‖. */
struct Norms {
  double error = 0;
  double signal = 0;
};
Norms outputError(const Weights& weights, const Rounded& rounded, std::size_t groupSize, const Matrix* r,
                  unsigned threads, const JobControl& control);

/** Groups a neuron's inputs fall into. */
inline std::size_t groupsOf(std::size_t inFeatures, std::size_t groupSize) {
  return (inFeatures + groupSize - 1) / groupSize;
}

/** Throws ERR_VERTEXQ_NOT_FINITE, naming neuron and input, at a weight that is NaN or infinite. */
void requireFinite(const Weights& weights);

/** Throws ERR_VERTEXQ_SCALE_RANGE, naming a neuron, where all weights are so small that float32 holds none of them, and not all are 0. */
void requireHeld(const Weights& weights);

}  // namespace vertexq
