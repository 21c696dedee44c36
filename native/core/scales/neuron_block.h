// A block of neurons on its way from weights to codes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "alphabet/alphabet.h"
#include "decode/layer_alphabets.h"
#include "decode/successive_rounding.h"
#include "layer.h"
#include "scales/rounding_system.h"

namespace vertexq {

/** One attempt at every neuron of a block. Matrices are N × neurons by natural index, a neuron a column. */
struct Attempt {
  std::vector<Alphabet> alphabets;  // neurons × groups
  std::vector<std::int8_t> codes;
  std::vector<float> values;   // the codes' levels
  std::vector<double> errors;  // (q-w)ᵀH(q-w), by RoundingSystem::addErrors, in the block's units
};

/**
 * The weights of up to kNeuronBlock neurons, each times a power of two that brings its largest one into [1, 2), so that
 * squares neither over- nor underflow in float32; and what is done with them: decoding, judging, keeping the better.
 * One object serves one thread; it is loaded anew for every block. Workspace: about 5·kNeuronBlock·N floats.
 */
class NeuronBlock {
 public:
  NeuronBlock(const RoundingSystem& system, const AlphabetOptions& options);

  /** Throws ERR_VERTEXQ_SCALE_RANGE, naming the first such neuron, where a weight's step overflows float32. */
  void load(const Weights& weights, std::size_t firstNeuron, std::size_t count);

  const RoundingSystem& system() const { return system_; }
  const AlphabetOptions& options() const { return options_; }
  std::size_t inputs() const { return system_.inputs(); }
  std::size_t groups() const { return system_.groups().size(); }
  std::size_t count() const { return count_; }
  const float* weights() const { return weights_.data(); }
  const float* weights(std::size_t l) const { return weights_.data() + l * inputs(); }
  bool zero(std::size_t l) const { return zero_[l]; }

  /** The alphabets that cover each group's weights, as Alphabet::covering. */
  const std::vector<Alphabet>& covering() const { return covering_; }
  /** The alphabet of neuron l whose step, in the neuron's own units, is a positive number of the precision near `step`. */
  Alphabet withStep(std::size_t l, double step, double zero) const;
  /** The alphabets of neuron l, which may have any steps, as super-blocks hold them (layer.h: holdAlphabets). */
  void hold(std::size_t l, Alphabet* alphabets) const;
  void hold(Attempt& attempt) const;
  int exponent(std::size_t l) const { return exponents_[l]; }
  /** `alphabet` of neuron l in the neuron's own units. */
  Alphabet original(std::size_t l, const Alphabet& alphabet) const;

  LayerAlphabets view(const Attempt& attempt) const {
    return {attempt.alphabets.data(), inputs(), system_.groupSize()};
  }
  /** An attempt of the right size, codes all 0. */
  Attempt blank() const;
  /** Codes and values by successive rounding with the attempt's alphabets; errors. */
  void decode(const Coefficients<float>& coefficients, Attempt& attempt, const JobControl& control);
  /** Each weight to its nearest level. */
  void roundToNearest(Attempt& attempt);
  /** Coordinate descent from the attempt's codes; errors. */
  void descend(Attempt& attempt, const JobControl& control);
  /** Values of the codes; errors. */
  void revalue(Attempt& attempt);
  /** errors, from values. */
  void judge(Attempt& attempt);

  /** Takes over from `tried` the neurons that are better there. Returns their number. */
  std::size_t keepBetter(Attempt& best, const Attempt& tried) const;

 private:
  const RoundingSystem& system_;
  AlphabetOptions options_;
  std::size_t count_ = 0;
  std::vector<float> weights_;
  std::vector<int> exponents_;  // the power of two per neuron
  std::vector<std::uint8_t> zero_;
  std::vector<Alphabet> covering_;
  std::vector<float> errors_, residual_;
};

}  // namespace vertexq
