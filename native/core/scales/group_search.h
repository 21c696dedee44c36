// Scales judged by the output error that successive rounding leaves with them.
#pragma once

#include <cstddef>
#include <vector>

#include "scales/neuron_block.h"

namespace vertexq {

struct GroupSearchOptions {
  /** Steps tried along a geometric ladder, from kLeastOfNormal of the best step for normal weights to the covering one. */
  int ladder = 12;
  /** Then the spacing is halved this often and both neighbours of the best step are tried. */
  int refinements = 3;
};

/** The ladder begins at this part of the step that is best for normally distributed weights. */
inline constexpr double kLeastOfNormal = 0.55;

/** The step of the evenly spaced quantizer with least mean squared error for a standard normal (Max 1960, table 2). */
double normalStep(int levels);

/**
 * Goes through the groups in the system's grouped order. For each neuron, the weights of a group are first moved to
 * where the errors of the groups before it are best compensated (the centres of successive rounding); the group is
 * then rounded successively with every candidate alphabet, and the one whose inputs add least to (q-w)ᵀH(q-w) is kept
 * (rounding_system.h). With one group a candidate is a whole GPTQ decoding of the neuron, and its error the neuron's
 * output error. Levels that may be mirrored are tried both ways. Asymmetric zero points and minima follow the range at first and are then moved by one step either way, minima by parts of it too.
 *
 * A candidate costs about groupSize·N flops a neuron, all of them about
 * (ladder + 2·refinements + 5)·groupSize/N decodings.
 */
class GroupSearch {
 public:
  explicit GroupSearch(NeuronBlock& block, const GroupSearchOptions& options);

  /** The loaded block's alphabets, codes, values and errors. */
  void run(Attempt& attempt, const JobControl& control);
  /** The same among the alphabets that super-blocks hold with the units of the attempt's, which they hold. */
  void runHeld(Attempt& attempt, const JobControl& control);

 private:
  struct Range {
    double low = 0, high = 0, middle = 0;  // of the centres; where the alphabet is centred, or -1 of mirrored levels
    double least = 0, most = 0;            // steps of the ladder
  };
  struct Candidate {
    double step;
    double zero;
  };

  /** What all groups of a super-block have multiples of. */
  struct Units {
    double step = 0, minimum = 0;
  };

  void searchAll(Attempt& attempt, const JobControl& control);
  Alphabet held(std::size_t l, std::size_t group, const Alphabet& alphabet) const;
  void searchGroup(const RoundingSystem::Group& group, Attempt& attempt, const JobControl& control);
  void centreGroup(const RoundingSystem::Group& group);
  Range rangeOf(const RoundingSystem::Group& group, std::size_t l) const;
  double zeroFor(double step, double middle) const;
  template <typename CandidateOf>
  void tryAll(const RoundingSystem::Group& group, CandidateOf candidateOf);
  void tryAlphabets(const RoundingSystem::Group& group);

  NeuronBlock& block_;
  GroupSearchOptions options_;
  std::vector<Units> units_;   // neurons × super-blocks; empty where steps are free
  Alphabet plain_;             // for the codes of the kind
  std::vector<float> errors_;  // q - w of the groups so far, position by position, neurons N apart
  std::vector<float> weights_, centres_, shift_, values_, difference_, bestValues_, residual_;  // of the group
  std::vector<std::int8_t> codes_, bestCodes_;
  std::vector<Alphabet> tried_, best_;  // of the group, by neuron
  std::vector<double> triedErrors_, bestErrors_;
};

}  // namespace vertexq
