// Our Cholesky factorisation against LAPACK's and GEMM's rate, and on two threads.
#include <cmath>
#include <ctime>

#include "bench.h"
#include "calibration/given_gram.h"
#include "decode/cholesky.h"
#include "linalg/strip_cholesky.h"
#include "parallel/job_control.h"

namespace vertexq::bench {

namespace {

template <typename Real>
void benchOrder(std::size_t n, bool quick) {
  const BasicMatrix<Real> x = randomMatrix<Real>(n, 2 * n, 30);
  BasicMatrix<Real> a(n, n), l(n, n);
  linalg::syrk(CblasLower, linalg::kPlain, n, 2 * n, Real(1), x.data(), n, Real(0), a.data(), n);
  linalg::StripCholesky<Real> cholesky(n);
  const JobControl control;
  // A turn is as many factorisations as take some milliseconds.
  const double flops = static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n) / 3;
  const int turn = std::max(1, static_cast<int>(5e8 / flops));
  const auto timed = [&](auto factor) {
    double time = 0;
    for (int i = 0; i < turn; ++i) {
      std::copy_n(a.data(), n * n, l.data());
      time += timeOnce(factor);
    }
    return time;
  };
  std::vector<double> ours, lapack, one, two;
  // In turns, the product too.
  const double gemm = besideGemm<Real>(n, quick ? 1 : 9, [&] {
                        ours.push_back(timed([&] { cholesky.factor(n, l.data(), n); }));
                        lapack.push_back(timed([&] { linalg::potrf('L', n, l.data(), n); }));
                        one.push_back(timed([&] { choleskyLower(l, 1, control); }));
                        two.push_back(timed([&] { choleskyLower(l, 2, control); }));
                      }).second;
  const double peak = 2.0 * std::pow(static_cast<double>(n), 3) / gemm;
  Row("cholesky")
      .add("precision", precisionName<Real>())
      .add("order", static_cast<double>(n))
      .add("ofPeak", flops * turn / median(ours) / peak)
      .add("timesLapack", median(lapack) / median(ours))
      .add("speedup", median(one) / median(two));
}

/** Seconds of all cores: others may use the machine too. */
template <typename Task>
double coresOnce(Task task) {
  const std::clock_t start = std::clock();
  task();
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

}  // namespace

/** What it takes to look at a recorded Gram matrix, beside a factorisation of its size by LAPACK and by ours. */
void benchGramCheck(const Options& options) {
  for (const std::size_t n : {std::size_t{1024}, std::size_t{8192}}) {
    if (options.quick && n > 1024) break;
    Matrix h = randomMatrix<double>(n, n, 31);
    for (std::size_t j = 0; j < n; ++j) {
      for (std::size_t i = 0; i < j; ++i) h(i, j) = h(j, i);
      h(j, j) = 4 * static_cast<double>(n);
    }
    const JobControl control;
    const double check = coresOnce([&] { givenGram(h.data(), nullptr, n, options.threads, control); });
    Matrix l = h;
    const double lapack = coresOnce([&] { linalg::potrf('L', n, l.data(), n); });
    l = h;
    const double ours = coresOnce([&] { choleskyLower(l, options.threads, control); });
    Row("gram-check")
        .add("order", static_cast<double>(n))
        .add("coreSeconds", check)
        .add("timesLapack", check / lapack)
        .add("timesOurs", check / ours);
  }
}

void benchCholesky(const Options& options) {
  for (const std::size_t n : {128, 384, 1024, 2048, 4096}) {
    if (options.quick && n > 384) break;
    benchOrder<float>(n, options.quick);
    benchOrder<double>(n, options.quick);
  }
}

}  // namespace vertexq::bench
