// The alphabets of a layer, neuron by neuron and group by group.
#pragma once

#include <cstddef>

#include "alphabet/alphabet.h"

namespace vertexq {

/**
 * A view: neuron n's alphabet for the inputs [g·groupSize, (g+1)·groupSize) is first[n·groups() + g]; the last group
 * may be shorter.
 */
struct LayerAlphabets {
  const Alphabet* first = nullptr;
  std::size_t inFeatures = 0;
  std::size_t groupSize = 0;  // > 0

  std::size_t groups() const { return (inFeatures + groupSize - 1) / groupSize; }
  const Alphabet& of(std::size_t neuron, std::size_t input) const {
    return first[neuron * groups() + input / groupSize];
  }
};

}  // namespace vertexq
