#include "scales/block_kernels.h"

#include "decode/level_arrays.h"
#include "linalg/lanes.h"
#include "linalg/simd.h"

namespace vertexq {

namespace {

using linalg::broadcast;
using linalg::load;
using linalg::store;
/** All lanes at once, where the compiler has such vectors; else one at a time. */
using V = linalg::Lanes<float, kBlockLanes * sizeof(float)>::type;
constexpr std::size_t kWide = linalg::Lanes<float, kBlockLanes * sizeof(float)>::count;

/** The scales of some lanes. */
struct WideScales {
  V scale, inverse, minimum;
};

VERTEXQ_INLINE WideScales scalesFrom(const BlockScales& s, std::size_t lane) {
  return {load<V>(s.scale + lane), load<V>(s.inverse + lane), load<V>(s.minimum + lane)};
}

/** The level, in units of the scale, nearest to each lane's (w - minimum)·inverse. */
template <bool hasTable>
VERTEXQ_INLINE V nearestLevels(const BlockGroup& group, const WideScales& s, float w) {
  V place = (broadcast<V>(w) - s.minimum) * s.inverse;
  if (!hasTable) {
    const V least = broadcast<V>(group.least), most = broadcast<V>(group.most), magic = broadcast<V>(0x1.8p23F);
    place = place < least ? least : place;
    place = place > most ? most : place;
    return (place + magic) - magic;
  }
  const float* table = group.table;
  V level = broadcast<V>(table[0]);
  for (int k = 0; k < static_cast<int>(group.most); ++k)
    level = place > broadcast<V>(table[k] / 2 + table[k + 1] / 2) ? broadcast<V>(table[k + 1]) : level;
  return level;
}

template <bool hasTable>
VERTEXQ_INLINE void addSums(const BlockGroup& group, const BlockScales& s, BlockSums& sums) {
  for (std::size_t lane = 0; lane < kBlockLanes; lane += kWide) {
    const WideScales wide = scalesFrom(s, lane);
    V q{}, qq{}, wq{};
    for (std::size_t i = 0; i < group.count; ++i) {
      const float w = group.weights[i];
      const V level = nearestLevels<hasTable>(group, wide, w);
      const V counted = broadcast<V>(group.importance[i]) * level;
      q = q + counted;
      qq = qq + counted * level;
      wq = wq + broadcast<V>(w) * counted;
    }
    store(sums.q + lane, q);
    store(sums.qq + lane, qq);
    store(sums.wq + lane, wq);
  }
}

template <bool hasTable>
VERTEXQ_INLINE void addErrors(const BlockGroup& group, const BlockScales& s, float* errors) {
  for (std::size_t lane = 0; lane < kBlockLanes; lane += kWide) {
    const WideScales wide = scalesFrom(s, lane);
    V total{};
    for (std::size_t i = 0; i < group.count; ++i) {
      const float w = group.weights[i];
      const V level = nearestLevels<hasTable>(group, wide, w);
      const V rest = broadcast<V>(w) - wide.minimum - wide.scale * level;
      total = total + broadcast<V>(group.importance[i]) * rest * rest;
    }
    store(errors + lane, total);
  }
}

VERTEXQ_INLINE void sumsBody(const BlockGroup& group, const BlockScales& s, BlockSums& sums) {
  if (group.table)
    addSums<true>(group, s, sums);
  else
    addSums<false>(group, s, sums);
}

VERTEXQ_INLINE void errorsBody(const BlockGroup& group, const BlockScales& s, float* errors) {
  if (group.table)
    addErrors<true>(group, s, errors);
  else
    addErrors<false>(group, s, errors);
}

VERTEXQ_INLINE void codesBody(const BlockGroup& group, const BlockScales& s, std::size_t lane, std::int8_t* codes) {
  for (std::size_t i = 0; i < group.count; ++i) {
    const float place = (group.weights[i] - s.minimum[lane]) * s.inverse[lane];
    if (!group.table) {
      codes[i] = static_cast<std::int8_t>(nearestInteger(clampTo(place, group.least, group.most)));
      continue;
    }
    int code = 0;
    for (int k = 0; k < static_cast<int>(group.most); ++k)
      code += place > group.table[k] / 2 + group.table[k + 1] / 2 ? 1 : 0;
    codes[i] = static_cast<std::int8_t>(code);
  }
}

VERTEXQ_INLINE void squaresBody(const float* w, const float* q, std::size_t count, double& error, double& signal) {
  constexpr std::size_t lanes = 8;
  double errors[lanes] = {}, signals[lanes] = {};
  for (std::size_t i = 0; i < count; i += lanes)
    for (std::size_t l = 0; l < lanes; ++l) {
      const double own = w[i + l], rest = own - q[i + l];
      errors[l] += rest * rest;
      signals[l] += own * own;
    }
  for (std::size_t l = 0; l < lanes; ++l) {
    error += errors[l];
    signal += signals[l];
  }
}

#define VERTEXQ_BLOCK_KERNELS(Name, TARGET)                                                                            \
  TARGET void sums##Name(const BlockGroup& group, const BlockScales& s, BlockSums& sums) { sumsBody(group, s, sums); } \
  TARGET void errors##Name(const BlockGroup& group, const BlockScales& s, float* errors) {                             \
    errorsBody(group, s, errors);                                                                                      \
  }                                                                                                                    \
  TARGET void codes##Name(const BlockGroup& group, const BlockScales& s, std::size_t lane, std::int8_t* codes) {       \
    codesBody(group, s, lane, codes);                                                                                  \
  }                                                                                                                    \
  TARGET void squares##Name(const float* w, const float* q, std::size_t count, double& error, double& signal) {        \
    squaresBody(w, q, count, error, signal);                                                                           \
  }
VERTEXQ_BLOCK_KERNELS(Portable, )
VERTEXQ_BLOCK_KERNELS(Avx2, VERTEXQ_AVX2)
VERTEXQ_BLOCK_KERNELS(Avx512, VERTEXQ_AVX512)
#undef VERTEXQ_BLOCK_KERNELS

}  // namespace

const BlockKernels& blockKernels() {
  static const BlockKernels kernels{linalg::forInstructionSet(sumsAvx512, sumsAvx2, sumsPortable),
                                    linalg::forInstructionSet(errorsAvx512, errorsAvx2, errorsPortable),
                                    linalg::forInstructionSet(codesAvx512, codesAvx2, codesPortable),
                                    linalg::forInstructionSet(squaresAvx512, squaresAvx2, squaresPortable)};
  return kernels;
}

}  // namespace vertexq
