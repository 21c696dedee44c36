#include "walk/kernels.h"

#include <algorithm>
#include <limits>

#include "linalg/lanes.h"
#include "linalg/simd.h"

namespace vertexq {

namespace {

using linalg::broadcast;
using linalg::load;
using linalg::magnitude;
using linalg::signedBy;
using linalg::store;

/** The least lane, by halves. */
template <typename Real, std::size_t Bytes>
VERTEXQ_INLINE Real leastOf(const typename linalg::Lanes<Real, Bytes>::type& v) {
  constexpr std::size_t count = linalg::Lanes<Real, Bytes>::count;
  if constexpr (count == 1) {
    Real only;
    store(&only, v);
    return only;
  } else {
    using Half = typename linalg::Lanes<Real, Bytes / 2>::type;
    Real lanes[count];
    store(lanes, v);
    const Half left = load<Half>(lanes), right = load<Half>(lanes + count / 2);
    return leastOf<Real, Bytes / 2>(right < left ? right : left);
  }
}

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

  VERTEXQ_INLINE void take(const LeastRatio& other) { take(other.room, other.size); }

  VERTEXQ_INLINE Real value() const { return leastOf<Real, sizeof(V)>(V(room / size)); }
};

template <typename Real, std::size_t Bytes>
VERTEXQ_INLINE StepLimits<Real> limitsBody(const RatioArrays<Real>& a) {
  using L = linalg::Lanes<Real, Bytes>;
  using V = typename L::type;
  constexpr std::size_t rows = linalg::kStripRows<Real>;
  // Two of each, so that one comparison does not wait for the last.
  LeastRatio<V, Real> up[2], down[2];
  const V endless = broadcast<V>(std::numeric_limits<Real>::infinity());
  for (std::size_t s = 0; s < a.strips; ++s)
    for (std::size_t k = 0; k < rows; k += L::count) {
      const std::size_t place = s * rows + k, turn = k / L::count % 2;
      const V z = load<V>(a.z.first + s * a.z.stride + k);
      const V offset = signedBy(load<V>(a.offset + place), z);
      const V half = load<V>(a.half + place) * (1 + 2 * WalkTolerances<Real>::feasibility);
      const V size = magnitude(z);
      const auto counts = size > WalkTolerances<Real>::pivot;
      up[turn].take(counts ? half + offset : endless, size);
      down[turn].take(counts ? half - offset : endless, size);
    }
  up[0].take(up[1]);
  down[0].take(down[1]);
  // Below zero only by rounding, where an entry is beyond its bound by all of the tolerance.
  return {std::max(up[0].value(), Real(0)), std::max(down[0].value(), Real(0))};
}

template <typename Real, std::size_t Bytes>
VERTEXQ_INLINE Pivot<Real> chooseBody(const RatioArrays<Real>& a, Real sign, Real limit) {
  using L = linalg::Lanes<Real, Bytes>;
  using V = typename L::type;
  constexpr std::size_t rows = linalg::kStripRows<Real>;
  Real lane[L::count];
  for (std::size_t i = 0; i < L::count; ++i) lane[i] = static_cast<Real>(i);
  // The entry that set the limit must pass, also where its quotient times its divisor was rounded down.
  limit *= 1 + 4 * std::numeric_limits<Real>::epsilon();
  // Places are counted in Real, exactly: a rank is far below 2^24.
  V here = load<V>(lane);
  V best = broadcast<V>(WalkTolerances<Real>::pivot);
  const V beyond = broadcast<V>(std::numeric_limits<Real>::infinity());
  V place = beyond;
  for (std::size_t s = 0; s < a.strips; ++s)
    for (std::size_t k = 0; k < rows; k += L::count, here += static_cast<Real>(L::count)) {
      const V z = load<V>(a.z.first + s * a.z.stride + k);
      const V offset = signedBy(load<V>(a.offset + s * rows + k), z);
      const V room = load<V>(a.half + s * rows + k) + offset * sign;
      const V size = magnitude(z);
      const V candidate = room <= size * limit ? size : V{};
      place = candidate > best ? here : place;
      best = candidate > best ? candidate : best;
    }
  // The lowest place among the lanes of the largest.
  const Real largest = -leastOf<Real, Bytes>(V(-best));
  const Real lowest = leastOf<Real, Bytes>(V(best == broadcast<V>(largest) ? place : beyond));
  if (!(lowest < std::numeric_limits<Real>::infinity())) return {0, -1};
  return {largest, static_cast<std::ptrdiff_t>(lowest)};
}

template <typename Real, std::size_t Bytes>
VERTEXQ_INLINE void moveBody(std::size_t strips, Real step, linalg::Strips<const Real> z, Real* x) {
  using L = linalg::Lanes<Real, Bytes>;
  using V = typename L::type;
  constexpr std::size_t rows = linalg::kStripRows<Real>;
  for (std::size_t s = 0; s < strips; ++s, x += rows)
    for (std::size_t k = 0; k < rows; k += L::count)
      store(x + k, V(load<V>(x + k) - load<V>(z.first + s * z.stride + k) * step));
}

/** `Rows` rows of the solution, from e on: the sums over the rows above them do not wait for each other. `row` is L's row e. */
template <typename Real, std::size_t Bytes, std::size_t Rows>
VERTEXQ_INLINE void substituteRows(std::size_t e, const Real* row, const Real* inverses, Real* a) {
  using L = linalg::Lanes<Real, Bytes>;
  using V = typename L::type;
  constexpr std::size_t width = kPanelColumns<Real>, parts = width / L::count, next = linalg::kStripRows<Real>;
  V sums[Rows][parts];
  for (std::size_t r = 0; r < Rows; ++r)
    for (std::size_t p = 0; p < parts; ++p) sums[r][p] = load<V>(a + (e + r) * width + p * L::count);
  for (std::size_t f = 0; f < e; ++f, row += next)
    for (std::size_t p = 0; p < parts; ++p) {
      const V above = load<V>(a + f * width + p * L::count);
      for (std::size_t r = 0; r < Rows; ++r) sums[r][p] -= above * row[r];
    }
  for (std::size_t r = 0; r < Rows; ++r, row += next)
    for (std::size_t p = 0; p < parts; ++p) {
      const V solved = sums[r][p] * inverses[e + r];
      store(a + (e + r) * width + p * L::count, solved);
      for (std::size_t s = r + 1; s < Rows; ++s) sums[s][p] -= solved * row[s];
    }
}

/** `Rows` rows from e on if that many lie within one strip for certain, else half as many, and so on. Returns how many. */
template <typename Real, std::size_t Bytes, std::size_t Rows>
VERTEXQ_INLINE std::size_t substituteSome(std::size_t e, std::size_t depth, std::size_t from,
                                          const linalg::Strips<const Real>& l, const Real* inverses, Real* a) {
  if constexpr (Rows > 1)
    if ((from + e) % Rows != 0 || e + Rows > depth)
      return substituteSome<Real, Bytes, Rows / 2>(e, depth, from, l, inverses, a);
  substituteRows<Real, Bytes, Rows>(e, &l.row(from + e), inverses, a);
  return Rows;
}

template <typename Real, std::size_t Bytes>
VERTEXQ_INLINE void substituteBody(std::size_t depth, std::size_t from, const linalg::Strips<const Real>& l,
                                   const Real* inverses, Real* a) {
  constexpr std::size_t parts = kPanelColumns<Real> / linalg::Lanes<Real, Bytes>::count;
  for (std::size_t e = 0; e < depth;)
    e += substituteSome<Real, Bytes, (parts < 8 ? 8 / parts : 1)>(e, depth, from, l, inverses, a);
}

// One set of functions an instruction set: names, target, bytes of a vector.
#define VERTEXQ_WALK_KERNELS(Name, Target, Bytes)                                                            \
  template <typename Real>                                                                                   \
  struct Name {                                                                                              \
    Target static StepLimits<Real> limits(const RatioArrays<Real>& a) { return limitsBody<Real, Bytes>(a); } \
    Target static Pivot<Real> choose(const RatioArrays<Real>& a, Real sign, Real limit) {                    \
      return chooseBody<Real, Bytes>(a, sign, limit);                                                        \
    }                                                                                                        \
    Target static void move(std::size_t strips, Real s, linalg::Strips<const Real> z, Real* x) {             \
      moveBody<Real, Bytes>(strips, s, z, x);                                                                \
    }                                                                                                        \
    Target static void substitute(std::size_t depth, std::size_t from, linalg::Strips<const Real> l,         \
                                  const Real* inverses, Real* a) {                                           \
      substituteBody<Real, Bytes>(depth, from, l, inverses, a);                                              \
    }                                                                                                        \
    static constexpr WalkKernels<Real> all{limits, choose, move, substitute};                                \
  };

VERTEXQ_WALK_KERNELS(Portable, , 16)
#if VERTEXQ_X86
VERTEXQ_WALK_KERNELS(Avx2, VERTEXQ_AVX2, 32)
VERTEXQ_WALK_KERNELS(Avx512, VERTEXQ_AVX512, 64)
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
