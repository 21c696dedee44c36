#include "decode/successive_rounding.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "decode/level_arrays.h"
#include "error.h"
#include "linalg/real_blas.h"
#include "linalg/simd.h"
#include "parallel/thread_pool.h"

namespace vertexq {

namespace {

/** One input of a block, for kNeuronBlock neurons side by side: arrays of lanes, `before` inputs of the block done. */
template <typename Real>
struct InputStep {
  std::size_t before = 0;
  const Real* coefficients = nullptr;  // M_ki for the `before` inputs k of the block
  const Real* errors = nullptr;        // their errors, kNeuronBlock apart
  const Real* weights = nullptr;
  const LevelArrays<Real>* levels = nullptr;
  Real* centre = nullptr;  // in: without the block's own inputs; out: the centre
  Real* error = nullptr;   // out: q - w
  Real* code = nullptr;    // out
  Real* value = nullptr;   // out: q
};

/*
 * The loops below are functions of their own because only a parameter's `restrict` is believed: with that of a local
 * pointer the compiler checks every pair of arrays for overlap, and gives up.
 */

/** centre -= Σ m[k]·e[k] over four inputs, or over one. */
template <typename Real>
VERTEXQ_INLINE void subtractFour(const Real* m, const Real* VERTEXQ_RESTRICT e, Real* VERTEXQ_RESTRICT centre) {
  constexpr std::size_t lanes = kNeuronBlock;
  const Real m0 = m[0], m1 = m[1], m2 = m[2], m3 = m[3];
  for (std::size_t l = 0; l < lanes; ++l)
    centre[l] -= (m0 * e[l] + m1 * e[l + lanes]) + (m2 * e[l + 2 * lanes] + m3 * e[l + 3 * lanes]);
}
template <typename Real>
VERTEXQ_INLINE void subtractOne(Real m, const Real* VERTEXQ_RESTRICT e, Real* VERTEXQ_RESTRICT centre) {
  for (std::size_t l = 0; l < kNeuronBlock; ++l) centre[l] -= m * e[l];
}

template <typename Real>
VERTEXQ_INLINE bool roundLanes(const Real* VERTEXQ_RESTRICT centre, const Real* VERTEXQ_RESTRICT weights,
                               const Real* VERTEXQ_RESTRICT low, const Real* VERTEXQ_RESTRICT high,
                               const Real* VERTEXQ_RESTRICT inverse, const Real* VERTEXQ_RESTRICT offset,
                               const Real* VERTEXQ_RESTRICT step, const Real* VERTEXQ_RESTRICT base,
                               Real* VERTEXQ_RESTRICT code, Real* VERTEXQ_RESTRICT value,
                               Real* VERTEXQ_RESTRICT error) {
  FlagOf<Real> unsafe = 0;
  for (std::size_t l = 0; l < kNeuronBlock; ++l) {
    const Real place = nearestPlace(centre[l], low[l], high[l], inverse[l], offset[l], unsafe);
    const Real level = levelAt(place, offset[l], step[l], low[l], high[l]);
    code[l] = base[l] + place;
    value[l] = level;
    error[l] = level - weights[l];
  }
  return unsafe != 0;
}

/** Returns whether some lane's code must be asked of Alphabet::nearest. */
template <typename Real>
VERTEXQ_INLINE bool roundInputBody(const InputStep<Real>& s) {
  std::size_t k = 0;
  // Four at a time: the centres are loaded and stored once for four products.
  for (; k + 4 <= s.before; k += 4) subtractFour(s.coefficients + k, s.errors + k * kNeuronBlock, s.centre);
  for (; k < s.before; ++k) subtractOne(s.coefficients[k], s.errors + k * kNeuronBlock, s.centre);
  const LevelArrays<Real>& a = *s.levels;
  return roundLanes<Real>(s.centre, s.weights, a.low(), a.high(), a.inverse(), a.offset(), a.step(), a.base(), s.code,
                          s.value, s.error);
}

template <typename Real>
bool roundInputPortable(const InputStep<Real>& s) {
  return roundInputBody(s);
}
template <typename Real>
VERTEXQ_AVX2 bool roundInputAvx2(const InputStep<Real>& s) {
  return roundInputBody(s);
}
template <typename Real>
VERTEXQ_AVX512 bool roundInputAvx512(const InputStep<Real>& s) {
  return roundInputBody(s);
}

/**
 * The workspace of a thread and what it does with a block of neurons. Block arrays hold an input a row, a neuron a
 * lane.
 */
template <typename Real>
class BlockRounder {
 public:
  BlockRounder(const Coefficients<Real>& coefficients, const RoundingTask<Real>& task)
      : coefficients_(coefficients),
        task_(task),
        inputs_(coefficients.order.size()),
        errors_(inputs_ * kNeuronBlock),
        centres_(kInputBlock * kNeuronBlock),
        weights_(kInputBlock * kNeuronBlock),
        codes_(kInputBlock * kNeuronBlock),
        values_(kInputBlock * kNeuronBlock),
        levels_(task.alphabets.groups(), LevelArrays<Real>(kNeuronBlock)) {}

