// The damped Gram matrix that walk, decoding and polish share.
#pragma once

#include <cstddef>

#include "linalg/matrix.h"

namespace vertexq {

/**
 * The scale on which a Gram matrix is damped: the mean of its diagonal over the inputs that are not dead, 1 if all are.
 * An input is dead if its diagonal entry is 0: the calibration data never used it, and it must not dilute the damping
 * of the others. Throws ERR_VERTEXQ_NUMERIC at a diagonal entry that is negative or not finite.
 */
template <typename Real>
double dampingUnit(const BasicMatrix<Real>& h);

/**
 * H + damping·dampingUnit(H)·I, both triangles (H: N × N, both triangles, unit: that of the inputs squared). Dead
 * inputs get the unit itself on the diagonal: they are tied to nothing and simply round. GPTQ's habit is damping = 0.01
 * (Frantar et al. 2023, step 3: Cholesky reformulation); docs/quality.md has the measurements for less.
 */
template <typename Real>
BasicMatrix<Real> damped(BasicMatrix<Real> h, double damping);

/** The power of two 2^k for which the largest diagonal entry times 2^k lies in [1, 2); 1 for a zero matrix. */
template <typename Real>
double unitScale(const BasicMatrix<Real>& h);

}  // namespace vertexq
