#include "method/first_walk.h"

#include <algorithm>
#include <numeric>

#include "calibration/eigenspace.h"

namespace vertexq {

WalkSystem::WalkSystem(const LayerFit& fit, std::size_t rank, unsigned threads, const JobControl& control)
    : order_(fit.inFeatures()) {
  const Matrix& h = fit.h;
  std::iota(order_.begin(), order_.end(), std::size_t{0});
  std::stable_sort(order_.begin(), order_.end(), [&](std::size_t a, std::size_t b) { return h(a, a) > h(b, b); });
  control.throwIfCancelled();
  tableau_ = tableauOf(leadingEigenspace(h, rank, threads, control).part, control);
  single_ = FloatMatrix(tableau_.t.rows(), tableau_.t.cols());
  std::copy_n(tableau_.t.data(), single_.rows() * single_.cols(), single_.data());
}

Walker::Walker(const LayerFit& fit, const WalkSystem& system)
    : fit_(fit),
      system_(system),
      walk_(system.tableau(), system.single()),
      low_(fit.inFeatures()),
      high_(fit.inFeatures()),
      walked_(fit.inFeatures()),
      weights_(fit.inFeatures()),
      decoded_(fit.inFeatures()) {
  free_.reserve(fit.inFeatures());
}

void Walker::run(AnswerBlock& block, const JobControl& control) {
  for (std::size_t k = 0; k < block.count(); ++k) {
    control.throwIfCancelled();
    walk(block.first() + k, block.values(k), block.codes(k), block.decoder(), control);
  }
}

void Walker::walk(std::size_t neuron, double* values, std::int8_t* codes, FreeEntryDecoder<float>& decoder,
                  const JobControl& control) {
  const std::size_t n = fit_.inFeatures();
  const double* w = fit_.weights.column(neuron);
  for (std::size_t i = 0; i < n; ++i) {
    const Alphabet& a = fit_.alphabets.of(neuron, i);
    // A value beyond the alphabet stays at its end; the least squares below make up for it.
    walked_[i] = std::clamp(w[i], a.lowest(), a.highest());
    const Alphabet::Cell cell = a.cell(walked_[i]);
    low_[i] = cell.low;
    high_[i] = cell.high;
  }
  walk_.run(walked_.data(), low_.data(), high_.data(), control);
  free_.clear();
  for (const std::size_t i : system_.order()) {
    if (walked_[i] != low_[i] && walked_[i] != high_[i]) {
      free_.push_back(static_cast<int>(i));
      continue;
    }
    values[i] = walked_[i];
    codes[i] = static_cast<std::int8_t>(fit_.alphabets.of(neuron, i).nearest(walked_[i]));
  }
  for (std::size_t i = 0; i < n; ++i) {
    weights_[i] = static_cast<float>(w[i]);
    decoded_[i] = static_cast<float>(values[i]);
  }
  decoder.decode(weights_.data(), decoded_.data(), codes, free_.data(), free_.size(), fit_.alphabets, neuron,
                 AnswerBlock::kMostAnswers);
  for (const int input : free_) {
    const auto i = static_cast<std::size_t>(input);
    values[i] = fit_.alphabets.of(neuron, i).level(codes[i]);
  }
}

}  // namespace vertexq
