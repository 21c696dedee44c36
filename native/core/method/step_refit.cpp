#include "method/step_refit.h"

#include <algorithm>
#include <cmath>

#include "linalg/real_blas.h"
#include "scales/refit.h"

namespace vertexq {

StepRefit::StepRefit(const Matrix& h, std::size_t groupSize) : h_(h), groupSize_(groupSize) {}

/** Adds to the lower triangle the products with H of the own-th direction of every group and the others-th of all from it on. */
void StepRefit::build(const double* direction, std::size_t own, const double* other, std::size_t others,
                      std::size_t perGroup) {
  const std::size_t n = h_.cols(), groups = groupsOf(n, groupSize_);
  for (std::size_t j = 0; j < n; ++j) {
    if (direction[j] == 0) continue;
    const std::size_t group = j / groupSize_;
    const double* column = h_.column(j);
    for (std::size_t g = group; g < groups; ++g) {
      const std::size_t first = g * groupSize_;
      system_(g * perGroup + others, group * perGroup + own) +=
          direction[j] * linalg::dot(std::min(groupSize_, n - first), column + first, other + first);
    }
  }
}

void StepRefit::run(const AlphabetOptions& kind, const double* q, const std::int8_t* codes, const double* gradient,
                    int exponent, Alphabet* alphabets) {
  const std::size_t n = h_.cols(), groups = groupsOf(n, groupSize_);
  const std::size_t perGroup = kind.grid == Grid::Minimum ? 2 : 1, size = perGroup * groups;
  right_.assign(size, 0.0);
  if (system_.rows() != size) system_ = Matrix(size, size);
  std::fill_n(system_.data(), size * size, 0.0);
  const double* directions[2] = {q, nullptr};
  if (perGroup == 2) {
    steps_.resize(n);
    units_.resize(n);
    for (std::size_t j = 0; j < n; ++j) {
      units_[j] = alphabets[j / groupSize_].step();
      steps_[j] = codes[j] * units_[j];
    }
    directions[0] = steps_.data();
    directions[1] = units_.data();
  }
  for (std::size_t own = 0; own < perGroup; ++own) {
    for (std::size_t j = 0; j < n; ++j) right_[j / groupSize_ * perGroup + own] -= directions[own][j] * gradient[j];
    for (std::size_t others = 0; others < perGroup; ++others)
      build(directions[own], own, directions[others], others, perGroup);
  }
  double trace = 0;
  for (std::size_t d = 0; d < size; ++d) trace += system_(d, d);
  if (!(trace > 0)) return;
  for (std::size_t d = 0; d < size; ++d) system_(d, d) += kRefitRidge * trace / static_cast<double>(size);
  if (linalg::potrf('L', size, system_.data(), size) != 0) return;
  linalg::trsv(CblasLower, linalg::kPlain, CblasNonUnit, size, system_.data(), size, right_.data());
  if (kind.factors.groups > 0)
    return FactorRefit(kind.kind(), kind.factors, kind.precision)
        .run(system_.data(), right_.data(), size, exponent, alphabets);
  linalg::trsv(CblasLower, linalg::kTransposed, CblasNonUnit, size, system_.data(), size, right_.data());
  for (std::size_t g = 0; g < groups; ++g) {
    Alphabet& a = alphabets[g];
    const double change = right_[g * perGroup], shift = perGroup == 2 ? right_[2 * g + 1] : 0;
    if (!std::isfinite(change) || !std::isfinite(shift)) continue;
    const double factor = std::clamp(1 + change, 1 / kMostRefit, kMostRefit);
    const double step = roundedTo(std::ldexp(a.step() * factor, -exponent), kind.precision);
    if (!(step > 0) || !std::isfinite(step)) continue;
    const double zero = perGroup == 2 ? (a.zeroPoint() - shift) / factor : a.zeroPoint();
    const Alphabet stored = Alphabet::withStep(kind.kind(), step, zero, kind.precision);
    if (stored.heldIn(kind.precision)) a = stored.scaledBy(exponent);
  }
}

}  // namespace vertexq
