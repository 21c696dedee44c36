#include "decode/damping.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "error.h"

namespace vertexq {

template <typename Real>
double dampingUnit(const BasicMatrix<Real>& h) {
  // Each term is divided first: the sum of huge entries must not overflow.
  double sum = 0;
  std::size_t live = 0;
  for (std::size_t i = 0; i < h.cols(); ++i) live += h(i, i) != 0;
  for (std::size_t i = 0; i < h.cols(); ++i) {
    const double value = h(i, i);
    if (!(value >= 0) || !std::isfinite(value))
      throw Error("ERR_VERTEXQ_NUMERIC",
                  "entry " + std::to_string(i) + " of the Gram matrix's diagonal is " + std::to_string(value));
    sum += live == 0 ? 0 : value / static_cast<double>(live);
  }
  return live == 0 ? 1 : sum;
}

template <typename Real>
BasicMatrix<Real> damped(BasicMatrix<Real> h, double damping) {
  const double unit = dampingUnit(h);
  for (std::size_t i = 0; i < h.cols(); ++i) {
    const double value = h(i, i);
    h(i, i) = static_cast<Real>(value == 0 ? unit : value + damping * unit);
  }
  return h;
}

template <typename Real>
double unitScale(const BasicMatrix<Real>& h) {
  double largest = 0;
  for (std::size_t i = 0; i < h.cols(); ++i) largest = std::max(largest, static_cast<double>(h(i, i)));
  if (!(largest > 0) || !std::isfinite(largest)) return 1;
  // 2^1074 would overflow: a matrix of denormals is brought as near to 1 as a finite power brings it.
  return std::ldexp(1.0, std::min(-std::ilogb(largest), 1023));
}

template double dampingUnit(const BasicMatrix<float>&);
template double dampingUnit(const BasicMatrix<double>&);
template BasicMatrix<float> damped(BasicMatrix<float>, double);
template BasicMatrix<double> damped(BasicMatrix<double>, double);
template double unitScale(const BasicMatrix<float>&);
template double unitScale(const BasicMatrix<double>&);

}  // namespace vertexq
