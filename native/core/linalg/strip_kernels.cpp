#include "linalg/strip_kernels.h"

#include <cmath>
#include <type_traits>

#include "linalg/lanes.h"
#include "linalg/simd.h"

namespace vertexq::linalg {

namespace {

/** `Columns` columns of V at once, two vectors of rows in registers: Y is read once for all of them. */
template <typename Real, std::size_t Bytes, std::size_t Columns>
VERTEXQ_INLINE void updateColumns(std::size_t depth, const Real* y, const Real* a, std::size_t lda, Real* v) {
  using L = Lanes<Real, Bytes>;
  using V = typename L::type;
  constexpr std::size_t rows = kStripRows<Real>;
  for (std::size_t k = 0; k < rows; k += 2 * L::count) {
    // Sums from zero, which lose less than if each term were taken from V.
    V first[Columns], second[Columns];
    for (std::size_t c = 0; c < Columns; ++c) first[c] = second[c] = V{};
    // So that the processor can learn, at small depths, how often the loop turns.
    VERTEXQ_UNROLL
    for (std::size_t e = 0; e < depth; ++e) {
      const V y1 = load<V>(y + e * rows + k), y2 = load<V>(y + e * rows + k + L::count);
      for (std::size_t c = 0; c < Columns; ++c) {
        const Real factor = a[e * lda + c];
        first[c] += y1 * factor;
        second[c] += y2 * factor;
      }
    }
    for (std::size_t c = 0; c < Columns; ++c) {
      Real* to = v + c * rows + k;
      store(to, V(load<V>(to) - first[c]));
      store(to + L::count, V(load<V>(to + L::count) - second[c]));
    }
  }
}

template <typename Real, std::size_t Bytes, std::size_t Columns>
VERTEXQ_INLINE void updateBody(std::size_t strips, std::size_t depth, std::size_t columns, Strips<const Real> y,
                               const Real* a, std::size_t lda, Strips<Real> v) {
  constexpr std::size_t rows = kStripRows<Real>;
  for (std::size_t s = 0; s < strips; ++s) {
    const Real* left = y.first + s * y.stride;
    Real* to = v.first + s * v.stride;
    std::size_t c = 0;
    // Eight are better halved than cut into six and two.
    for (; c + Columns <= columns && !(Columns == 6 && columns - c == 8); c += Columns)
      updateColumns<Real, Bytes, Columns>(depth, left, a + c, lda, to + c * rows);
    for (; c + 4 <= columns; c += 4) updateColumns<Real, Bytes, 4>(depth, left, a + c, lda, to + c * rows);
    for (; c + 2 <= columns; c += 2) updateColumns<Real, Bytes, 2>(depth, left, a + c, lda, to + c * rows);
    if (c < columns) updateColumns<Real, Bytes, 1>(depth, left, a + c, lda, to + c * rows);
  }
}

/** With a known depth the loop over it has no branches, whose number of turns would be guessed wrong at every other call. */
template <typename Real, std::size_t Bytes, typename Depth>
VERTEXQ_INLINE void updateOneOf(std::size_t strips, const Depth& depth, Strips<const Real> y, const Real* a,
                                Strips<const Real> v, Strips<Real> z) {
  using L = Lanes<Real, Bytes>;
  using V = typename L::type;
  constexpr std::size_t rows = kStripRows<Real>, parts = rows / L::count;
  for (std::size_t s = 0; s < strips; ++s) {
    const Real* column = y.first + s * y.stride;
    // Two sums, so that one addition does not wait for the last.
    V even[parts], odd[parts];
    for (std::size_t p = 0; p < parts; ++p) {
      even[p] = load<V>(v.first + s * v.stride + p * L::count);
      odd[p] = V{};
    }
    std::size_t e = 0;
    for (; e + 2 <= depth; e += 2, column += 2 * rows)
      for (std::size_t p = 0; p < parts; ++p) {
        even[p] -= load<V>(column + p * L::count) * a[e];
        odd[p] -= load<V>(column + rows + p * L::count) * a[e + 1];
      }
    for (std::size_t p = 0; p < parts; ++p) {
      if (e < depth) even[p] -= load<V>(column + p * L::count) * a[e];
      store(z.first + s * z.stride + p * L::count, V(even[p] + odd[p]));
    }
  }
}

template <typename Real, std::size_t Bytes, std::size_t Depth = 0>
VERTEXQ_INLINE void updateOneBody(std::size_t strips, std::size_t depth, Strips<const Real> y, const Real* a,
                                  Strips<const Real> v, Strips<Real> z) {
  if constexpr (Depth < 8) {
    if (depth == Depth)
      return updateOneOf<Real, Bytes>(strips, std::integral_constant<std::size_t, Depth>(), y, a, v, z);
    return updateOneBody<Real, Bytes, Depth + 1>(strips, depth, y, a, v, z);
  } else {
    updateOneOf<Real, Bytes>(strips, depth, y, a, v, z);
  }
}

/** Right-looking within `Columns` columns, left-looking otherwise. */
template <typename Real, std::size_t Bytes, std::size_t Columns>
VERTEXQ_INLINE bool factorTileBody(Real* tile) {
  using L = Lanes<Real, Bytes>;
  using V = typename L::type;
  constexpr std::size_t rows = kStripRows<Real>;
  for (std::size_t first = 0; first < rows; first += Columns) {
    updateColumns<Real, Bytes, Columns>(first, tile, tile + first, rows, tile + first * rows);
    for (std::size_t c = first; c < first + Columns; ++c) {
      Real* column = tile + c * rows;
      const Real pivot = column[c];
      if (!(pivot > 0)) return false;
      const Real inverse = 1 / std::sqrt(pivot);
      for (std::size_t k = 0; k < rows; k += L::count) store(column + k, V(load<V>(column + k) * inverse));
      for (std::size_t d = c + 1; d < first + Columns; ++d) {
        Real* to = tile + d * rows;
        const Real factor = column[d];
        for (std::size_t k = 0; k < rows; k += L::count)
          store(to + k, V(load<V>(to + k) - load<V>(column + k) * factor));
      }
    }
  }
  return true;
}

template <typename Real, std::size_t Bytes, std::size_t Columns>
VERTEXQ_INLINE void solveTileBody(const Real* l, Real* v) {
  using L = Lanes<Real, Bytes>;
  using V = typename L::type;
  constexpr std::size_t rows = kStripRows<Real>;
  for (std::size_t first = 0; first < rows; first += Columns) {
    updateColumns<Real, Bytes, Columns>(first, v, l + first, rows, v + first * rows);
    Real inverses[Columns];
    for (std::size_t c = 0; c < Columns; ++c) inverses[c] = 1 / l[(first + c) * (rows + 1)];
    for (std::size_t k = 0; k < rows; k += L::count) {
      V solved[Columns];
      for (std::size_t c = 0; c < Columns; ++c) solved[c] = load<V>(v + (first + c) * rows + k);
      for (std::size_t c = 0; c < Columns; ++c) {
        solved[c] *= inverses[c];
        for (std::size_t d = c + 1; d < Columns; ++d) solved[d] -= solved[c] * l[first + d + (first + c) * rows];
      }
      for (std::size_t c = 0; c < Columns; ++c) store(v + (first + c) * rows + k, solved[c]);
    }
  }
}

// One set of functions an instruction set: names, target, bytes of a vector, columns of V in registers, also in a tile.
#define VERTEXQ_STRIP_KERNELS(Name, Target, Bytes, Columns, TileColumns)                                        \
  template <typename Real>                                                                                      \
  struct Name {                                                                                                 \
    Target static void update(std::size_t strips, std::size_t depth, std::size_t columns, Strips<const Real> y, \
                              const Real* a, std::size_t lda, Strips<Real> v) {                                 \
      updateBody<Real, Bytes, Columns>(strips, depth, columns, y, a, lda, v);                                   \
    }                                                                                                           \
    Target static void updateOne(std::size_t strips, std::size_t depth, Strips<const Real> y, const Real* a,    \
                                 Strips<const Real> v, Strips<Real> z) {                                        \
      updateOneBody<Real, Bytes>(strips, depth, y, a, v, z);                                                    \
    }                                                                                                           \
    Target static bool factorTile(Real* tile) { return factorTileBody<Real, Bytes, TileColumns>(tile); }        \
    Target static void solveTile(const Real* l, Real* v) { solveTileBody<Real, Bytes, TileColumns>(l, v); }     \
    static constexpr StripKernels<Real> all{update, updateOne, factorTile, solveTile};                          \
  };

// SSE2 has 16 registers, other CPUs' vector units mostly 32.
VERTEXQ_STRIP_KERNELS(Portable, , 16, VERTEXQ_X86 ? 4 : 8, 4)
#if VERTEXQ_X86
VERTEXQ_STRIP_KERNELS(Avx2, VERTEXQ_AVX2, 32, 6, 4)
VERTEXQ_STRIP_KERNELS(Avx512, VERTEXQ_AVX512, 64, 8, 8)
#endif

}  // namespace

template <typename Real>
const StripKernels<Real>& stripKernels() {
#if VERTEXQ_X86
  switch (instructionSet()) {
    case InstructionSet::Avx512:
      return Avx512<Real>::all;
    case InstructionSet::Avx2:
      return Avx2<Real>::all;
    case InstructionSet::Portable:
      break;
  }
#endif
  return Portable<Real>::all;
}

template const StripKernels<float>& stripKernels<float>();
template const StripKernels<double>& stripKernels<double>();

}  // namespace vertexq::linalg
