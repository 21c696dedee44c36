// What an answer does to a layer's outputs, from Gram matrices.
#pragma once

#include <cstddef>

#include "calibration/calibration_gram.h"
#include "layer.h"
#include "parallel/job_control.h"

namespace vertexq {

/** ‖X̃(Q - W)ᵀ‖ and ‖X̃Wᵀ‖, Frobenius, from X̃ᵀX̃: what the layer by itself does to what it sees. As gramError else. */
Norms ownError(const Weights& weights, const Rounded& rounded, std::size_t groupSize, const Matrix& gram,
               unsigned threads, const JobControl& control);

/**
 * ‖X̃Qᵀ - XWᵀ‖ and ‖XWᵀ‖, Frobenius, from Gram matrices; without pairs X = X̃. Where XᵀX is not known, X W is taken to be X̃ W*,
 * the part of it that X̃ can reach. float64: errors below about 1e-4 of the signal are rounding, where pairs cancel. Neither the
 * unit of the weights nor that of the data matters.
 */
Norms gramError(const Weights& weights, const Rounded& rounded, std::size_t groupSize, const GramData& data,
                double damping, unsigned threads, const JobControl& control);

}  // namespace vertexq
