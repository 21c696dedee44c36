// Rows of calibration data that count for more or less than others.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "calibration/conv_patches.h"

namespace vertexq {

/**
 * What rows of weights s are multiplied with: √s, so that their products enter every sum s times, XᵀSX. Throws ERR_VERTEXQ_CALIBRATION,
 * naming the row, at a weight that is negative, NaN or infinite.
 */
std::vector<double> rowScales(const float* weights, std::size_t count);

/**
 * Multiplies each row of `width` numbers with its scale, rounded once. What is NaN or infinite stays so. Throws ERR_VERTEXQ_CALIBRATION
 * where a number leaves the range of its type by it.
 */
template <typename Real>
void scaleRows(Real* rows, std::size_t width, const std::vector<double>& scales);

/** The patches of a group, each multiplied with the scale of its output position. Refers to both, which must outlive it. */
class WeightedPatches : public RowSource {
 public:
  WeightedPatches(ConvPatches::Group rows, const std::vector<double>& scales)
      : rows_(std::move(rows)), scales_(scales) {}
  std::size_t count() const override { return rows_.count(); }
  std::size_t zeros() const override { return rows_.zeros(); }
  std::size_t width() const override { return rows_.width(); }
  void requireFinite(const JobControl& control) const override { rows_.requireFinite(control); }
  void read(std::size_t first, std::size_t rows, float* out) const override;

 private:
  ConvPatches::Group rows_;
  const std::vector<double>& scales_;
};

}  // namespace vertexq