  void run(std::size_t firstNeuron, std::size_t count, const JobControl& control) {
    firstNeuron_ = firstNeuron;
    count_ = count;
    hasMinima_ = false;
    for (std::size_t g = 0; g < levels_.size(); ++g)
      for (std::size_t l = 0; l < kNeuronBlock; ++l) {
        if (l >= count) {
          levels_[g].clear(l);
          continue;
        }
        const Alphabet& alphabet = task_.alphabets.first[(firstNeuron + l) * levels_.size() + g];
        levels_[g].set(l, alphabet);
        hasMinima_ = hasMinima_ || alphabet.minimum() != 0;
      }
    for (std::size_t first = 0; first < inputs_; first += kInputBlock) {
      control.throwIfCancelled();
      roundInputs(first, std::min(kInputBlock, inputs_ - first));
    }
  }

 private:
  void roundInputs(std::size_t first, std::size_t width) {
    load(task_.weights, first, width, weights_);
    if (task_.centres)
      load(task_.centres, first, width, centres_);
    else
      std::copy_n(weights_.begin(), width * kNeuronBlock, centres_.begin());
    if (first > 0)
      linalg::gemm(linalg::kPlain, linalg::kPlain, kNeuronBlock, width, first, Real(-1), errors_.data(), kNeuronBlock,
                   coefficients_.m.column(first), inputs_, Real(1), centres_.data(), kNeuronBlock);
    for (std::size_t i = 0; i < width; ++i) {
      InputStep<Real> s;
      s.before = i;
      s.coefficients = coefficients_.m.column(first + i) + first;
      s.errors = &errors_[first * kNeuronBlock];
      s.weights = &weights_[i * kNeuronBlock];
      s.levels = &levels_[input(first + i) / task_.alphabets.groupSize];
      s.centre = &centres_[i * kNeuronBlock];
      s.error = &errors_[(first + i) * kNeuronBlock];
      s.code = &codes_[i * kNeuronBlock];
      s.value = &values_[i * kNeuronBlock];
      if (roundInput_(s)) settleTies(s, input(first + i));
    }
    store(first, width);
  }

  /** Decides by Alphabet::nearest the lanes that arithmetic in Real left open. */
  void settleTies(const InputStep<Real>& s, std::size_t input) const {
    // The kernel may have fused a product and a sum that this loop does not: look a little further than it did.
    const Real doubtful = Real(0.5) - 2 * kTieMargin<Real>;
    for (std::size_t l = 0; l < count_; ++l) {
      const LevelArrays<Real>& levels = *s.levels;
      const Real t = clampTo(s.centre[l], levels.low()[l], levels.high()[l]) * levels.inverse()[l] - levels.offset()[l];
      if (std::abs(t - (s.code[l] - levels.base()[l])) < doubtful) continue;
      if (std::isnan(s.centre[l]))
        throw Error("ERR_VERTEXQ_NUMERIC", "neuron " + std::to_string(firstNeuron_ + l) + ", input " +
                                               std::to_string(input) + ": the weights or the Gram matrix overflow");
      const Alphabet& alphabet = task_.alphabets.of(firstNeuron_ + l, input);
      const int code = alphabet.nearest(s.centre[l]);
      s.code[l] = static_cast<Real>(code);
      s.value[l] = static_cast<Real>(alphabet.level(code));
      s.error[l] = s.value[l] - s.weights[l];
    }
  }

