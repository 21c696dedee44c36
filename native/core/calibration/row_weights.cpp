#include "calibration/row_weights.h"

#include <cmath>
#include <string>

#include "error.h"

namespace vertexq {

std::vector<double> rowScales(const float* weights, std::size_t count) {
  std::vector<double> scales(count);
  for (std::size_t row = 0; row < count; ++row) {
    const float weight = weights[row];
    if (!(weight >= 0) || std::isinf(weight))
      throw Error("ERR_VERTEXQ_CALIBRATION", "the weight of row " + std::to_string(row) + " is " +
                                                 (std::isnan(weight) ? std::string("NaN") : std::to_string(weight)) +
                                                 ": expected finite numbers that are not negative");
    scales[row] = std::sqrt(static_cast<double>(weight));
  }
  return scales;
}

template <typename Real>
void scaleRows(Real* rows, std::size_t width, const std::vector<double>& scales) {
  for (std::size_t row = 0; row < scales.size(); ++row) {
    Real* own = rows + row * width;
    for (std::size_t i = 0; i < width; ++i) {
      const Real scaled = static_cast<Real>(static_cast<double>(own[i]) * scales[row]);
      if (std::isfinite(own[i])) {
        if (!std::isfinite(scaled))
          throw Error("ERR_VERTEXQ_CALIBRATION", "the weight of row " + std::to_string(row) + " takes its input " +
                                                     std::to_string(i) + " out of the range of numbers");
        own[i] = scaled;
      }
    }
  }
}

template void scaleRows<float>(float*, std::size_t, const std::vector<double>&);
template void scaleRows<double>(double*, std::size_t, const std::vector<double>&);

void WeightedPatches::read(std::size_t first, std::size_t rows, float* out) const {
  rows_.read(first, rows, out);
  const std::size_t n = width();
  for (std::size_t row = 0; row < rows; ++row) {
    const double scale = scales_[rows_.place(first + row)];
    for (std::size_t i = 0; i < n; ++i) out[row * n + i] = static_cast<float>(out[row * n + i] * scale);
  }
}

}  // namespace vertexq
