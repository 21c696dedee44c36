#include "walk/kernels.h"

#include <limits>

#include "linalg/lanes.h"
#include "linalg/panel_update.h"
#include "linalg/simd.h"

namespace vertexq {

namespace {

using linalg::atLeastZero;
using linalg::broadcast;
using linalg::load;
using linalg::magnitude;
using linalg::store;

/** The least room / size of the entries seen, in each lane: ratios are compared as products, which takes no division. */
template <typename V, typename Real>
struct LeastRatio {
  V room = broadcast<V>(std::numeric_limits<Real>::infinity());
  V size = broadcast<V>(Real(1));

  VERTEXQ_INLINE void take(const V& otherRoom, const V& otherSize) {
    const auto less = otherRoom * size < room * otherSize;
    room = less ? otherRoom : room;
    size = less ? otherSize : size;
  }

  VERTEXQ_INLINE Real value() const {
    constexpr std::size_t count = sizeof(V) / sizeof(Real);
    Real rooms[count], sizes[count];
    store(rooms, room);
    store(sizes, size);
    Real least = rooms[0] / sizes[0];
    for (std::size_t i = 1; i < count; ++i) {
      const Real ratio = rooms[i] / sizes[i];
      least = ratio < least ? ratio : least;
    }
    return least;
  }
};

template <typename Real, std::size_t Bytes>
VERTEXQ_INLINE StepLimits<Real> limitsBody(const RatioArrays<Real>& a) {
  using L = linalg::Lanes<Real, Bytes>;
  using V = typename L::type;
  const V infinite = broadcast<V>(std::numeric_limits<Real>::infinity());
  // Two of each, so that one comparison does not wait for the last.
  LeastRatio<V, Real> up[2], down[2];
  for (std::size_t k = 0; k < a.n; k += 2 * L::count)
    for (std::size_t half = 0; half < 2; ++half) {
      const std::size_t at = k + half * L::count;
      const V z = load<V>(a.z + at), x = load<V>(a.x + at), low = load<V>(a.low + at), high = load<V>(a.high + at);
      const V size = magnitude(z);
      const V over = (high - low) * WalkTolerances<Real>::feasibility;
      const V toLow = atLeastZero(V(x - low)) + over, toHigh = atLeastZero(V(high - x)) + over;
      const auto rises = z > 0;
      const auto counts = size > WalkTolerances<Real>::pivot;
      const V upHere = rises ? toLow : toHigh, downHere = rises ? toHigh : toLow;
      up[half].take(counts ? upHere : infinite, size);
      down[half].take(counts ? downHere : infinite, size);
    }
  const Real ups[2] = {up[0].value(), up[1].value()}, downs[2] = {down[0].value(), down[1].value()};
  return {ups[0] < ups[1] ? ups[0] : ups[1], downs[0] < downs[1] ? downs[0] : downs[1]};
}

template <typename Real, std::size_t Bytes>
VERTEXQ_INLINE Pivot<Real> chooseBody(const RatioArrays<Real>& a, Real sign, Real limit) {
  using L = linalg::Lanes<Real, Bytes>;
  using V = typename L::type;
  Real lane[L::count];
  for (std::size_t i = 0; i < L::count; ++i) lane[i] = static_cast<Real>(i);
  // The entry that set the limit must pass, also where its quotient times its divisor was rounded down.
  limit *= 1 + 4 * std::numeric_limits<Real>::epsilon();
  // Places are counted in Real, exactly: a rank is far below 2^24.
  V here = load<V>(lane);
  V best = broadcast<V>(WalkTolerances<Real>::pivot);
  V place = broadcast<V>(Real(-1));
  for (std::size_t k = 0; k < a.n; k += L::count, here += static_cast<Real>(L::count)) {
    const V z = load<V>(a.z + k), x = load<V>(a.x + k), low = load<V>(a.low + k), high = load<V>(a.high + k);
    const V size = magnitude(z);
    const V room = atLeastZero(V(z * sign > 0 ? x - low : high - x));
    const V candidate = room <= size * limit ? size : V{};
    place = candidate > best ? here : place;
    best = candidate > best ? candidate : best;
  }
  Real sizes[L::count], places[L::count];
  store(sizes, best);
  store(places, place);
  Pivot<Real> pivot{0, -1};
  for (std::size_t i = 0; i < L::count; ++i) {
    const auto at = static_cast<std::ptrdiff_t>(places[i]);
    if (at < 0) continue;
    if (pivot.place < 0 || sizes[i] > pivot.size || (sizes[i] == pivot.size && at < pivot.place))
      pivot = {sizes[i], at};
  }
  return pivot;
}

template <typename Real, std::size_t Bytes>
VERTEXQ_INLINE void moveBody(std::size_t n, Real s, const Real* z, Real* x) {
  using L = linalg::Lanes<Real, Bytes>;
  using V = typename L::type;
  for (std::size_t k = 0; k < n; k += L::count) store(x + k, V(load<V>(x + k) - load<V>(z + k) * s));
}

template <typename Real, std::size_t Bytes>
VERTEXQ_INLINE void substituteBody(std::size_t depth, const Real* l, std::size_t ldl, const Real* inverses, Real* a) {
  constexpr std::size_t width = kPanelColumns * sizeof(Real) < Bytes ? kPanelColumns * sizeof(Real) : Bytes;
  using L = linalg::Lanes<Real, width>;
  using V = typename L::type;
  constexpr std::size_t parts = kPanelColumns / L::count;
  for (std::size_t e = 0; e < depth; ++e) {
    const Real* row = l + e * ldl;
    // Two sums, so that one addition does not wait for the last.
    V even[parts], odd[parts];
    for (std::size_t p = 0; p < parts; ++p) {
      even[p] = load<V>(a + e * kPanelColumns + p * L::count);
      odd[p] = V{};
    }
    std::size_t f = 0;
    for (; f + 2 <= e; f += 2)
      for (std::size_t p = 0; p < parts; ++p) {
        even[p] -= load<V>(a + f * kPanelColumns + p * L::count) * row[f];
        odd[p] -= load<V>(a + (f + 1) * kPanelColumns + p * L::count) * row[f + 1];
      }
    for (std::size_t p = 0; p < parts; ++p) {
      if (f < e) even[p] -= load<V>(a + f * kPanelColumns + p * L::count) * row[f];
      store(a + e * kPanelColumns + p * L::count, V((even[p] + odd[p]) * inverses[e]));
    }
  }
}

// One set of functions an instruction set: names, target, bytes of a vector, columns of V in registers.
#define VERTEXQ_WALK_KERNELS(Name, Target, Bytes, Columns)                                                            \
  template <typename Real>                                                                                            \
  struct Name {                                                                                                       \
    Target static StepLimits<Real> limits(const RatioArrays<Real>& a) { return limitsBody<Real, Bytes>(a); }          \
    Target static Pivot<Real> choose(const RatioArrays<Real>& a, Real sign, Real limit) {                             \
      return chooseBody<Real, Bytes>(a, sign, limit);                                                                 \
    }                                                                                                                 \
    Target static void move(std::size_t n, Real s, const Real* z, Real* x) { moveBody<Real, Bytes>(n, s, z, x); }     \
    Target static void panel(std::size_t n, std::size_t depth, std::size_t columns, const Real* y, std::size_t ldy,   \
                             const Real* a, std::size_t lda, Real* v, std::size_t ldv) {                              \
      linalg::updatePanel<Real, Bytes, Columns>(n, depth, columns, y, ldy, a, lda, v, ldv);                           \
    }                                                                                                                 \
    Target static void substitute(std::size_t depth, const Real* l, std::size_t ldl, const Real* inverses, Real* a) { \
      substituteBody<Real, Bytes>(depth, l, ldl, inverses, a);                                                        \
    }                                                                                                                 \
    static constexpr WalkKernels<Real> all{limits, choose, move, panel, substitute};                                  \
  };

VERTEXQ_WALK_KERNELS(Portable, , 16, 2)
#if VERTEXQ_X86
VERTEXQ_WALK_KERNELS(Avx2, VERTEXQ_AVX2, 32, 4)
VERTEXQ_WALK_KERNELS(Avx512, VERTEXQ_AVX512, 64, 8)
#endif

}  // namespace

template <typename Real>
const WalkKernels<Real>& walkKernels() {
#if VERTEXQ_X86
  switch (linalg::instructionSet()) {
    case linalg::InstructionSet::Avx512:
      return Avx512<Real>::all;
    case linalg::InstructionSet::Avx2:
      return Avx2<Real>::all;
    case linalg::InstructionSet::Portable:
      break;
  }
#endif
  return Portable<Real>::all;
}

template const WalkKernels<float>& walkKernels<float>();
template const WalkKernels<double>& walkKernels<double>();

}  // namespace vertexq
