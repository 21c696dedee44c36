#include "scales/refit.h"

#include <algorithm>
#include <cmath>

#include "linalg/real_blas.h"

namespace vertexq {

ScaleRefit::ScaleRefit(NeuronBlock& block)
    : block_(block),
      difference_(block.inputs() * kNeuronBlock),
      gradient_(block.inputs() * kNeuronBlock),
      matrix_(block.groups() * block.groups() * kNeuronBlock),
      vector_(block.groups() * kNeuronBlock) {}

void ScaleRefit::run(Attempt& attempt, const JobControl& control) {
  control.checkpoint();
  buildSystems(attempt);
  control.checkpoint();
  for (std::size_t l = 0; l < block_.count(); ++l) solve(l, attempt);
  block_.revalue(attempt);
}

void ScaleRefit::buildSystems(const Attempt& attempt) {
  const FloatMatrix& h = block_.system().h();
  const std::size_t n = block_.inputs(), count = block_.count(), groups = block_.groups();
  const std::size_t groupSize = block_.system().groupSize();
  // Σ over the inputs [first, last) of q·y.
  const auto product = [&](std::size_t l, std::size_t first, std::size_t last, const float* y) {
    const float* q = &attempt.values[l * n];
    double sum = 0;
    for (std::size_t i = first; i < last; ++i) sum += static_cast<double>(q[i] * y[i]);
    return sum;
  };

  for (std::size_t i = 0; i < n * count; ++i) difference_[i] = attempt.values[i] - block_.weights()[i];
  linalg::gemm(linalg::kPlain, linalg::kPlain, n, count, n, 1.0F, h.data(), n, difference_.data(), n, 0.0F,
               gradient_.data(), n);
  for (std::size_t l = 0; l < count; ++l)
    for (std::size_t g = 0; g < groups; ++g)
      vector_[g + l * groups] = product(l, g * groupSize, std::min((g + 1) * groupSize, n), &gradient_[l * n]);

  for (std::size_t g = 0; g < groups; ++g) {
    // H q^g from the group's own rows on: the upper triangle is not needed.
    const std::size_t first = g * groupSize;
    const std::size_t size = std::min(groupSize, n - first);
    linalg::gemm(linalg::kPlain, linalg::kPlain, n - first, count, size, 1.0F, h.column(first) + first, n,
                 &attempt.values[first], n, 0.0F, gradient_.data() + first, n);
    for (std::size_t l = 0; l < count; ++l)
      for (std::size_t k = g; k < groups; ++k)
        matrix_[(l * groups + g) * groups + k] =
            product(l, k * groupSize, std::min((k + 1) * groupSize, n), &gradient_[l * n]);
  }
}

void ScaleRefit::solve(std::size_t l, Attempt& attempt) {
  const std::size_t groups = block_.groups();
  double* a = &matrix_[l * groups * groups];
  double* t = &vector_[l * groups];
  double trace = 0;
  for (std::size_t g = 0; g < groups; ++g) trace += a[g * groups + g];
  if (!(trace > 0) || !std::isfinite(trace)) return;
  const double ridge = kRefitRidge * trace / static_cast<double>(groups);
  for (std::size_t g = 0; g < groups; ++g) a[g * groups + g] += ridge;
  // The ridge dwarfs float32's errors in A unless H is far worse conditioned than any damped one.
  if (linalg::potrf('L', groups, a, groups) != 0) return;
  linalg::trsv(CblasLower, linalg::kPlain, CblasNonUnit, groups, a, groups, t);
  linalg::trsv(CblasLower, linalg::kTransposed, CblasNonUnit, groups, a, groups, t);
  for (std::size_t g = 0; g < groups; ++g) {
    Alphabet& alphabet = attempt.alphabets[l * groups + g];
    if (!(alphabet.step() > 0) || !std::isfinite(t[g])) continue;
    const double factor = std::clamp(1 - t[g], 1 / kMostRefit, kMostRefit);
    alphabet = block_.withStep(l, alphabet.step() * factor, static_cast<int>(std::floor(alphabet.zeroPoint())));
  }
}

}  // namespace vertexq
