// Gram matrices that someone else has summed: what is accepted as one, and what is used of it.
#pragma once

#include <cstddef>

#include "calibration/calibration_gram.h"
#include "linalg/matrix.h"
#include "parallel/job_control.h"

namespace vertexq {

struct GivenGram {
  /**
   * H, and G where it was given. Where H has eigenvalues below 0 by more than float64 rounds it is H + shift·I, but for inputs that were
   * always 0: neither a fit nor an error may rest on a direction in which outputs have a negative square. Of numbers near the ends of
   * float64's range both are times 2^-exponent, on which neither codes nor relative errors depend.
   */
  GramData data;
  int exponent = 0;  // even
  double shift = 0;
};

/**
 * Takes H = X̃ᵀX̃ and, where `cross` is not null, G = X̃ᵀX, row-major. Rows summed in float32 are allowed for: entries may be off by
 * about 1e-5 of the largest one, and eigenvalues, whatever the signs of these, by √N times as much. Throws ERR_VERTEXQ_GRAM where H
 * is not finite, not symmetric or not positive semidefinite, or G is not finite; Cancelled within a moment.
 *
 * H + s·I has a Cholesky factor where no eigenvalue of H is below -s: so one factorisation accepts a matrix, two refuse it, and a few
 * more find, to a factor of two, the least shift for one that rounding has bent, a nearest semidefinite matrix to it (Higham 1988,
 * section 3). The bytes do not depend on `threads`.
 */
GivenGram givenGram(const double* gram, const double* cross, std::size_t inFeatures, unsigned threads = 1,
                    const JobControl& control = JobControl());

/**
 * R with RᵀR = H, of as many rows as H has directions, in the unit of the rows that H was summed of. By pivoted_cholesky.h, down to
 * pivots that are rounding: 8·N·ε of the largest, or a few times the shift, which no row is to have for a direction that had none. Throws Cancelled.
 */
Matrix factorOf(const GivenGram& given, unsigned threads = 1, const JobControl& control = JobControl());

}  // namespace vertexq
