#include "decode/coordinate_descent.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include "linalg/real_blas.h"
#include "linalg/simd.h"
#include "parallel/thread_pool.h"

namespace vertexq {

namespace {

/** Inputs that share a flag: only strips in which something helps are searched for the best change. */
constexpr std::size_t kStrip = 64;
/** Neurons whose gradients are one GEMM. */
constexpr std::size_t kBlock = 64;
/** Changes after which the noise bound is looked at again. */
constexpr std::size_t kNoisePeriod = 64;
/** A descent that has quietened by this much is worth a fresh gradient, and a look for what the noise hid. */
constexpr double kQuieter = 0.5;

template <typename Real>
struct Scan {
  std::size_t strips = 0;
  const Real* diagonal = nullptr;
  const Real* inverse = nullptr;
  const Real* root = nullptr;
  const Real* q = nullptr;
  const Real* gradient = nullptr;
  const LevelArrays<Real>* levels = nullptr;
  Real noise = 0;
  Real* change = nullptr;         // out: d
  Real* gain = nullptr;           // out: 2 g d + H d², with the noise against it; 0 where that is not negative
  std::uint8_t* helps = nullptr;  // out, by strip
  // Of alphabets of a table:
  const float* table = nullptr;
  const float* middles = nullptr;
  int tableLevels = 0;
  bool hasMinima = false;
};

/**
 * `hasMinima`: levels are known but for some roundings, which must not pass for a change. A function of its own because only a
 * parameter's `restrict` is believed (successive_rounding.cpp).
 */
template <typename Real, bool hasMinima>
VERTEXQ_INLINE bool scanStrip(const Real* VERTEXQ_RESTRICT diagonal, const Real* VERTEXQ_RESTRICT inverse,
                              const Real* VERTEXQ_RESTRICT root, const Real* VERTEXQ_RESTRICT q,
                              const Real* VERTEXQ_RESTRICT g, const Real* VERTEXQ_RESTRICT low,
                              const Real* VERTEXQ_RESTRICT high, const Real* VERTEXQ_RESTRICT levelInverse,
                              const Real* VERTEXQ_RESTRICT offset, const Real* VERTEXQ_RESTRICT step, Real noise,
                              Real* VERTEXQ_RESTRICT change, Real* VERTEXQ_RESTRICT gain) {
  FlagOf<Real> unsafe = 0, helps = 0;
  for (std::size_t l = 0; l < kStrip; ++l) {
    // Of two levels that are nearly as near the gains are nearly equal: which it is need not be exact here.
    const Real k = nearestPlace(q[l] - g[l] * inverse[l], low[l], high[l], levelInverse[l], offset[l], unsafe);
    const Real move = levelAt(k, offset[l], step[l], low[l], high[l]) - q[l];
    const Real d = hasMinima && std::abs(move) < step[l] / 4 ? 0 : move;
    const Real value = d * (2 * g[l] + diagonal[l] * d) + 2 * std::abs(d) * noise * root[l];
    change[l] = d;
    gain[l] = value < 0 ? value : 0;  // and so never NaN
    helps |= value < 0 ? 1 : 0;
  }
  return helps != 0;
}

/** The same for levels of a table, `middles` between two of them. */
template <typename Real>
VERTEXQ_INLINE bool scanTableStrip(const Real* VERTEXQ_RESTRICT diagonal, const Real* VERTEXQ_RESTRICT inverse,
                                   const Real* VERTEXQ_RESTRICT root, const Real* VERTEXQ_RESTRICT q,
                                   const Real* VERTEXQ_RESTRICT g, const Real* VERTEXQ_RESTRICT low,
                                   const Real* VERTEXQ_RESTRICT high, const Real* VERTEXQ_RESTRICT step,
                                   const float* VERTEXQ_RESTRICT table, const float* VERTEXQ_RESTRICT middles,
                                   int levels, Real noise, Real* VERTEXQ_RESTRICT change, Real* VERTEXQ_RESTRICT gain) {
  Real place[kStrip], level[kStrip];
  for (std::size_t l = 0; l < kStrip; ++l) place[l] = (q[l] - g[l] * inverse[l]) / step[l];
  for (std::size_t l = 0; l < kStrip; ++l) level[l] = static_cast<Real>(table[0]);
  for (int k = 0; k + 1 < levels; ++k) {
    const auto middle = static_cast<Real>(middles[k]), next = static_cast<Real>(table[k + 1]);
    for (std::size_t l = 0; l < kStrip; ++l) level[l] = place[l] > middle ? next : level[l];
  }
  FlagOf<Real> helps = 0;
  for (std::size_t l = 0; l < kStrip; ++l) {
    // Clamped, which no level needs, so that the product is rounded before the difference is taken.
    const Real d = clampTo(level[l] * step[l], low[l], high[l]) - q[l];
    const Real value = d * (2 * g[l] + diagonal[l] * d) + 2 * std::abs(d) * noise * root[l];
    change[l] = d;
    gain[l] = value < 0 ? value : 0;
    helps |= value < 0 ? 1 : 0;
  }
  return helps != 0;
}

template <typename Real, bool hasMinima>
VERTEXQ_INLINE bool scanEven(const Scan<Real>& s, std::size_t i) {
  const LevelArrays<Real>& a = *s.levels;
  return scanStrip<Real, hasMinima>(s.diagonal + i, s.inverse + i, s.root + i, s.q + i, s.gradient + i, a.low() + i,
                                    a.high() + i, a.inverse() + i, a.offset() + i, a.step() + i, s.noise, s.change + i,
                                    s.gain + i);
}

/** Returns whether some change helps. */
template <typename Real>
VERTEXQ_INLINE bool scanBody(const Scan<Real>& s) {
  const LevelArrays<Real>& a = *s.levels;
  bool any = false;
  for (std::size_t strip = 0; strip < s.strips; ++strip) {
    const std::size_t i = strip * kStrip;
    const bool helps = s.table       ? scanTableStrip<Real>(s.diagonal + i, s.inverse + i, s.root + i, s.q + i,
                                                      s.gradient + i, a.low() + i, a.high() + i, a.step() + i, s.table,
                                                      s.middles, s.tableLevels, s.noise, s.change + i, s.gain + i)
                       : s.hasMinima ? scanEven<Real, true>(s, i)
                                     : scanEven<Real, false>(s, i);
    s.helps[strip] = helps;
    any |= helps;
  }
  return any;
}

template <typename Real>
bool scanPortable(const Scan<Real>& s) {
  return scanBody(s);
}
template <typename Real>
VERTEXQ_AVX2 bool scanAvx2(const Scan<Real>& s) {
  return scanBody(s);
}
template <typename Real>
VERTEXQ_AVX512 bool scanAvx512(const Scan<Real>& s) {
  return scanBody(s);
}

template <typename Real>
bool scan(const Scan<Real>& s) {
  return linalg::forInstructionSet(scanAvx512<Real>, scanAvx2<Real>, scanPortable<Real>)(s);
}

}  // namespace

template <typename Real>
CoordinateDescent<Real>::CoordinateDescent(const BasicMatrix<Real>& h)
    : h_(h),
      padded_((h.cols() + kStrip - 1) / kStrip * kStrip),
      diagonal_(padded_),
      inverse_(padded_),
      root_(padded_),
      q_(padded_),
      gradient_(padded_),
      change_(padded_),
      gain_(padded_),
      helps_(padded_ / kStrip),
      levels_(padded_, true) {
  for (std::size_t i = 0; i < h.cols(); ++i) {
    const Real value = h(i, i);
    // The padding's zeros stand for dead inputs; a diagonal whose inverse overflows is treated as one.
    if (!(value > 0) || !std::isfinite(1 / value)) continue;
    diagonal_[i] = value;
    inverse_[i] = 1 / value;
    root_[i] = std::sqrt(value);
  }
}

/** kGradientNoise·ε·Σ √H_kk |q_k - w_k| as q is now. */
template <typename Real>
Real CoordinateDescent<Real>::noiseOf(const Real* w) const {
  double sum = 0;
  for (std::size_t i = 0; i < h_.cols(); ++i) sum += static_cast<double>(root_[i]) * std::abs(q_[i] - w[i]);
  return static_cast<Real>(kGradientNoise * static_cast<double>(std::numeric_limits<Real>::epsilon()) * sum);
}

template <typename Real>
void CoordinateDescent<Real>::recomputeGradient(const Real* w) {
  for (std::size_t i = 0; i < h_.cols(); ++i) change_[i] = q_[i] - w[i];
  linalg::gemv(linalg::kPlain, h_.rows(), h_.cols(), Real(1), h_.data(), h_.rows(), change_.data(), Real(0),
               gradient_.data());
}

/** The input whose change helps most, of those that the last scan found. */
template <typename Real>
std::size_t CoordinateDescent<Real>::bestChange() const {
  std::size_t best = 0;
  Real least = 0;
  for (std::size_t strip = 0; strip < helps_.size(); ++strip) {
    if (!helps_[strip]) continue;
    for (std::size_t i = strip * kStrip; i < (strip + 1) * kStrip; ++i)
      if (gain_[i] < least) {
        least = gain_[i];
        best = i;
      }
  }
  return best;
}

template <typename Real>
DescentOutcome CoordinateDescent<Real>::run(const Real* w, Real* q, Real* gradient, std::int8_t* codes,
                                            const LayerAlphabets& alphabets, std::size_t neuron) {
  const std::size_t n = h_.cols();
  bool hasMinima = false;
  for (std::size_t first = 0; first < n; first += alphabets.groupSize) {
    levels_.set(first, std::min(alphabets.groupSize, n - first), alphabets.of(neuron, first));
    hasMinima = hasMinima || alphabets.of(neuron, first).minimum() != 0;
  }
  std::copy(q, q + n, q_.begin());
  std::copy(gradient, gradient + n, gradient_.begin());

  const std::size_t most = kMostDescentChanges * n;
  Scan<Real> s{padded_ / kStrip, diagonal_.data(), inverse_.data(), root_.data(),
               q_.data(),        gradient_.data(), &levels_,        0,
               change_.data(),   gain_.data(),     helps_.data()};
  DescentOutcome outcome;
  s.noise = noiseOf(w);
  s.hasMinima = hasMinima;
  if (n > 0 && alphabets.of(neuron, 0).table()) {
    const Alphabet& any = alphabets.of(neuron, 0);
    s.tableLevels = any.maxCode() + 1;
    table_.assign(any.table(), any.table() + s.tableLevels);
    if (any.isMirrored()) {
      std::reverse(table_.begin(), table_.end());
      for (float& level : table_) level = -level;
    }
    s.table = table_.data();
    middles_.clear();
    for (int k = 0; k + 1 < s.tableLevels; ++k) middles_.push_back(s.table[k] / 2 + s.table[k + 1] / 2);
    s.middles = middles_.data();
  }
  for (;; ++outcome.changes) {
    // The gradient keeps the rounding errors of every state it went through: the noise of the worst of them counts.
    if (outcome.changes % kNoisePeriod == 0) s.noise = std::max(s.noise, noiseOf(w));
    outcome.converged = !scan(s);
    if (outcome.converged && noiseOf(w) < static_cast<Real>(kQuieter) * s.noise) {
      recomputeGradient(w);
      s.noise = noiseOf(w);
      outcome.converged = !scan(s);
    }
    if (outcome.converged || outcome.changes == most) break;
    const std::size_t i = bestChange();
    // The level itself and not q + d, which may be a rounding away from it.
    const Alphabet& alphabet = alphabets.of(neuron, i);
    const auto level = static_cast<Real>(alphabet.level(alphabet.nearest(static_cast<double>(q_[i]) + change_[i])));
    const Real d = s.hasMinima ? level - q_[i] : change_[i];
    outcome.decrease -= static_cast<double>(d) * (2 * static_cast<double>(gradient_[i]) + diagonal_[i] * d);
    linalg::axpy(n, d, h_.column(i), gradient_.data());
    q_[i] = level;
  }

  std::copy(gradient_.begin(), gradient_.begin() + static_cast<std::ptrdiff_t>(n), gradient);
  for (std::size_t i = 0; i < n; ++i) {
    if (q_[i] == q[i]) continue;
    q[i] = q_[i];
    codes[i] = static_cast<std::int8_t>(alphabets.of(neuron, i).nearest(q_[i]));
  }
  return outcome;
}

template <typename Real>
std::vector<DescentOutcome> descend(const BasicMatrix<Real>& h, const Real* weights, std::size_t neurons,
                                    const LayerAlphabets& alphabets, std::int8_t* codes, Real* values, unsigned threads,
                                    JobControl& control) {
  const std::size_t n = h.cols();
  std::vector<DescentOutcome> outcomes(neurons);
  struct Workspace {
    explicit Workspace(const BasicMatrix<Real>& h)
        : descent(h), error(h.cols() * kBlock), gradient(h.cols() * kBlock) {}
    CoordinateDescent<Real> descent;
    std::vector<Real> error, gradient;
  };
  std::vector<std::unique_ptr<Workspace>> workspaces(std::max(threads, 1u));
  const std::size_t blocks = n == 0 ? 0 : (neurons + kBlock - 1) / kBlock;
  ThreadPool::shared().parallelFor(blocks, threads, [&](std::size_t block, unsigned slot) {
    if (!workspaces[slot]) workspaces[slot] = std::make_unique<Workspace>(h);
    Workspace& workspace = *workspaces[slot];
    const std::size_t first = block * kBlock;
    const std::size_t count = std::min(kBlock, neurons - first);
    for (std::size_t i = 0; i < count * n; ++i) workspace.error[i] = values[first * n + i] - weights[first * n + i];
    linalg::gemm(linalg::kPlain, linalg::kPlain, n, count, n, Real(1), h.data(), n, workspace.error.data(), n, Real(0),
                 workspace.gradient.data(), n);
    for (std::size_t k = 0; k < count; ++k) {
      control.throwIfCancelled();
      const std::size_t row = (first + k) * n;
      outcomes[first + k] = workspace.descent.run(weights + row, values + row, &workspace.gradient[k * n], codes + row,
                                                  alphabets, first + k);
      control.finish(1);
    }
  });
  return outcomes;
}

#define VERTEXQ_INSTANTIATE(Real)                                                                  \
  template class CoordinateDescent<Real>;                                                          \
  template std::vector<DescentOutcome> descend(const BasicMatrix<Real>&, const Real*, std::size_t, \
                                               const LayerAlphabets&, std::int8_t*, Real*, unsigned, JobControl&);
VERTEXQ_INSTANTIATE(float)
VERTEXQ_INSTANTIATE(double)
#undef VERTEXQ_INSTANTIATE

}  // namespace vertexq
