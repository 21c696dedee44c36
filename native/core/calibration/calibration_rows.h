// Calibration data of any length, kept as the few rows that matter.
#pragma once

#include <cstddef>
#include <vector>

#include "calibration/row_source.h"
#include "linalg/matrix.h"
#include "parallel/job_control.h"

namespace vertexq {

/**
 * Accumulates the rows of X (samples × inFeatures) as a matrix R of at most inFeatures rows with RᵀR = XᵀX, so that
 * ‖Rv‖ = ‖Xv‖ for every v: all that a layer's fit and its error need. Rows are kept as they are while they are few; then
 * a QR factorisation folds them into a triangle, time after time. XᵀX itself is never formed: it would square the condition
 * number. Memory: 3·inFeatures² doubles at most, whatever the number of samples.
 */
class CalibrationRows {
 public:
  explicit CalibrationRows(std::size_t inFeatures);

  /**
   * Adds `count` rows, row-major. Throws ERR_VERTEXQ_NOT_FINITE, naming row and column, at a NaN or an infinity, and then has
   * added nothing of this call; Cancelled between two panels of a folding, and then the rows mean nothing: every later call throws
   * Cancelled too.
   */
  template <typename Real>
  void add(const Real* rows, std::size_t count, const JobControl& control);
  /** The rows of a source, a slice at a time. */
  void add(const RowSource& rows, const JobControl& control);

  std::size_t inFeatures() const { return inFeatures_; }
  /** How many rows were added in all. */
  std::size_t samples() const { return samples_; }

  /** R, with at most min(samples, inFeatures) rows. Folds first if need be; cancelled as add(). */
  Matrix factor(const JobControl& control = JobControl());

 private:
  std::size_t pendingRows() const { return pending_.size() / inFeatures_; }
  Matrix pendingMatrix() const;
  void fold(const JobControl& control);

  std::size_t inFeatures_;
  std::size_t samples_ = 0;
  bool torn_ = false;            // a folding was cancelled halfway
  std::vector<double> pending_;  // rows not yet folded, row-major
  Matrix triangle_;              // upper, inFeatures × inFeatures; empty before the first folding
};

}  // namespace vertexq
