#include "packing/lane_rounding.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "linalg/lanes.h"
#include "packing/shrunk_steps.h"

namespace vertexq {

namespace {

using linalg::broadcast;
using linalg::load;
using linalg::store;

/** Factors tried between two looks at whether smaller ones are worth it. */
constexpr int kTogether = 4;
constexpr int kTried = (kFactors + kTogether - 1) / kTogether * kTogether;
static_assert(kTried <= kShrinkSteps, "a factor is positive");
/** What a sum of kMostOfLane squares may be off in float32, over it. */
constexpr float kSumDoubt = 2e-5F;
/** Adding it rounds to a whole number, ties to even, in float32, whose lowest bits are then that number's. */
constexpr float kRounder = 0x1.8p23F;

/** All lanes' numbers while steps are tried; double those that must be Alphabet::covering's. */
struct Lanes {
  alignas(64) double low[kGroupLanes], high[kGroupLanes], below[kGroupLanes], above[kGroupLanes], whole[kGroupLanes];
  alignas(64) float lowest[kGroupLanes], highest[kGroupLanes];  // weights
  alignas(64) float zero[kGroupLanes];                          // code of the level 0
  alignas(64) float least[kGroupLanes], most[kGroupLanes];      // levels, less the offset
  alignas(64) float steps[kTried][kGroupLanes], errors[kTried][kGroupLanes];
  alignas(64) float slack[kGroupLanes], ceiling[kGroupLanes];  // what errors may be off; the least one is no larger
  alignas(64) float isSure[kGroupLanes], isDone[kGroupLanes];  // 1, else 0
  float spread;                                                // over the errors, besides
  double doubt;                                                // slack, in squares of `whole`
  alignas(64) float chosen[kGroupLanes];
};

template <typename V>
VERTEXQ_INLINE V larger(const V& a, const V& b) {
  return a > b ? a : b;
}
template <typename V>
VERTEXQ_INLINE V smaller(const V& a, const V& b) {
  return a < b ? a : b;
}

template <typename V>
VERTEXQ_INLINE void findRange(const LaneWeights& weights, std::size_t lane, Lanes& all) {
  V low = load<V>(weights.first + lane), high = low;
  for (std::size_t i = 1; i < weights.count; ++i) {
    const V w = load<V>(weights.first + i * weights.stride + lane);
    low = smaller(w, low);
    high = larger(w, high);
  }
  store(all.lowest + lane, low);
  store(all.highest + lane, high);
}

// Results of comparisons choose at once and by themselves: GCC 12 takes vectors apart that combine them, or keep them, on AVX-512.

/** Of each lane the zero point and the step that covers its weights: stepRule of shrunk_steps.h, lane by lane. */
template <std::size_t bytes>
VERTEXQ_INLINE void findRules(const LaneRule& rule, Lanes& all) {
  using D = typename linalg::Lanes<double, bytes>::type;
  using Half = typename linalg::Lanes<float, bytes / 2>::type;
  const D none{}, one = broadcast<D>(1.0), top = broadcast<D>(rule.kind.levels - 1.0), rounder = broadcast<D>(0x1p52);
  const bool isAsymmetric = rule.kind.grid == Grid::Asymmetric;
  const StepRule same = stepRule(rule.kind.grid, rule.kind.levels, -1, 1);
  for (std::size_t g = 0; g < kGroupLanes; g += linalg::Lanes<double, bytes>::count) {
    const D low = smaller(linalg::widened<D>(load<Half>(all.lowest + g)), none);
    const D high = larger(linalg::widened<D>(load<Half>(all.highest + g)), none);
    // leastStep of both sides; there x / 0 is infinity, here too.
    const auto leastOf = [&](const D& below, const D& above) {
      const D fall = low == none ? none : -low / below, rise = high == none ? none : high / above;
      return larger(fall, rise);
    };
    D below = broadcast<D>(same.asymmetric ? same.below : same.above), above = broadcast<D>(same.above), sure = one;
    D whole;
    if (isAsymmetric) {
      const D width = high - low, ideal = top * (-low / (width > none ? width : one));
      const D near = (ideal + rounder) - rounder, down = near > ideal ? near - one : near;
      const D up = smaller(down + one, top);
      const D first = leastOf(down, top - down), second = leastOf(up, top - up);
      const D apart = first - second;
      const D isOpen = (low + high) * (up - down);
      sure = isOpen == none ? one : larger(apart, -apart) - first * broadcast<D>(kNearlyEqual);
      below = first <= second ? down : up;
      above = top - below;
      whole = smaller(first, second);
    } else {
      whole = leastOf(below, above);
    }
    store(all.low + g, low);
    store(all.high + g, high);
    store(all.below + g, below);
    store(all.above + g, above);
    store(all.whole + g, whole);
    store(all.zero + g, linalg::narrowed<Half>(isAsymmetric ? below + broadcast<D>(rule.minCode) : none));
    const D leastWhole = broadcast<D>(leastNormalOf(rule.precision) * kShrinkSteps / 0.99);
    store(all.isSure + g, linalg::narrowed<Half>(smaller(whole - leastWhole, sure) > none ? one : none));
    store(all.slack + g, linalg::narrowed<Half>(whole * whole * broadcast<D>(all.doubt)));
  }
}

/** Whether a lane's weights are such as float32 does well with, and its levels. */
template <typename V>
VERTEXQ_INLINE void findLevels(const LaneRule& rule, std::size_t lane, Lanes& all) {
  const V low = load<V>(all.lowest + lane), high = load<V>(all.highest + lane), largest = larger(-low, high);
  const V zero = load<V>(all.zero + lane);
  const V within = smaller(largest - broadcast<V>(kLeastScale), broadcast<V>(mostScale(rule.precision)) - largest);
  store(all.isDone + lane, within >= V{} ? load<V>(all.isSure + lane) : V{});
  store(all.least + lane, broadcast<V>(static_cast<float>(rule.minCode)) - zero);
  store(all.most + lane, broadcast<V>(static_cast<float>(rule.maxCode)) - zero);
  store(all.ceiling + lane, broadcast<V>(std::numeric_limits<float>::infinity()));
}

/** How much float32 may be off. */
inline void findDoubts(const LaneRule& rule, std::size_t count, Lanes& all) {
  // A norm by `doubt` steps. No weight has more of them than there are levels, but for those that a smaller range clips.
  const double root = std::sqrt(static_cast<double>(count)), doubt = 1.01 * kDoubt * rule.kind.levels * root;
  // Its square by at most doubt·(error / usual + usual) + doubt², whatever is usual: here errors that are evenly spread.
  const double usual = root / std::sqrt(12.0);
  all.spread = kSumDoubt + static_cast<float>(doubt / usual);
  all.doubt = doubt * (usual + doubt);
}

/** The least numbers of the precision whose levels cover the range shrunk by each of kTogether factors: Alphabet::covering's steps. */
template <std::size_t bytes>
VERTEXQ_INLINE void findSteps(const LaneRule& rule, int first, Lanes& all) {
  using D = typename linalg::Lanes<double, bytes>::type;
  using Half = typename linalg::Lanes<float, bytes / 2>::type;
  using Bits = linalg::Bits<D>;
  const std::int64_t unit = std::int64_t{1} << (52 - fractionBitsOf(rule.precision)), mask = ~(unit - 1);
  for (std::size_t g = 0; g < kGroupLanes; g += linalg::Lanes<double, bytes>::count) {
    const D whole = load<D>(all.whole + g), low = load<D>(all.low + g), high = load<D>(all.high + g);
    const D below = load<D>(all.below + g), above = load<D>(all.above + g);
    for (int k = first; k < first + kTogether; ++k) {
      const D shrink = broadcast<D>(shrinkOf(k)), step = whole * shrink;
      // It, or where that is as near to it as float64 tells, the next one.
      const Bits found = (linalg::bitsOf(step * broadcast<D>(kBelowStep)) & mask) + unit;
      const D least = linalg::ofBits<D>(found), next = linalg::ofBits<D>(found + unit);
      const D down = below * least < -low * shrink ? next : least, up = above * least < high * shrink ? next : least;
      store(all.steps[k] + g, linalg::narrowed<Half>(larger(down, up)));
    }
  }
}

/** ‖w - nearest levels‖² for kTogether steps from `first` on. The square of what is left of a weight: five operations and its sum. */
template <typename V, bool hasOffset>
VERTEXQ_INLINE void findErrors(const LaneWeights& weights, std::size_t lane, int first, Lanes& all) {
  const V rounder = broadcast<V>(kRounder), half = broadcast<V>(0.5F);
  const V least = load<V>(all.least + lane) + rounder, most = load<V>(all.most + lane) + rounder;
  const V a = broadcast<V>(1.0F) / load<V>(all.steps[first] + lane);
  const V b = broadcast<V>(1.0F) / load<V>(all.steps[first + 1] + lane);
  const V c = broadcast<V>(1.0F) / load<V>(all.steps[first + 2] + lane);
  const V d = broadcast<V>(1.0F) / load<V>(all.steps[first + 3] + lane);
  static_assert(kTogether == 4, "as many as are written out: arrays of them would lie in memory");
  V aa{}, bb{}, cc{}, dd{};
  const auto add = [&](V& sum, const V& w, const V& inverse) {
    if constexpr (hasOffset) {
      const V t = w * inverse - half;
      const V rest = t - (smaller(larger(t + rounder, least), most) - rounder);
      sum = sum + rest * rest;
    } else {
      // Where the compiler makes one operation of both products and sums, these are not rounded between.
      const V rest = w * inverse - (smaller(larger(w * inverse + rounder, least), most) - rounder);
      sum = sum + rest * rest;
    }
  };
  for (std::size_t i = 0; i < weights.count; ++i) {
    const V w = load<V>(weights.first + i * weights.stride + lane);
    add(aa, w, a);
    add(bb, w, b);
    add(cc, w, c);
    add(dd, w, d);
  }
  const auto put = [&](const V& sum, int k) {
    const V step = load<V>(all.steps[k] + lane);
    store(all.errors[k] + lane, sum * step * step);
  };
  put(aa, first);
  put(bb, first + 1);
  put(cc, first + 2);
  put(dd, first + 3);
}

/** What an error is at least, and at most. */
template <typename V>
VERTEXQ_INLINE V leastOf(const V& error, const V& spread, const V& slack) {
  return error - (error * spread + slack);
}
template <typename V>
VERTEXQ_INLINE V mostOf(const V& error, const V& spread, const V& slack) {
  return error + (error * spread + slack);
}

/** The lanes of which a step may be the best one: what it clips of the least and the largest weight costs less than the best so far. Smaller steps clip more. */
template <typename V>
VERTEXQ_INLINE V worthwhile(const float* steps, float offset, std::size_t lane, const Lanes& all) {
  const V step = load<V>(steps + lane), shift = broadcast<V>(offset);
  const V under = (load<V>(all.least + lane) + shift) * step - load<V>(all.lowest + lane);
  const V over = load<V>(all.highest + lane) - (load<V>(all.most + lane) + shift) * step;
  const V low = larger(under, V{}), high = larger(over, V{});
  const V least = leastOf<V>(low * low + high * high, broadcast<V>(all.spread), load<V>(all.slack + lane));
  return least <= load<V>(all.ceiling + lane) ? load<V>(all.isDone + lane) : V{};
}

/** Of the errors of the factors from `first` on, what the least is at most. */
template <typename V>
VERTEXQ_INLINE void lowerCeiling(int first, int last, std::size_t lane, Lanes& all) {
  const V spread = broadcast<V>(all.spread), slack = load<V>(all.slack + lane);
  V ceiling = load<V>(all.ceiling + lane);
  for (int k = first; k < last; ++k)
    ceiling = smaller(ceiling, mostOf<V>(load<V>(all.errors[k] + lane), spread, slack));
  store(all.ceiling + lane, ceiling);
}

/** The step with the least error, of lanes in which no other may have it. */
template <typename V>
VERTEXQ_INLINE void choose(int tried, std::size_t lane, Lanes& all) {
  const V spread = broadcast<V>(all.spread), slack = load<V>(all.slack + lane), ceiling = load<V>(all.ceiling + lane);
  V largest{}, sum{};
  for (int k = 0; k < tried; ++k) {
    const V step =
        leastOf<V>(load<V>(all.errors[k] + lane), spread, slack) <= ceiling ? load<V>(all.steps[k] + lane) : V{};
    largest = larger(largest, step);
    sum = sum + step;
  }
  const V others = sum - largest;  // 0 where there is one
  store(all.isDone + lane, others > V{} ? V{} : load<V>(all.isDone + lane));
  store(all.chosen + lane, largest > V{} ? largest : broadcast<V>(1.0F));
}

/**
 * Nearest levels, less the offset, of two equally near ones the lower. Of steps of at most 15 significant bits what lies half way between two levels is a
 * float32 number; where they have more, isDoubtful becomes other than 0 at lanes with a weight so near to it that float32 does not tell.
 */
template <typename V, bool isExact>
VERTEXQ_INLINE V nearest(const V& w, const V& inverse, const V& step, float offset, const V& least, const V& most,
                         const V& margin, V& isDoubtful) {
  const V rounder = broadcast<V>(kRounder), half = broadcast<V>(0.5F), shift = broadcast<V>(offset);
  const V inside = smaller(larger(w * inverse - shift, least), most);
  const V code = inside + rounder - rounder;
  if constexpr (isExact) {
    const V level = code + shift;
    const V lower = w <= (level - half) * step ? code - broadcast<V>(1.0F) : code;
    const V either = w > (level + half) * step ? code + broadcast<V>(1.0F) : lower;
    return smaller(larger(either, least), most);
  } else {
    // What lies beyond an end has that for its nearest level, wherever it lies.
    const V rest = inside - code, distance = linalg::magnitude(rest) - half;
    isDoubtful = linalg::magnitude(distance) < margin ? broadcast<V>(1.0F) : isDoubtful;
    return code;
  }
}

/** Codes of the chosen steps, four of a lane in a word, and what they change. */
template <std::size_t bytes, bool isExact>
VERTEXQ_INLINE void findCodes(const LaneRule& rule, const LaneWeights& weights, std::size_t lane, Lanes& all,
                              RoundedLanes& to) {
  using V = typename linalg::Lanes<float, bytes>::type;
  using Half = typename linalg::Lanes<float, bytes / 2>::type;
  using D = typename linalg::Lanes<double, bytes>::type;
  constexpr std::size_t n = linalg::Lanes<float, bytes>::count, half = linalg::Lanes<double, bytes>::count;
  const float offset = rule.kind.grid == Grid::ZeroFree ? 0.5F : 0.0F;
  const V step = load<V>(all.chosen + lane), inverse = broadcast<V>(1.0F) / step;
  const V least = load<V>(all.least + lane), most = load<V>(all.most + lane);
  const V margin = broadcast<V>(static_cast<float>(2 * kDoubt * rule.kind.levels));
  const V shift = load<V>(all.zero + lane) + broadcast<V>(kRounder);
  D wide[n / half], error[n / half] = {}, signal[n / half] = {}, equal[n / half] = {};
  for (std::size_t h = 0; h < n / half; ++h) wide[h] = linalg::widened<D>(load<Half>(all.chosen + lane + h * half));
  V isDoubtful{};
  for (std::size_t i = 0; i < weights.count; i += 4) {
    const std::size_t many = weights.count - i < 4 ? weights.count - i : 4;
    linalg::Bits<V> word{};
    for (std::size_t k = 0; k < many; ++k) {
      const float* w = weights.first + (i + k) * weights.stride + lane;
      const V code = nearest<V, isExact>(load<V>(w), inverse, step, offset, least, most, margin, isDoubtful);
      word = word | (linalg::bitsOf(code + shift) & 0xff) << static_cast<int>(8 * k);
      alignas(64) float level[n];
      store(level, code + broadcast<V>(offset));
      for (std::size_t h = 0; h < n / half; ++h) {
        const D value = linalg::widened<D>(load<Half>(w + h * half));
        const D rest = value - linalg::widened<D>(load<Half>(level + h * half)) * wide[h];
        error[h] = error[h] + rest * rest;
        signal[h] = signal[h] + value * value;
        equal[h] = equal[h] + (rest == D{} ? broadcast<D>(1.0) : D{});
      }
    }
    alignas(64) std::int32_t words[n];
    store(words, word);
    std::int8_t* codes = to.codes + lane * weights.count + i;
    if (many == 4)
      for (std::size_t g = 0; g < n; ++g) std::memcpy(codes + g * weights.count, words + g, 4);
    else
      for (std::size_t g = 0; g < n; ++g) std::memcpy(codes + g * weights.count, words + g, many);
  }
  for (std::size_t h = 0; h < n / half; ++h) {
    store(to.errors + lane + h * half, error[h]);
    store(to.signals + lane + h * half, signal[h]);
    store(to.offAlphabet + lane + h * half, broadcast<D>(static_cast<double>(weights.count)) - equal[h]);
  }
  store(to.isDone + lane, isDoubtful > V{} ? V{} : load<V>(all.isDone + lane));
}

template <std::size_t bytes>
VERTEXQ_INLINE void body(const LaneRule& rule, const LaneWeights& weights, RoundedLanes& to) {
  using V = typename linalg::Lanes<float, bytes>::type;
  constexpr std::size_t n = linalg::Lanes<float, bytes>::count;
  const bool hasOffset = rule.kind.grid == Grid::ZeroFree;
  Lanes all;
  for (std::size_t lane = 0; lane < kGroupLanes; lane += n) findRange<V>(weights, lane, all);
  findDoubts(rule, weights.count, all);
  findRules<bytes>(rule, all);
  for (std::size_t lane = 0; lane < kGroupLanes; lane += n) findLevels<V>(rule, lane, all);
  int tried = 0;
  const int most = rule.rule == ScaleRule::Max ? 1 : kFactors;
  for (int end; tried < most; tried = end) {
    end = std::min(tried + kTogether, most);
    findSteps<bytes>(rule, tried, all);
    if (tried > 0) {
      V worth{};
      for (std::size_t lane = 0; lane < kGroupLanes; lane += n)
        worth = worth + worthwhile<V>(all.steps[tried], hasOffset ? 0.5F : 0.0F, lane, all);
      if (!linalg::isAny<V>(linalg::bitsOf(worth))) break;
    }
    for (std::size_t lane = 0; lane < kGroupLanes; lane += n) {
      if (hasOffset)
        findErrors<V, true>(weights, lane, tried, all);
      else
        findErrors<V, false>(weights, lane, tried, all);
      lowerCeiling<V>(tried, end, lane, all);
    }
  }
  for (std::size_t lane = 0; lane < kGroupLanes; lane += n) choose<V>(tried, lane, all);
  for (std::size_t lane = 0; lane < kGroupLanes; lane += n) {
    if (rule.precision == ScalePrecision::Float32)
      findCodes<bytes, false>(rule, weights, lane, all, to);
    else
      findCodes<bytes, true>(rule, weights, lane, all, to);
  }
  for (std::size_t g = 0; g < kGroupLanes; ++g) {
    to.steps[g] = all.chosen[g];
    to.zeroPoints[g] = hasOffset ? -0.5F : all.zero[g];
  }
}

void roundPortable(const LaneRule& rule, const LaneWeights& weights, RoundedLanes& to) { body<16>(rule, weights, to); }
VERTEXQ_AVX2 void roundAvx2(const LaneRule& rule, const LaneWeights& weights, RoundedLanes& to) {
  body<32>(rule, weights, to);
}
VERTEXQ_AVX512 void roundAvx512(const LaneRule& rule, const LaneWeights& weights, RoundedLanes& to) {
  body<64>(rule, weights, to);
}

}  // namespace

bool hasLanes(const LaneRule& rule, std::size_t count) {
  return count <= kMostOfLane && rule.kind.grid != Grid::Minimum && rule.kind.grid != Grid::Table &&
         !rule.kind.eitherSign && rule.precision != ScalePrecision::Float64;
}

void roundLanes(const LaneRule& rule, const LaneWeights& weights, RoundedLanes& to) {
  linalg::forInstructionSet(roundAvx512, roundAvx2, roundPortable)(rule, weights, to);
}

}  // namespace vertexq
