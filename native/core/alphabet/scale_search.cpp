#include "alphabet/scale_search.h"

#include <algorithm>
#include <cmath>

namespace vertexq {

namespace {

/** Refits of a step and a minimum at most. */
constexpr int kRefits = 4;

/** The weights of a group, and how much each counts. */
struct Group {
  const double *w, *importance;
  std::size_t count;

  double weightOf(std::size_t i) const { return importance ? importance[i] : 1; }

  double error(const Alphabet& alphabet) const {
    double sum = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const double error = w[i] - alphabet.level(alphabet.nearest(w[i]));
      sum += weightOf(i) * error * error;
    }
    return sum;
  }

  /** Step and minimum with the least error for the codes that the weights have in `a`; `a` itself where there is no such step. */
  Alphabet refitted(const GridKind& kind, const Alphabet& a, ScalePrecision precision) const {
    // In units of the steps above the minimum: neither far from 0 nor out of range.
    double total = 0, codes = 0, values = 0, squares = 0, products = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const double weight = weightOf(i), code = a.nearest(w[i]), value = (w[i] - a.minimum()) / a.step();
      total += weight;
      codes += weight * code;
      values += weight * value;
      squares += weight * code * code;
      products += weight * code * value;
    }
    const double spread = total * squares - codes * codes;
    const double factor = (total * products - codes * values) / spread;
    if (!(spread > 0) || !(factor > 0) || !std::isfinite(factor)) return a;
    const double step = nearestStep(factor * a.step(), precision);
    const double minimum = a.minimum() + a.step() * (values - factor * codes) / total;
    const Alphabet fitted = Alphabet::withStep(kind, step, -minimum / step, precision);
    return fitted.heldIn(precision) ? fitted : a;
  }
};

}  // namespace

Alphabet coveringAlphabet(const GridKind& kind, const double* w, std::size_t count, ScalePrecision precision) {
  const auto [low, high] = std::minmax_element(w, w + count);
  return Alphabet::covering(kind, *low, *high, precision);
}

Alphabet searchAlphabet(const GridKind& kind, const double* w, const double* importance, std::size_t count,
                        ScalePrecision precision) {
  const Group group{w, importance, count};
  Alphabet best = coveringAlphabet(kind, w, count, precision);
  double least = group.error(best);
  const auto keepBetter = [&](const Alphabet& tried) {
    const double error = group.error(tried);
    if (!(error < least)) return false;
    least = error;
    best = tried;
    return true;
  };
  const auto [low, high] = std::minmax_element(w, w + count);
  const double middle = kind.grid == Grid::Minimum ? *low + (*high - *low) / 2 : 0;
  for (int k = kShrinkSteps - 1; k >= kSmallestShrink && least > 0; --k) {
    const double shrink = static_cast<double>(k) / kShrinkSteps;
    keepBetter(
        Alphabet::covering(kind, middle + (*low - middle) * shrink, middle + (*high - middle) * shrink, precision));
  }
  if (kind.grid == Grid::Minimum && best.step() > 0)
    for (int k = 0; k < kRefits && least > 0 && keepBetter(group.refitted(kind, best, precision)); ++k) continue;
  return best;
}

}  // namespace vertexq
