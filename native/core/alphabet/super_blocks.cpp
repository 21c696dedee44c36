#include "alphabet/super_blocks.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "error.h"

namespace vertexq {

namespace {

/** Parts of the range's end that the largest value is brought to: 1, 1 - 1/40, ... */
constexpr int kUnitSteps = 40;
constexpr int kUnitsTried = 18;
/** A step is changed by at most this factor at once: scales/refit.h. */
constexpr double kMostChange = 2;

double signedStep(const Alphabet& a, int exponent) {
  return std::ldexp(a.isMirrored() ? -a.step() : a.step(), -exponent);
}

/** Σ weight·(value - unit·factor)², and the unit that is best for these factors. */
struct Judged {
  double error, better;
};

Judged judge(const double* values, const double* weights, std::size_t count, int least, int most, double unit) {
  double error = 0, product = 0, square = 0;
  for (std::size_t g = 0; g < count; ++g) {
    const double factor = nearestFactor(values[g], unit, least, most);
    const double rest = values[g] - unit * factor;
    error += weights[g] * rest * rest;
    product += weights[g] * values[g] * factor;
    square += weights[g] * factor * factor;
  }
  return {error, square > 0 ? product / square : unit};
}

double storedUnit(double unit, ScalePrecision precision) {
  return std::copysign(nearestStep(std::abs(unit), precision), unit);
}

}  // namespace

int nearestFactor(double value, double unit, int least, int most) {
  if (unit == 0) return 0;
  return clampedWhole(std::nearbyint(value / unit), least, most);
}

double sharedUnit(const double* values, const double* weights, std::size_t count, int least, int most,
                  ScalePrecision precision) {
  double largest = 0;
  for (std::size_t g = 0; g < count; ++g)
    if (std::abs(values[g]) > std::abs(largest)) largest = values[g];
  if (largest == 0) return 0;
  double best = 0, bestError = std::numeric_limits<double>::infinity();
  const auto tryUnit = [&](double unit) {
    const double stored = storedUnit(unit, precision);
    const Judged judged = judge(values, weights, count, least, most, stored);
    if (judged.error < bestError) {
      bestError = judged.error;
      best = stored;
    }
    return judged.better;
  };
  const double smallest = std::abs(largest) / std::max(-least, most);
  if (!std::isfinite(roundedTo(smallest, precision)))
    throw Error("ERR_VERTEXQ_SCALE_RANGE", "the weights are too large: the step of a super-block overflows float16");
  for (const int end : {least, most}) {
    if (end == 0) continue;
    for (int k = 0; k < kUnitsTried; ++k) {
      const double better = tryUnit(largest / (end * (1 - static_cast<double>(k) / kUnitSteps)));
      if (better != 0) tryUnit(better);
    }
  }
  for (double before = 0; best != before;) {
    before = best;
    tryUnit(judge(values, weights, count, least, most, best).better);
  }
  return best;
}

void roundToFactors(const GridKind& kind, const SuperBlocks& factors, ScalePrecision precision, const double* weights,
                    std::size_t groups, int exponent, Alphabet* alphabets) {
  std::vector<double> steps(factors.groups), minima(factors.groups);
  for (std::size_t first = 0; first < groups; first += factors.groups) {
    const std::size_t count = std::min(factors.groups, groups - first);
    Alphabet* own = alphabets + first;
    for (std::size_t g = 0; g < count; ++g) {
      steps[g] = signedStep(own[g], exponent);
      minima[g] = std::min(std::ldexp(own[g].minimum(), -exponent), 0.0);
    }
    const double unit =
        sharedUnit(steps.data(), weights + first, count, factors.leastScale, factors.mostScale, precision);
    const double minimumUnit =
        factors.mostMinimum > 0 ? sharedUnit(minima.data(), weights + first, count, -factors.mostMinimum, 0, precision)
                                : 0;
    for (std::size_t g = 0; g < count; ++g)
      own[g] = Alphabet::of(kind, unit * nearestFactor(steps[g], unit, factors.leastScale, factors.mostScale),
                            minimumUnit * nearestFactor(minima[g], minimumUnit, -factors.mostMinimum, 0))
                   .scaledBy(exponent);
  }
}

template <typename Real>
void FactorRefit::chooseUnits(const Real* l, std::size_t size, const Alphabet* alphabets, int exponent) {
  const std::size_t perGroup = factors_.mostMinimum > 0 ? 2 : 1, groups = size / perGroup;
  for (std::vector<double>* v : {&steps_, &minima_, &stepWeights_, &minimumWeights_}) v->assign(groups, 0.0);
  const auto diagonal = [&](std::size_t d) {
    double sum = 0;
    for (std::size_t k = 0; k <= d; ++k) sum += static_cast<double>(l[d + k * size]) * l[d + k * size];
    return sum;
  };
  for (std::size_t g = 0; g < groups; ++g) {
    const double step = signedStep(alphabets[g], exponent), square = step * step;
    const double factor = std::clamp(1 + x_[g * perGroup], 1 / kMostChange, kMostChange);
    steps_[g] = step * factor;
    stepWeights_[g] = square > 0 ? diagonal(g * perGroup) / square : 0;
    if (perGroup == 1) continue;
    const double shift = square > 0 ? x_[2 * g + 1] * std::abs(step) : 0;
    minima_[g] = std::min(std::ldexp(alphabets[g].minimum(), -exponent) + shift, 0.0);
    minimumWeights_[g] = square > 0 ? diagonal(2 * g + 1) / square : 0;
  }
  const std::size_t blocks = (groups + factors_.groups - 1) / factors_.groups;
  units_.assign(blocks, 0.0);
  minimumUnits_.assign(blocks, 0.0);
  for (std::size_t b = 0; b < blocks; ++b) {
    const std::size_t first = b * factors_.groups, count = std::min(factors_.groups, groups - first);
    units_[b] =
        sharedUnit(&steps_[first], &stepWeights_[first], count, factors_.leastScale, factors_.mostScale, precision_);
    if (perGroup == 2)
      minimumUnits_[b] =
          sharedUnit(&minima_[first], &minimumWeights_[first], count, -factors_.mostMinimum, 0, precision_);
  }
}

template <typename Real>
void FactorRefit::run(const Real* l, const Real* y, std::size_t size, int exponent, Alphabet* alphabets) {
  const std::size_t perGroup = factors_.mostMinimum > 0 ? 2 : 1, groups = size / perGroup;
  const auto solved = [&](std::size_t k) {
    double rest = y[k];
    for (std::size_t j = k + 1; j < size; ++j) rest -= l[j + k * size] * x_[j];
    return rest / l[k + k * size];
  };
  x_.assign(size, 0.0);
  for (std::size_t k = size; k-- > 0;) {
    x_[k] = solved(k);
    if (!std::isfinite(x_[k])) return;
  }
  chooseUnits(l, size, alphabets, exponent);
  for (std::size_t g = groups; g-- > 0;) {
    const std::size_t block = g / factors_.groups;
    const double step = signedStep(alphabets[g], exponent), size0 = std::abs(step);
    double minimum = 0;
    if (perGroup == 2) {
      const double before = std::ldexp(alphabets[g].minimum(), -exponent), unit = minimumUnits_[block];
      const double wanted = size0 > 0 ? before + solved(2 * g + 1) * size0 : before;
      minimum = unit * nearestFactor(wanted, unit, -factors_.mostMinimum, 0);
      x_[2 * g + 1] = size0 > 0 ? (minimum - before) / size0 : 0;
    }
    const double unit = units_[block];
    const double change = size0 > 0 ? std::clamp(1 + solved(g * perGroup), 1 / kMostChange, kMostChange) : 1;
    const double stored = unit * nearestFactor(step * change, unit, factors_.leastScale, factors_.mostScale);
    x_[g * perGroup] = size0 > 0 ? stored / step - 1 : 0;
    alphabets[g] = Alphabet::of(kind_, stored, minimum).scaledBy(exponent);
  }
}

template void FactorRefit::run(const float*, const float*, std::size_t, int, Alphabet*);
template void FactorRefit::run(const double*, const double*, std::size_t, int, Alphabet*);

}  // namespace vertexq
