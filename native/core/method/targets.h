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

/** Dampings of a correction that held-out data chooses from, and the one without any. */
inline constexpr double kCorrectionDampings[] = {0.003, 0.01, 0.03, 0.1, 0.3, 1};
inline constexpr double kCorrectionDamping = 0.01;

struct Correction {
  Matrix targets;
  double damping = 0;  // of the correction, relative; infinite for none at all
};

/**
 * The targets of paired data with the damping whose w* has the least ‖X̃w* - Xw‖ on the held-out rows, or no correction where
 * that is better still: with few samples a correction fits their noise. `holdout` may be null: then kCorrectionDamping. `strength`: the
 * part of each step from w to w* that is taken, in (0, 1].
 */
Correction correctedTargets(const Weights& weights, const GramData& data, const GramData* holdout, double strength,
                            unsigned threads, const JobControl& control);

}  // namespace vertexq
