// Scales and minima that are few-bit multiples of what a super-block of groups shares.
#pragma once

#include <cstddef>
#include <vector>

#include "alphabet/alphabet.h"

namespace vertexq {

/** The few-bit factors of a super-block's groups: step = d·s, minimum = -dmin·μ, d and dmin numbers of the scales' precision. */
struct SuperBlocks {
  std::size_t groups = 0;             // of a super-block; 0 where every group has a step of its own
  int leastScale = 0, mostScale = 0;  // s
  int mostMinimum = 0;                // μ, from 0; 0 where there are no minima
};

/**
 * The d, of either sign where s is, for which whole multiples d·s come nearest to `values` by weighted squares: the best of some that bring
 * the largest value near an end of the range, each fitted to its multiples once. 0 where all values are 0. Throws
 * ERR_VERTEXQ_SCALE_RANGE where the precision has none large enough.
 */
double sharedUnit(const double* values, const double* weights, std::size_t count, int least, int most,
                  ScalePrecision precision);

/** The factor s within [least, most] for which s·unit is nearest to `value`; 0 for a unit of 0. */
int nearestFactor(double value, double unit, int least, int most);

/**
 * Puts the alphabets of a neuron's groups, whose steps and minima may be any numbers (minima <= 0), on super-blocks. A change of a group's
 * step or minimum counts by the square of it times the group's weight. Alphabets are 2^exponent times those that are stored.
 */
void roundToFactors(const GridKind& kind, const SuperBlocks& factors, ScalePrecision precision, const double* weights,
                    std::size_t groups, int exponent, Alphabet* alphabets);

/** A neuron's alphabets changed to what its codes ask for, as far as super-blocks hold it. One object serves one thread. */
class FactorRefit {
 public:
  FactorRefit(const GridKind& kind, const SuperBlocks& factors, ScalePrecision precision)
      : kind_(kind), factors_(factors), precision_(precision) {}

  /**
   * The refit's system is A x = b: x has a relative change of each group's step and, of Minimum, behind it one of the minimum, in steps. `l`:
   * A's Cholesky factor, lower, size × size by columns; `y`: L⁻¹b. d and dmin are those that suit the solution; then x is rounded entry by
   * entry from the last on, each making up for those behind it (Babai's nearest plane). Alphabets are 2^exponent times those that are stored.
   */
  template <typename Real>
  void run(const Real* l, const Real* y, std::size_t size, int exponent, Alphabet* alphabets);

 private:
  /** d and dmin of every super-block, for the changes x. */
  template <typename Real>
  void chooseUnits(const Real* l, std::size_t size, const Alphabet* alphabets, int exponent);

  GridKind kind_;
  SuperBlocks factors_;
  ScalePrecision precision_;
  std::vector<double> x_, steps_, minima_, stepWeights_, minimumWeights_, units_, minimumUnits_;
};

}  // namespace vertexq
