// Calibration data as Gram matrices: of what the quantized network sees, and of that with what the float network saw.
#pragma once

#include <cstddef>
#include <memory>

#include "calibration/gram.h"
#include "linalg/matrix.h"
#include "parallel/job_control.h"

namespace vertexq {

/** H = X̃ᵀX̃, and for pairs G = X̃ᵀX (element (i, j) is Σ x̃_i x_j) and F = XᵀX. Empty where not known. */
struct GramData {
  Matrix h;
  Matrix cross;
  Matrix target;

  bool paired() const { return cross.cols() > 0; }

  /** Adds the sums of other rows, of the same kinds; into empty ones they are copied. */
  void add(const GramData& other);
};

/**
 * Accumulates GramData batch by batch. Float32 rows are multiplied in float32 and summed in float64 (gram.h). Memory: N²/2
 * doubles for each symmetric matrix and N² for G, whatever the number of samples.
 */
class CalibrationGram {
 public:
  CalibrationGram(std::size_t inFeatures, bool paired);

  /** Rows of X̃, and of X for the same samples if paired. Throws as GramAccumulator::add. */
  template <typename Real>
  void add(const Real* seen, const Real* meant, std::size_t count, unsigned threads, JobControl& control);

  /** The rows of sources, a few slices at a time; `meant` is null but for pairs. */
  void add(const RowSource& seen, const RowSource* meant, unsigned threads, JobControl& control);

  std::size_t inFeatures() const { return seen_.inFeatures(); }
  std::size_t samples() const { return seen_.samples(); }
  bool paired() const { return meant_ != nullptr; }
  GramData data(unsigned threads) const;

 private:
  GramAccumulator seen_;
  std::unique_ptr<GramAccumulator> meant_;
};

}  // namespace vertexq
