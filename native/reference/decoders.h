// The decoders as their papers write them: plain loops in float64 that the fast ones are tested against.
#pragma once

#include <cstddef>
#include <vector>

#include "decode/layer_alphabets.h"
#include "linalg/matrix.h"

namespace vertexq::reference {

/** A neuron: its weights and its alphabets. Codes and levels below are by natural input index. */
struct Neuron {
  const double* weights;
  LayerAlphabets alphabets;
  std::size_t index = 0;  // which neuron of the alphabets

  const Alphabet& alphabet(std::size_t input) const { return alphabets.of(index, input); }
};

/** (q - w)ᵀ H (q - w), summed in long double. */
double outputError(const Matrix& h, const double* w, const double* q);

/**
 * H = U Uᵀ, U upper triangular, column after column from the last. Throws ERR_VERTEXQ_NUMERIC if H is not positive
 * definite.
 */
Matrix reverseCholesky(const Matrix& h);

/** M_ki = U_ki/U_ii above the diagonal, after `order` has been applied to H. */
Matrix nearestPlaneCoefficients(const Matrix& h, const std::vector<int>& order);

/** q_i = nearest(v_i - Σ_{k<i} M_ki (q_k - w_k)), i and k positions in `order`; v = w if null. */
std::vector<double> successiveRounding(const Matrix& m, const std::vector<int>& order, const Neuron& neuron,
                                       const double* centres = nullptr);

/**
 * GPTQ as published (Frantar et al. 2023, algorithm 1, one column at a time): with K = H⁻¹ over the inputs not yet
 * rounded, round input i, add (q_i - w_i)/K_ii·K_i: to the other weights, take i out of K.
 */
std::vector<double> gptq(const Matrix& h, const std::vector<int>& order, const Neuron& neuron);

/**
 * GPFQ as published (Lybrand & Saab 2021; with X̃ Zhang, Zhou & Saab 2023): u = 0; for every input t
 * q_t = nearest(x̃_tᵀ(u + w_t x_t)/‖x̃_t‖²), u += w_t x_t - q_t x̃_t. A zero column rounds to nearest. X, X̃: m × N.
 */
std::vector<double> gpfq(const Matrix& x, const Matrix& quantizedX, const Neuron& neuron);

/** Least-squares targets c_T = w_T - H_TT⁻¹ H_TF (q_F - w_F) for the entries `free`, in their order. */
std::vector<double> freeTargets(const Matrix& h, const Neuron& neuron, const std::vector<double>& q,
                                const std::vector<int>& free);

/** Nearest plane over the entries `free` in their order around those targets, the others held. Returns all of q. */
std::vector<double> freeEntries(const Matrix& h, const Neuron& neuron, std::vector<double> q,
                                const std::vector<int>& free);

/** Cyclic coordinate descent from q until no single change lowers (q-w)ᵀH(q-w) by more than 1e-12 of H_ii d². */
std::vector<double> coordinateDescent(const Matrix& h, const Neuron& neuron, std::vector<double> q, int sweeps);

/**
 * The errors of the channels that are left, N × their number, with the least tr(E Eᵀ G) where the first so many in `order` have theirs: E_L = -E_B G_BL G_LL⁻¹. `errors`: N × channels,
 * by natural index.
 */
Matrix bestLeft(const Matrix& g, const std::vector<int>& order, std::size_t first, const Matrix& errors);

}  // namespace vertexq::reference
