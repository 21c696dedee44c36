#include "decode/cholesky.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "linalg/strip_cholesky.h"
#include "parallel/thread_pool.h"

namespace vertexq {

namespace {

/** A smaller matrix is factored, in a tenth of a millisecond at most, before a second thread has woken up. */
constexpr std::size_t kWorthThreads = 256;

}  // namespace

template <typename Real>
bool choleskyLower(BasicMatrix<Real>& a, unsigned threads, const JobControl& control) {
  const std::size_t n = a.cols();
  std::vector<Real> diagonal(n);
  for (std::size_t i = 0; i < n; ++i) diagonal[i] = a(i, i);

  linalg::StripCholesky<Real> cholesky(n);
  const linalg::ForEach onThreads = [&](std::size_t count, const std::function<void(std::size_t)>& task) {
    ThreadPool::shared().parallelFor(count, threads, [&](std::size_t index, unsigned) { task(index); });
  };
  control.throwIfCancelled();
  if (!(n < kWorthThreads ? cholesky.factor(n, a.data(), n)
                          : cholesky.factor(n, a.data(), n, onThreads, [&] { control.throwIfCancelled(); })))
    return false;

  const Real least = static_cast<Real>(kLeastPivot) * std::numeric_limits<Real>::epsilon();
  for (std::size_t i = 0; i < n; ++i)
    if (!(a(i, i) * a(i, i) > least * diagonal[i])) return false;
  return true;
}

template bool choleskyLower(BasicMatrix<float>&, unsigned, const JobControl&);
template bool choleskyLower(BasicMatrix<double>&, unsigned, const JobControl&);

}  // namespace vertexq
