// Scales, minima and codes of a block by the weights alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "layer.h"
#include "scales/block_kernels.h"

namespace vertexq {

/**
 * What a block of weights becomes with a small Σ importance·(w - q)², q the nearest level. Of each group step and minimum are tried and
 * refitted to the codes that they give; a super-block gets the d and dmin that suit these; then its groups' factors change by one where that
 * helps, and d and dmin are fitted anew to factors and codes, by turns while the error falls. Nothing is random.
 *
 * A block is a super-block's groups, or one group where these have scales of their own; steps are of either sign where the alphabets allow it.
 * Scales are kept in float16. One object serves one thread.
 */
class BlockSearch {
 public:
  explicit BlockSearch(const AlphabetOptions& options);

  std::size_t size() const { return groups_ * options_.groupSize; }

  /**
   * `count` blocks of size() weights, best many at once; importance may be null (all 1). Writes a code a weight and a scale and a minimum a
   * group, as QuantizedLayer has them. Throws ERR_VERTEXQ_SCALE_RANGE.
   */
  void run(const float* weights, const float* importance, std::size_t count, std::int8_t* codes, float* scales,
           float* minima);
  /** As `run` of one, by the search that takes any importance. Returns the error. */
  double runOne(const float* weights, const float* importance, std::int8_t* codes, float* scales, float* minima);

 private:
  struct Scale {
    double step = 0, minimum = 0;
  };
  /** A group, its best scale so far, the error of that, and what a change of step or minimum counts. */
  struct Group {
    BlockGroup lanes;
    double total = 0, sum = 0, squares = 0;  // of the importance, and of weights and their squares times it
    float low = 0, high = 0;
    Scale best;
    double error = 0;
    double stepWeight = 0;
  };

  void runEven(const float* weights, std::size_t count, std::int8_t* codes, float* scales, float* minima);
  void searchGroup(Group& group);
  void searchEven(Group& group);
  void searchMinimum(Group& group);
  /** The least error by least squares of the lanes' codes. */
  void takeBest(Group& group, const BlockScales& scales);
  void storeAlone(Group& group);
  void storeTogether();
  void chooseFactors(double unit, double minimumUnit);
  double chosenError() const;
  void fitUnits(double& unit, double& minimumUnit);

  AlphabetOptions options_;
  std::size_t groups_;
  bool hasMinima_;
  std::vector<float> ones_;
  std::vector<Group> all_;
  std::vector<Scale> chosen_;  // as stored
  std::vector<int> factors_, minimumFactors_;
  std::vector<double> errors_;
};

}  // namespace vertexq
