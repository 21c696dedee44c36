// The coefficients of successive rounding, from a Gram matrix.
#pragma once

#include <cstddef>
#include <vector>

#include "linalg/matrix.h"
#include "parallel/job_control.h"

namespace vertexq {

enum class DecodeOrder {
  Natural,
  Activation,  // GPTQ's act-order: falling diagonal of H, equal ones by index
};

/**
 * Successive rounding takes the inputs one by one, in positions i = 0, 1, ...:
 *
 *     q_i = nearest(w_i - Σ_{k<i} M_ki (q_k - w_k)).
 */
template <typename Real>
struct Coefficients {
  BasicMatrix<Real> m;           // N × N by position; strictly upper, zero elsewhere
  std::vector<int> order;        // order[position] = input
  double damping = 0;            // the relative damping used: more than asked for where the factorisation needed more
  double logDeterminant = 0;     // natural logarithm of det(damped H); 0 for gpfqCoefficients
  bool doublePrecision = false;  // whether the factorisation ran in float64
};

/** A permutation of the inputs: order[position] = input. */
template <typename Real>
std::vector<int> decodeOrder(const BasicMatrix<Real>& h, DecodeOrder order);

/**
 * M_ki = U_ki/U_ii of the reverse Cholesky factorisation damped H = U Uᵀ, U upper triangular. Then
 *
 *     (q-w)ᵀH(q-w) = Σ_i U_ii² (q_i - w_i + Σ_{k<i} M_ki (q_k - w_k))²
 *
 * and rounding position after position is Babai's nearest plane (Babai 1986), which is GPTQ (Frantar et al. 2023,
 * algorithm 1) without its inverse: GPTQ's upper Cholesky factor of H⁻¹ is U⁻¹ and gives the same centres.
 *
 * h: N × N, both triangles. `damping` is relative (damping.h). Where the factorisation fails it is tried again in
 * float64, and then with ten times the damping (at least kLeastDamping) until it succeeds.
 * Throws ERR_VERTEXQ_NUMERIC for a matrix that is not finite, Cancelled.
 */
template <typename Real>
Coefficients<Real> nearestPlaneCoefficients(const BasicMatrix<Real>& h, double damping, DecodeOrder order,
                                            unsigned threads, const JobControl& control);

/** The first damping that is tried after none. */
inline constexpr double kLeastDamping = 1e-10;

/**
 * M_ki = H_ki/H_ii: GPFQ (Lybrand & Saab 2021) with its running sum u = Σ_{k<i} x_k(w_k - q_k) folded into
 * H, so that no data is needed: q_i = nearest(x_iᵀ(u + x_i w_i)/‖x_i‖²). Columns of dead inputs are zero. No damping.
 */
template <typename Real>
Coefficients<Real> gpfqCoefficients(const BasicMatrix<Real>& h, DecodeOrder order);

/**
 * GPFQ where the quantized network feeds X̃ and the float one X: h = X̃ᵀX̃, cross = X̃ᵀX, and
 *
 *     q_i = nearest(x̃_iᵀ(Σ_{k≤i} x_k w_k - Σ_{k<i} x̃_k q_k)/‖x̃_i‖²).
 *
 * Returns N × neurons centres v, to be passed to successiveRounding with the coefficients of h:
 * v_i = w_i + Σ_{k≤i} (cross - h)_ik w_k/h_ii, k ≤ i by position. weights: N × neurons, a neuron a column. Dead inputs
 * keep w_i.
 */
template <typename Real>
BasicMatrix<Real> gpfqCentres(const BasicMatrix<Real>& h, const BasicMatrix<Real>& cross,
                              const Coefficients<Real>& coefficients, const Real* weights, std::size_t neurons);

}  // namespace vertexq
