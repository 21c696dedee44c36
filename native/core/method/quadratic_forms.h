// Products of a symmetric matrix with vectors of a layer's neurons, a block of neurons a task.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "linalg/matrix.h"
#include "linalg/real_blas.h"
#include "parallel/job_control.h"
#include "parallel/thread_pool.h"

namespace vertexq {

/** Neurons of a task; fixed, for GEMM's bits depend on it. */
inline constexpr std::size_t kFormBlock = 64;

/** Calls visit(neuron, v, H·v) for each of `neurons` vectors v that fill(neuron, v) writes. */
template <typename Fill, typename Visit>
void withProducts(const Matrix& h, std::size_t neurons, unsigned threads, const JobControl& control, Fill fill,
                  Visit visit) {
  const std::size_t n = h.cols();
  ThreadPool::shared().parallelFor((neurons + kFormBlock - 1) / kFormBlock, threads, [&](std::size_t block, unsigned) {
    control.throwIfCancelled();
    const std::size_t first = block * kFormBlock, count = std::min(kFormBlock, neurons - first);
    Matrix values(n, count), product(n, count);
    for (std::size_t k = 0; k < count; ++k) fill(first + k, values.column(k));
    linalg::gemm(linalg::kPlain, linalg::kPlain, n, count, n, 1.0, h.data(), n, values.data(), n, 0.0, product.data(),
                 n);
    for (std::size_t k = 0; k < count; ++k) visit(first + k, values.column(k), product.column(k));
  });
}

/** vᵀ H v for each of `neurons` vectors v that fill(neuron, v) writes. */
template <typename Fill>
std::vector<double> quadraticForms(const Matrix& h, std::size_t neurons, unsigned threads, const JobControl& control,
                                   Fill fill) {
  std::vector<double> forms(neurons);
  withProducts(h, neurons, threads, control, fill, [&](std::size_t neuron, const double* v, const double* product) {
    forms[neuron] = linalg::dot(h.cols(), v, product);
  });
  return forms;
}

}  // namespace vertexq
