// What a layer is fitted to.
#pragma once

#include "calibration/calibration_gram.h"
#include "layer.h"
#include "linalg/matrix.h"
#include "parallel/job_control.h"

namespace vertexq {

/**
 * N × neurons, a neuron a column: the weights themselves, or for paired data w* = w + (damped H)⁻¹(G - H)w.
 * `damped` is damped(data.h). Throws ERR_VERTEXQ_NUMERIC where it is not positive definite, Cancelled.
 */
Matrix fitTargets(const Weights& weights, const GramData& data, const Matrix& damped, unsigned threads,
                  const JobControl& control);

}  // namespace vertexq
