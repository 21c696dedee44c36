#include "scales/refit.h"

#include <algorithm>
#include <cmath>

#include "linalg/real_blas.h"

namespace vertexq {

ScaleRefit::ScaleRefit(NeuronBlock& block)
    : block_(block),
      perGroup_(block.options().grid == Grid::Minimum ? 2 : 1),
      factors_(block.options().kind(), block.options().factors, block.options().precision),
      difference_(block.inputs() * kNeuronBlock),
      gradient_(block.inputs() * kNeuronBlock),
      matrix_(perGroup_ * block.groups() * perGroup_ * block.groups() * kNeuronBlock),
      vector_(perGroup_ * block.groups() * kNeuronBlock) {}

void ScaleRefit::run(Attempt& attempt, const JobControl& control) {
  control.throwIfCancelled();
  if (perGroup_ > 1) setDirections(attempt);
  buildSystems(attempt);
  control.throwIfCancelled();
  for (std::size_t l = 0; l < block_.count(); ++l) solve(l, attempt);
  block_.revalue(attempt);
}

/** What a change of the steps, and of the minima, adds to the values. */
void ScaleRefit::setDirections(const Attempt& attempt) {
  const std::size_t n = block_.inputs();
  for (std::vector<float>& direction : directions_) direction.resize(n * block_.count());
  for (std::size_t l = 0; l < block_.count(); ++l)
    for (std::size_t i = 0; i < n; ++i) {
      const Alphabet& a = attempt.alphabets[l * block_.groups() + i / block_.system().groupSize()];
      directions_[0][i + l * n] = static_cast<float>(attempt.codes[i + l * n] * a.step());
      directions_[1][i + l * n] = static_cast<float>(a.step());
    }
}

void ScaleRefit::buildSystems(const Attempt& attempt) {
  const FloatMatrix& h = block_.system().h();
  const std::size_t n = block_.inputs(), count = block_.count(), groups = block_.groups();
  const std::size_t groupSize = block_.system().groupSize();
  const float* directions[2] = {attempt.values.data(), nullptr};
  if (perGroup_ > 1)
    for (std::size_t j = 0; j < 2; ++j) directions[j] = directions_[j].data();
  // Σ over the inputs [first, last) of direction·y, the j-th direction of a group.
  const auto product = [&](std::size_t j, std::size_t l, std::size_t first, std::size_t last, const float* y) {
    const float* q = directions[j] + l * n;
    double sum = 0;
    for (std::size_t i = first; i < last; ++i) sum += static_cast<double>(q[i] * y[i]);
    return sum;
  };

  for (std::size_t i = 0; i < n * count; ++i) difference_[i] = attempt.values[i] - block_.weights()[i];
  linalg::gemm(linalg::kPlain, linalg::kPlain, n, count, n, 1.0F, h.data(), n, difference_.data(), n, 0.0F,
               gradient_.data(), n);
  // Direction d is the one of group d / perGroup_.
  const std::size_t size = perGroup_ * groups;
  const auto productOf = [&](std::size_t d, std::size_t l) {
    const std::size_t first = d / perGroup_ * groupSize;
    return product(d % perGroup_, l, first, std::min(first + groupSize, n), &gradient_[l * n]);
  };
  for (std::size_t l = 0; l < count; ++l)
    for (std::size_t d = 0; d < size; ++d) vector_[d + l * size] = productOf(d, l);

  for (std::size_t d = 0; d < size; ++d) {
    // H q^g from the group's own rows on: the upper triangle is not needed.
    const std::size_t first = d / perGroup_ * groupSize;
    linalg::gemm(linalg::kPlain, linalg::kPlain, n - first, count, std::min(groupSize, n - first), 1.0F,
                 h.column(first) + first, n, directions[d % perGroup_] + first, n, 0.0F, gradient_.data() + first, n);
    for (std::size_t l = 0; l < count; ++l)
      for (std::size_t k = d; k < size; ++k) matrix_[(l * size + d) * size + k] = productOf(k, l);
  }
}

void ScaleRefit::solve(std::size_t l, Attempt& attempt) {
  const std::size_t groups = block_.groups(), size = perGroup_ * groups;
  double* a = &matrix_[l * size * size];
  double* t = &vector_[l * size];
  double trace = 0;
  for (std::size_t d = 0; d < size; ++d) trace += a[d * size + d];
  if (!(trace > 0) || !std::isfinite(trace)) return block_.hold(l, &attempt.alphabets[l * groups]);
  const double ridge = kRefitRidge * trace / static_cast<double>(size);
  for (std::size_t d = 0; d < size; ++d) a[d * size + d] += ridge;
  // The ridge dwarfs float32's errors in A unless H is far worse conditioned than any damped one.
  if (linalg::potrf('L', size, a, size) != 0) return block_.hold(l, &attempt.alphabets[l * groups]);
  linalg::trsv(CblasLower, linalg::kPlain, CblasNonUnit, size, a, size, t);
  if (block_.options().factors.groups > 0) {
    for (std::size_t d = 0; d < size; ++d) t[d] = -t[d];
    factors_.run(a, t, size, block_.exponent(l), &attempt.alphabets[l * groups]);
    return;
  }
  linalg::trsv(CblasLower, linalg::kTransposed, CblasNonUnit, size, a, size, t);
  for (std::size_t g = 0; g < groups; ++g) {
    Alphabet& alphabet = attempt.alphabets[l * groups + g];
    const double change = t[perGroup_ * g], shift = perGroup_ > 1 ? t[2 * g + 1] : 0;
    if (!(alphabet.step() > 0) || !std::isfinite(change) || !std::isfinite(shift)) continue;
    const double factor = std::clamp(1 - change, 1 / kMostRefit, kMostRefit);
    const double zero = perGroup_ > 1 ? (shift + alphabet.zeroPoint()) / factor : alphabet.zeroPoint();
    alphabet = block_.withStep(l, alphabet.step() * factor, zero);
  }
}

}  // namespace vertexq
