// Gram matrices that someone else has summed: what is accepted as one, and what is used of it.
#pragma once

#include <cstddef>

#include "calibration/calibration_gram.h"
#include "linalg/matrix.h"
#include "parallel/job_control.h"

namespace vertexq {

struct GivenGram {
  /** R with RᵀR = the positive semidefinite part of H. */
  Matrix factor;
  /**
   * H, and G where it was given. Where H has eigenvalues below 0 by more than float64 rounds it is RᵀR: neither a fit nor an error may
   * rest on a direction in which outputs have a negative square. Of numbers near the ends of float64's range both are times a common
   * power of two, on which neither codes nor relative errors depend.
   */
  GramData data;
};

/**
 * Takes H = X̃ᵀX̃ and, where `cross` is not null, G = X̃ᵀX, row-major. Rows summed in float32 are allowed for: entries may be off by
 * about 1e-5 of the largest one, and eigenvalues, whatever the signs of these, by √N times as much; eigenvalues below
 * 8·N·ε times the largest count as zero in R. Throws ERR_VERTEXQ_GRAM where H is not finite, not symmetric or not positive
 * semidefinite, or G is not finite.
 *
 * Without `withFactor` R may be left empty: then a Cholesky factorisation, which is cancelled within a moment, tells of most matrices
 * what the eigenvalues, which LAPACK finds in one call, would tell.
 */
GivenGram givenGram(const double* gram, const double* cross, std::size_t inFeatures, bool withFactor = true,
                    const JobControl& control = JobControl());

}  // namespace vertexq