  /** Neurons' entries, contiguous per neuron in `from`, to lanes. Lanes without a neuron get zeros. */
  void load(const Real* from, std::size_t first, std::size_t width, std::vector<Real>& to) const {
    for (std::size_t l = 0; l < kNeuronBlock; ++l) {
      const Real* neuron = l < count_ ? from + (firstNeuron_ + l) * inputs_ : nullptr;
      for (std::size_t i = 0; i < width; ++i) to[i * kNeuronBlock + l] = neuron ? neuron[input(first + i)] : Real(0);
    }
  }

  void store(std::size_t first, std::size_t width) const {
    for (std::size_t l = 0; l < count_; ++l) {
      const std::size_t row = (firstNeuron_ + l) * inputs_;
      for (std::size_t i = 0; i < width; ++i)
        task_.codes[row + input(first + i)] = static_cast<std::int8_t>(codes_[i * kNeuronBlock + l]);
      if (!task_.values) continue;
      for (std::size_t i = 0; i < width; ++i) task_.values[row + input(first + i)] = values_[i * kNeuronBlock + l];
      if (!hasMinima_) continue;
      for (std::size_t i = first; i < first + width; ++i) {
        const std::size_t at = row + input(i);
        task_.values[at] = static_cast<Real>(task_.alphabets.of(firstNeuron_ + l, input(i)).level(task_.codes[at]));
      }
    }
  }

  std::size_t input(std::size_t position) const { return static_cast<std::size_t>(coefficients_.order[position]); }

  const Coefficients<Real>& coefficients_;
  const RoundingTask<Real>& task_;
  std::size_t inputs_;
  std::vector<Real> errors_;                              // q - w of all inputs so far
  std::vector<Real> centres_, weights_, codes_, values_;  // of one block of inputs
  std::vector<LevelArrays<Real>> levels_;                 // by group
  std::size_t firstNeuron_ = 0;
  std::size_t count_ = 0;
  bool hasMinima_ = false;  // whether values are to be taken from the alphabets in the end
  bool (*roundInput_)(const InputStep<Real>&) = linalg::forInstructionSet(roundInputAvx512<Real>, roundInputAvx2<Real>,
                                                                          roundInputPortable<Real>);
};

}  // namespace

template <typename Real>
void successiveRounding(const Coefficients<Real>& coefficients, const RoundingTask<Real>& task, unsigned threads,
                        JobControl& control) {
  const std::size_t blocks = (task.neurons + kNeuronBlock - 1) / kNeuronBlock;
  std::vector<std::unique_ptr<BlockRounder<Real>>> rounders(std::max(threads, 1u));
  ThreadPool::shared().parallelFor(blocks, threads, [&](std::size_t block, unsigned slot) {
    if (!rounders[slot]) rounders[slot] = std::make_unique<BlockRounder<Real>>(coefficients, task);
    const std::size_t first = block * kNeuronBlock;
    const std::size_t count = std::min(kNeuronBlock, task.neurons - first);
    rounders[slot]->run(first, count, control);
    control.finish(count);
  });
}

template void successiveRounding(const Coefficients<float>&, const RoundingTask<float>&, unsigned, JobControl&);
template void successiveRounding(const Coefficients<double>&, const RoundingTask<double>&, unsigned, JobControl&);

}  // namespace vertexq
