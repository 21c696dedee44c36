// The entries that a walk leaves off the alphabet: compensated by least squares, then rounded to the nearest plane.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "decode/k_best.h"
#include "decode/layer_alphabets.h"
#include "linalg/matrix.h"
#include "linalg/strip_cholesky.h"

namespace vertexq {

/** What the neurons of a layer share. */
template <typename Real>
class FreeEntrySystem {
 public:
  /**
   * h: N × N, damped (damping.h), both triangles; must outlive this. For Real = double a float32 copy of it is made,
   * scaled by a power of two (4N² bytes).
   */
  explicit FreeEntrySystem(const BasicMatrix<Real>& h);

  const BasicMatrix<Real>& h() const { return h_; }
  /** H in float32 times scale(): h() itself for Real = float, where the scale is 1. */
  const FloatMatrix& single() const;
  double scale() const { return scale_; }
  std::size_t size() const { return h_.cols(); }

 private:
  const BasicMatrix<Real>& h_;
  FloatMatrix copy_;
  double scale_ = 1;
};

/** How the neuron was decoded, for reports. */
struct FreeEntryOutcome {
  bool doublePrecision = false;  // the factorisation of H_TT needed float64
  double damping = 0;            // what it needed beyond the damping of H, relative to its mean diagonal
};

/**
 * Rounds the entries `free` = T of one neuron whose other entries F are on their alphabets already:
 *
 *     c_T = w_T - H_TT⁻¹ H_TF (q_F - w_F)                  the best real values given F (docs/methods.md, "`vertex`")
 *     q_i = nearest(c_i - Σ_{k<i} M_ki (q_k - c_k))      in the order of `free`; M from H_TT = U Uᵀ (coefficients.h)
 *
 * At r = |T| about r³/3 flops, all but O(N²) of them in the factorisation. The factor only steers the rounding, so it is
 * computed in float32 for both precisions; the least-squares part is then refined with H in Real. Where float32 does
 * not allow it (H_TT not positive definite, or a pivot that is nothing but rounding error) the factor is computed in
 * float64, and where that fails too with more and more damping.
 *
 * One object serves one thread. Workspace: 6r² bytes and O(N); 8r² more from the first time that float64 is needed, the
 * only allocation in decode().
 */
template <typename Real>
class FreeEntryDecoder {
 public:
  /** `system` must outlive this; `maxFree` bounds |T|, `maxWidth` the answers kept in flight (k_best.h). */
  FreeEntryDecoder(const FreeEntrySystem<Real>& system, std::size_t maxFree, std::size_t maxWidth = 1);

  /**
   * w: N weights. q: N values; in: those of F, ignored at T; out: those of T, levels of their alphabets. codes: N,
   * written at T. free: `count` distinct inputs in the order in which they are rounded. With a `width` of more than one
   * the search of k_best.h takes the place of rounding to the nearest plane, where the factor is in float32. Throws ERR_VERTEXQ_NUMERIC if a
   * centre is NaN or H has no factorisation.
   */
  FreeEntryOutcome decode(const Real* w, Real* q, std::int8_t* codes, const int* free, std::size_t count,
                          const LayerAlphabets& alphabets, std::size_t neuron, std::size_t width = 1);

  /**
   * Decodes the entries `inputs` of an answer anew, the others as they are: q N levels, gradient H(q - w), in double. The best real
   * values for them are q_T - H_TT⁻¹ gradient_T. Writes their codes. Returns false, and nothing is written, where float32 does not
   * allow it. At r = `count` about r³/3 flops.
   */
  bool redecode(const double* q, const double* gradient, std::int8_t* codes, const int* inputs, std::size_t count,
                const LayerAlphabets& alphabets, std::size_t neuron, std::size_t width);

  /** Of the last neuron, N entries: q - w on F, the least-squares targets c - w on T. */
  const std::vector<Real>& targetShifts() const { return error_; }

 private:
  template <typename Work, typename Entry>
  bool factorise(const BasicMatrix<Entry>& h, std::vector<Work>& factor, double shift);
  template <typename Work>
  bool leastSquares(const std::vector<Work>& factor, std::vector<Work>& x, double scale, int refinements);
  template <typename Work>
  void roundAlong(const std::vector<Work>& factor, std::vector<Work>& errors, const LayerAlphabets& alphabets,
                  std::size_t neuron, const Real* w, Real* q, std::int8_t* codes) const;
  bool searchAlong(const LayerAlphabets& alphabets, std::size_t neuron, std::size_t width, const Real* w, Real* q,
                   std::int8_t* codes);
  FreeEntryOutcome factoriseWide();
  void updateGradient();

  const FreeEntrySystem<Real>& system_;
  std::size_t maxFree_;
  std::size_t stride_ = 0;             // of the factors' columns
  std::vector<std::uint32_t> places_;  // T back to front: place p of a factor is input places_[p]
  std::vector<float> factor_;          // L, lower triangular: H_TT back to front is L Lᵀ
  linalg::StripCholesky<float> cholesky_;
  std::vector<double> wideFactor_;  // the same in float64, where needed
  std::vector<float> vector_;       // |T|: right-hand side, solution, errors
  std::vector<double> wideVector_;
  std::vector<Real> error_;           // N: q - w on F, c - w on T
  std::vector<Real> gradient_;        // N: H·error_
  std::vector<std::size_t> nonzero_;  // inputs whose error_ is not 0
  KBestRounding<float> search_;
  std::vector<double> targets_;  // by place, for search_
  std::vector<const Alphabet*> alphabets_;
  std::vector<std::int8_t> found_;
};

}  // namespace vertexq
