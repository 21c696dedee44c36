// Gram accumulation against syrk of the same size.
#include "bench.h"
#include "calibration/gram.h"

namespace vertexq::bench {

namespace {

template <typename Real>
void benchSize(std::size_t n, std::size_t rows) {
  const BasicMatrix<Real> x = randomMatrix<Real>(n, rows, 20);  // columns are rows of X
  BasicMatrix<Real> c(n, n);
  std::vector<double> products, sums;
  const auto product = [&] {
    linalg::syrk(CblasUpper, linalg::kPlain, n, rows, Real(1), x.data(), n, Real(0), c.data(), n);
  };
  const auto accumulate = [&] {
    JobControl control;
    GramAccumulator accumulator(n, GramPrecision::Fast);
    accumulator.add(x.data(), rows, 1, control);
  };
  product();
  accumulate();
  for (int i = 0; i < 5; ++i) {
    products.push_back(timeOnce(product));
    sums.push_back(timeOnce(accumulate));
  }
  Row("gram")
      .add("precision", precisionName<Real>())
      .add("inFeatures", static_cast<double>(n))
      .add("rows", static_cast<double>(rows))
      .add("ofSyrk", median(products) / median(sums));
}

}  // namespace

void benchGram(const Options& options) {
  for (const std::size_t n : {512, 1024, 2048, 4096}) {
    if (options.quick && n > 512) break;
    benchSize<float>(n, 8192);
    benchSize<double>(n, 8192);
  }
}

}  // namespace vertexq::bench
