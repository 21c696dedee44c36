// What this machine can multiply, on one thread.
#include "bench.h"

namespace vertexq::bench {

namespace {

template <typename Real>
void peaks(std::size_t n, std::size_t depth) {
  Gemm<Real> gemm(n);
  const double gemmTime = medianTime(7, [&] { gemm.run(); });
  const BasicMatrix<Real> a = randomMatrix<Real>(n, depth, 5);
  BasicMatrix<Real> c(n, n);
  const double syrkTime = medianTime(
      5, [&] { linalg::syrk(CblasUpper, linalg::kPlain, n, depth, Real(1), a.data(), n, Real(0), c.data(), n); });
  Row row("peak");
  row.add("precision", precisionName<Real>()).add("order", static_cast<double>(n));
  row.add("gemmGflops", gemm.flops() / gemmTime * 1e-9);
  row.add("syrkGflops", static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(depth) / syrkTime * 1e-9);
}

}  // namespace

void benchPeaks(const Options& options) {
  for (const std::size_t n : {512, 1024, 2048}) {
    if (options.quick && n > 512) break;
    peaks<float>(n, 4096);
    peaks<double>(n, 4096);
  }
}

}  // namespace vertexq::bench
