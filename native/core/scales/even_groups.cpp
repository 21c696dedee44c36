#include "scales/even_groups.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "linalg/lanes.h"
#include "linalg/simd.h"

namespace vertexq {

namespace {

using linalg::broadcast;
using linalg::load;
using linalg::store;

/** Where the weight farthest from 0 is brought, in parts of an end: so many places between these two. */
constexpr float kLeastPart = 0.92F, kMostPart = 1.25F;
constexpr int kParts = 6;
/** Steps about the best one, and how far from it in parts of it. */
constexpr int kNear = 8;
constexpr float kNearWidth = 0.08F;
/** Of many levels what is left is little: each small change of the step counts, about the one that brings that weight to an end. */
constexpr int kManyLevels = 128;
constexpr int kFineNear = 24;
constexpr float kFineWidth = 0.08F;

constexpr float kLeastStep = 0x1p-14F, kMostHalf = 65504;

/** The weights of some groups, a lane each, and the best that was found for them. */
template <typename V>
struct Search {
  const float* weights;  // kLaneWeights × kGroupLanes
  V least, most;
  V step{}, gain{};

  VERTEXQ_INLINE static V larger(const V& a, const V& b) { return a > b ? a : b; }
  VERTEXQ_INLINE static V smaller(const V& a, const V& b) { return a < b ? a : b; }

  /** Codes of a step, the step that suits them best, and by how much that lowers Σ w². */
  VERTEXQ_INLINE void attempt(const V& tried) {
    const V inverse = broadcast<V>(1.0F) / tried, magic = broadcast<V>(0x1.8p23F);
    V squares{}, products{};
    for (std::size_t i = 0; i < kLaneWeights; ++i) {
      const V w = load<V>(weights + i * kGroupLanes);
      const V code = smaller(larger(w * inverse, least), most) + magic - magic;
      squares = squares + code * code;
      products = products + w * code;
    }
    const V refitted = products / squares, gained = products * refitted;
    const auto isBetter = gained > gain;
    step = isBetter ? refitted : step;
    gain = isBetter ? gained : gain;
  }

  /** As `attempt`, where what is left is so little that it is summed itself. `gain` is what is left, less than nothing. */
  VERTEXQ_INLINE void attemptFine(const V& tried) {
    const V inverse = broadcast<V>(1.0F) / tried, magic = broadcast<V>(0x1.8p23F);
    V squares{}, products{}, errors{};
    for (std::size_t i = 0; i < kLaneWeights; ++i) {
      const V w = load<V>(weights + i * kGroupLanes);
      const V code = smaller(larger(w * inverse, least), most) + magic - magic;
      const V rest = w - tried * code;
      squares = squares + code * code;
      products = products + rest * code;
      errors = errors + rest * rest;
    }
    const V change = products / squares, gained = products * change - errors;
    const auto isBetter = gained > gain;
    step = isBetter ? tried + change : step;
    gain = isBetter ? gained : gain;
  }
};

template <typename V>
VERTEXQ_INLINE void searchSteps(const EvenLevels& levels, const float* weights, const float* largest, float* steps) {
  Search<V> search{weights, broadcast<V>(levels.least), broadcast<V>(levels.most)};
  const V end = load<V>(largest);
  const V down = end / search.least, up = end / search.most;
  if (levels.most >= kManyLevels - 1) {
    search.gain = broadcast<V>(-3e38F);
    const V toEnd = end < V{} ? down : up;
    for (int k = 0; k < kFineNear; ++k)
      search.attemptFine(toEnd * broadcast<V>(1 + kFineWidth * (2.0F * k / (kFineNear - 1) - 1)));
  } else {
    for (int k = 0; k < kParts; ++k) {
      const V part = broadcast<V>(1 / (kLeastPart + (kMostPart - kLeastPart) * k / (kParts - 1)));
      search.attempt(down * part);
      if (levels.eitherSign) search.attempt(up * part);
    }
    const V best = search.step;
    for (int k = 0; k < kNear; ++k) search.attempt(best * broadcast<V>(1 + kNearWidth * (2.0F * k / (kNear - 1) - 1)));
  }
  store(steps, search.step);
}

/** To the nearest number of float16, of those in its normal range. */
VERTEXQ_INLINE float asHalf(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  bits = (bits + 0xfff + ((bits >> 13) & 1)) & ~std::uint32_t{0x1fff};
  std::memcpy(&value, &bits, sizeof bits);
  return value;
}

template <std::size_t bytes>
VERTEXQ_INLINE void body(const EvenLevels& levels, const float* weights, EvenGroups& to) {
  using Wide = linalg::Lanes<float, bytes>;
  using V = typename Wide::type;
  alignas(64) float turned[kLaneWeights * kGroupLanes], largest[kGroupLanes];
  for (std::size_t g = 0; g < kGroupLanes; ++g)
    for (std::size_t i = 0; i < kLaneWeights; ++i) turned[i * kGroupLanes + g] = weights[g * kLaneWeights + i];
  for (std::size_t lane = 0; lane < kGroupLanes; lane += Wide::count) {
    V low{}, high{};
    for (std::size_t i = 0; i < kLaneWeights; ++i) {
      const V w = load<V>(turned + i * kGroupLanes + lane);
      low = w < low ? w : low;
      high = w > high ? w : high;
    }
    store(largest + lane, high > -low ? high : low);
    searchSteps<V>(levels, turned + lane, largest + lane, to.steps + lane);
  }
  for (std::size_t g = 0; g < kGroupLanes; ++g) {
    const float* w = weights + g * kLaneWeights;
    std::int8_t* codes = to.codes + g * kLaneWeights;
    const float size = std::abs(largest[g]);
    const float step = size == 0 ? 0 : asHalf(to.steps[g]);
    to.steps[g] = step;
    to.isDone[g] = size == 0 || (size <= kMostHalf && std::abs(step) >= kLeastStep && std::abs(step) <= kMostHalf);
    if (!to.isDone[g]) continue;
    const float inverse = size == 0 ? 0 : 1 / step;
    alignas(64) float rounded[kLaneWeights];
    for (std::size_t i = 0; i < kLaneWeights; i += Wide::count) {
      const V own = load<V>(w + i), magic = broadcast<V>(0x1.8p23F);
      V code = own * broadcast<V>(inverse);
      code = code < broadcast<V>(levels.least) ? broadcast<V>(levels.least) : code;
      code = code > broadcast<V>(levels.most) ? broadcast<V>(levels.most) : code;
      code = code + magic - magic;
      store(rounded + i, code);
    }
    for (std::size_t i = 0; i < kLaneWeights; ++i) codes[i] = static_cast<std::int8_t>(static_cast<int>(rounded[i]));
  }
}

void roundPortable(const EvenLevels& levels, const float* weights, EvenGroups& to) { body<16>(levels, weights, to); }
VERTEXQ_AVX2 void roundAvx2(const EvenLevels& levels, const float* weights, EvenGroups& to) {
  body<32>(levels, weights, to);
}
VERTEXQ_AVX512 void roundAvx512(const EvenLevels& levels, const float* weights, EvenGroups& to) {
  body<64>(levels, weights, to);
}

}  // namespace

void roundEvenGroups(const EvenLevels& levels, const float* weights, EvenGroups& to) {
  linalg::forInstructionSet(roundAvx512, roundAvx2, roundPortable)(levels, weights, to);
}

}  // namespace vertexq
