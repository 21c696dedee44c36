#include "calibration_rows.h"

#include <lapacke.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "error.h"
#include "spectrum.h"

namespace vertexq {

namespace {

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
  const std::size_t capacity = 2 * inFeatures_;
  while (count > 0) {
    control.checkpoint();
    if (held_ == capacity) fold();
    const std::size_t taken = std::min(count, capacity - held_);
    rows_.resize((held_ + taken) * inFeatures_);
    std::copy(rows, rows + taken * inFeatures_, rows_.begin() + static_cast<std::ptrdiff_t>(held_ * inFeatures_));
    held_ += taken;
    samples_ += taken;
    rows += taken * inFeatures_;
    count -= taken;
  }
}

template void CalibrationRows::add<float>(const float*, std::size_t, const JobControl&);
template void CalibrationRows::add<double>(const double*, std::size_t, const JobControl&);

void CalibrationRows::fold() {
  if (held_ <= inFeatures_) return;
  const auto n = static_cast<lapack_int>(inFeatures_);
  std::vector<double> tau(inFeatures_);
  const lapack_int info =
      LAPACKE_dgelqf(LAPACK_COL_MAJOR, n, static_cast<lapack_int>(held_), rows_.data(), n, tau.data());
  if (info != 0) throw Error("ERR_VERTEXQ_NUMERIC", "LAPACK dgelqf failed with info " + std::to_string(info));
  held_ = inFeatures_;
  rows_.resize(held_ * inFeatures_);
  // Row i of R = Lᵀ begins at its diagonal; what stands before it are the reflectors of Q.
  for (std::size_t i = 1; i < held_; ++i)
    std::fill_n(rows_.begin() + static_cast<std::ptrdiff_t>(i * inFeatures_), i, 0.0);
}

Matrix CalibrationRows::factor() {
  fold();
  Matrix r(held_, inFeatures_);
  for (std::size_t i = 0; i < held_; ++i)
    for (std::size_t j = 0; j < inFeatures_; ++j) {
      r(i, j) = rows_[i * inFeatures_ + j];
      if (!std::isfinite(r(i, j)))
        throw Error("ERR_VERTEXQ_NUMERIC", "the activations are too large: their norms overflow float64");
    }
  return r;
}

Matrix factorOfGram(const double* gram, std::size_t inFeatures) {
  const std::size_t n = inFeatures;
  Matrix h(n, n);
  double largest = 0;
  for (std::size_t i = 0; i < n * n; ++i) {
    if (!std::isfinite(gram[i])) throw Error("ERR_VERTEXQ_GRAM", "the Gram matrix holds a NaN or an infinity");
    largest = std::max(largest, std::abs(gram[i]));
  }
  // Sums of float32 products, the usual source of a Gram matrix, are good to about this much.
  const double slack = 1e-5 * largest;
  for (std::size_t j = 0; j < n; ++j)
    for (std::size_t i = 0; i < n; ++i) {
      if (std::abs(gram[i * n + j] - gram[j * n + i]) > slack)
        throw Error("ERR_VERTEXQ_GRAM", "the Gram matrix is not symmetric: entries (" + std::to_string(i) + ", " +
                                            std::to_string(j) + ") and its mirror image differ");
      h(i, j) = 0.5 * gram[i * n + j] + 0.5 * gram[j * n + i];
    }
  const Spectrum s = spectrumOf(std::move(h));
  const double top = s.values.empty() ? 0 : s.values.front();
  if (!s.values.empty() && s.values.back() < -slack * static_cast<double>(n))
    throw Error("ERR_VERTEXQ_GRAM", "the Gram matrix is not positive semidefinite: it has an eigenvalue of " +
                                        std::to_string(s.values.back()));
  const double tolerance = std::max(top, 0.0) * static_cast<double>(n) * std::numeric_limits<double>::epsilon();
  const auto rank = static_cast<std::size_t>(
      std::count_if(s.values.begin(), s.values.end(), [&](double value) { return value > tolerance; }));
  Matrix r(rank, n);
  for (std::size_t k = 0; k < rank; ++k)
    for (std::size_t j = 0; j < n; ++j) r(k, j) = std::sqrt(s.values[k]) * s.vectors(j, k);
  return r;
}

}  // namespace vertexq
