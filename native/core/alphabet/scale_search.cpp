#include "alphabet/scale_search.h"

#include <algorithm>

namespace vertexq {

namespace {

/** Shrinking factors 1, 1 - 1/48, ..., 8/48. The best one for a normal weight is 0.25 at one bit, above 0.35 otherwise. */
constexpr int kSteps = 48;
constexpr int kSmallest = 8;

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

Alphabet searchAlphabet(Grid grid, int levels, const double* w, const double* importance, std::size_t count) {
  const auto [low, high] = std::minmax_element(w, w + count);
  Alphabet best = Alphabet::covering(grid, levels, *low, *high, ScalePrecision::Float32);
  double least = roundingError(best, w, importance, count);
  for (int k = kSteps - 1; k >= kSmallest && least > 0; --k) {
    const double shrink = static_cast<double>(k) / kSteps;
    const Alphabet tried = Alphabet::covering(grid, levels, *low * shrink, *high * shrink, ScalePrecision::Float32);
    const double error = roundingError(tried, w, importance, count);
    if (error < least) {
      least = error;
      best = tried;
    }
  }
  return best;
}

}  // namespace vertexq
