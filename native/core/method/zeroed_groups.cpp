#include "method/zeroed_groups.h"

#include <algorithm>

namespace vertexq {

std::size_t zeroedGroups(const Weights& weights, const Rounded& rounded, std::size_t groupSize) {
  const std::size_t n = weights.inFeatures, groups = groupsOf(n, groupSize);
  std::size_t zeroed = 0;
  for (std::size_t k = 0; k < weights.outFeatures * groups; ++k) {
    const std::size_t neuron = k / groups, first = k % groups * groupSize, last = std::min(first + groupSize, n);
    const double* w = weights.neuron(neuron);
    bool isZero = true, wasZero = true;
    for (std::size_t i = first; i < last && isZero; ++i) {
      isZero = rounded.stored(rounded.alphabets[k], neuron * n + i) == 0;
      wasZero = wasZero && w[i] == 0;
    }
    if (isZero && !wasZero) ++zeroed;
  }
  return zeroed;
}

}  // namespace vertexq
