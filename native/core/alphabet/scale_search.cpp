#include "alphabet/scale_search.h"

#include <algorithm>

namespace vertexq {

namespace {

double roundingError(const Alphabet& alphabet, const double* w, const double* importance, std::size_t count) {
  double sum = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const double error = w[i] - alphabet.level(alphabet.nearest(w[i]));
    sum += (importance ? importance[i] : 1) * error * error;
  }
  return sum;
}

}  // namespace

Alphabet coveringAlphabet(Grid grid, int levels, const double* w, std::size_t count, ScalePrecision precision) {
  const auto [low, high] = std::minmax_element(w, w + count);
  return Alphabet::covering(grid, levels, *low, *high, precision);
}

Alphabet searchAlphabet(Grid grid, int levels, const double* w, const double* importance, std::size_t count,
                        ScalePrecision precision) {
  const auto [low, high] = std::minmax_element(w, w + count);
  Alphabet best = Alphabet::covering(grid, levels, *low, *high, precision);
  double least = roundingError(best, w, importance, count);
  for (int k = kShrinkSteps - 1; k >= kSmallestShrink && least > 0; --k) {
    const double shrink = static_cast<double>(k) / kShrinkSteps;
    const Alphabet tried = Alphabet::covering(grid, levels, *low * shrink, *high * shrink, precision);
    const double error = roundingError(tried, w, importance, count);
    if (error < least) {
      least = error;
      best = tried;
    }
  }
  return best;
}

}  // namespace vertexq
