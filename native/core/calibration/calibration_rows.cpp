#include "calibration/calibration_rows.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "error.h"
#include "linalg/lapack_panels.h"

namespace vertexq {

namespace {

/** Rows folded at once are at least so many: for a narrow layer the call itself would cost more than its work. */
constexpr std::size_t kLeastCapacity = 256;
/** Columns whose reflectors are applied together: 32 was fastest at 512 and 1536 inputs. */
constexpr std::size_t kReflectorBlock = 32;

template <typename Real>
void requireFinite(const Real* rows, std::size_t count, std::size_t inFeatures) {
  for (std::size_t i = 0; i < count * inFeatures; ++i)
    if (!std::isfinite(rows[i]))
      throw Error("ERR_VERTEXQ_NOT_FINITE", "activation at sample " + std::to_string(i / inFeatures) + ", input " +
                                                std::to_string(i % inFeatures) +
                                                (std::isnan(rows[i]) ? " is NaN" : " is infinite"));
}

}  // namespace

CalibrationRows::CalibrationRows(std::size_t inFeatures) : inFeatures_(inFeatures) {}

template <typename Real>
void CalibrationRows::add(const Real* rows, std::size_t count, const JobControl& control) {
  requireFinite(rows, count, inFeatures_);
  const std::size_t capacity = std::max(inFeatures_, kLeastCapacity);
  while (count > 0) {
    control.throwIfCancelled();
    const std::size_t taken = std::min(count, capacity - pendingRows());
    pending_.insert(pending_.end(), rows, rows + taken * inFeatures_);
    samples_ += taken;
    rows += taken * inFeatures_;
    count -= taken;
    if (pendingRows() == capacity) fold(control);
  }
}

void CalibrationRows::add(const RowSource& rows, const JobControl& control) {
  rows.requireFinite(control);
  constexpr std::size_t kSlice = 1024;
  std::vector<float> slice;
  for (std::size_t first = 0; first < rows.count(); first += kSlice) {
    control.throwIfCancelled();
    const std::size_t count = std::min(kSlice, rows.count() - first);
    slice.resize(count * rows.width());
    rows.read(first, count, slice.data());
    add(slice.data(), count, control);
  }
  samples_ += rows.zeros();
}

template void CalibrationRows::add<float>(const float*, std::size_t, const JobControl&);
template void CalibrationRows::add<double>(const double*, std::size_t, const JobControl&);

void CalibrationRows::fold(const JobControl& control) {
  if (torn_) throw Cancelled();
  const std::size_t n = inFeatures_;
  const std::size_t m = pendingRows();
  if (m == 0) return;
  if (triangle_.rows() == 0) triangle_ = Matrix(n, n);
  Matrix rows = pendingMatrix();
  pending_.clear();
  torn_ = true;
  linalg::foldIntoTriangle(triangle_, rows, kReflectorBlock, [&] { control.throwIfCancelled(); });
  torn_ = false;
}

/** The pending rows, column-major, in tiles that stay in cache on both sides. */
Matrix CalibrationRows::pendingMatrix() const {
  constexpr std::size_t kTile = 32;
  Matrix rows(pendingRows(), inFeatures_);
  for (std::size_t i0 = 0; i0 < rows.rows(); i0 += kTile)
    for (std::size_t j0 = 0; j0 < rows.cols(); j0 += kTile)
      for (std::size_t j = j0; j < std::min(j0 + kTile, rows.cols()); ++j)
        for (std::size_t i = i0; i < std::min(i0 + kTile, rows.rows()); ++i) rows(i, j) = pending_[i * inFeatures_ + j];
  return rows;
}

Matrix CalibrationRows::factor(const JobControl& control) {
  if (torn_) throw Cancelled();
  if (triangle_.rows() > 0 || pendingRows() > inFeatures_) fold(control);
  Matrix r = triangle_.rows() > 0 ? triangle_ : pendingMatrix();
  for (std::size_t i = 0; i < r.rows() * r.cols(); ++i)
    if (!std::isfinite(r.data()[i]))
      throw Error("ERR_VERTEXQ_NUMERIC", "the activations are too large: their norms overflow float64");
  return r;
}

}  // namespace vertexq
