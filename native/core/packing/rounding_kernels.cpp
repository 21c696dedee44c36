#include "packing/rounding_kernels.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "linalg/lanes.h"

namespace vertexq {

namespace {

using linalg::broadcast;
using linalg::load;
using linalg::store;

/** Adding and subtracting it rounds to a whole number, ties to even, in float32. */
constexpr float kRounder = 0x1.8p23F;
/** Vectors whose squares are summed in float32 before the sum goes on in float64. */
constexpr std::size_t kRun = 16;

template <typename V, std::size_t n>
VERTEXQ_INLINE double sumOf(const V& v) {
  float parts[n];
  store(parts, v);
  for (std::size_t width = n / 2; width > 0; width /= 2)
    for (std::size_t i = 0; i < width; ++i) parts[i] += parts[i + width];
  return parts[0];
}

template <typename V>
VERTEXQ_INLINE V clamped(const V& v, const V& low, const V& high) {
  const V above = v < low ? low : v;
  return above > high ? high : above;
}

/** How far a value, in steps, is from the nearest level. */
template <typename V>
VERTEXQ_INLINE V residue(const V& t, const V& least, const V& most) {
  const V inside = clamped(t, least, most);
  const V rounder = broadcast<V>(kRounder);
  return t - ((inside + rounder) - rounder);
}

/** Calls whole(i) for vectors of n entries from i on, `flush` after every kRun of them, and rest(i) for what is left. */
template <std::size_t n, typename Whole, typename Flush, typename Rest>
VERTEXQ_INLINE void sweep(std::size_t count, Whole whole, Flush flush, Rest rest) {
  std::size_t i = 0;
  while (i + n <= count) {
    const std::size_t end = std::min(count, i + kRun * n);
    for (; i + n <= end; i += n) whole(i);
    flush();
  }
  for (; i < count; ++i) rest(i);
}

template <std::size_t bytes>
VERTEXQ_INLINE double errorBody(const float* w, std::size_t count, const Levels& levels, float inverse) {
  using V = typename linalg::Lanes<float, bytes>::type;
  constexpr std::size_t n = linalg::Lanes<float, bytes>::count;
  const V least = broadcast<V>(levels.least), most = broadcast<V>(levels.most);
  const V offset = broadcast<V>(levels.offset), scale = broadcast<V>(inverse);
  V sum{};
  double total = 0;
  sweep<n>(
      count,
      [&](std::size_t i) {
        const V rest = residue<V>(load<V>(w + i) * scale - offset, least, most);
        sum += rest * rest;
      },
      [&] {
        total += sumOf<V, n>(sum);
        sum = V{};
      },
      [&](std::size_t i) {
        const float rest = residue<float>(w[i] * inverse - levels.offset, levels.least, levels.most);
        total += rest * rest;
      });
  return total;
}

template <std::size_t bytes>
VERTEXQ_INLINE double clippedBody(const float* w, std::size_t count, float low, float high) {
  using V = typename linalg::Lanes<float, bytes>::type;
  constexpr std::size_t n = linalg::Lanes<float, bytes>::count;
  const V least = broadcast<V>(low), most = broadcast<V>(high);
  V sum{};
  double total = 0;
  sweep<n>(
      count,
      [&](std::size_t i) {
        const V value = load<V>(w + i);
        const V out = value - clamped(value, least, most);
        sum += out * out;
      },
      [&] {
        total += sumOf<V, n>(sum);
        sum = V{};
      },
      [&](std::size_t i) {
        const float out = w[i] - clamped(w[i], low, high);
        total += out * out;
      });
  return total;
}

template <std::size_t bytes>
VERTEXQ_INLINE Range rangeBody(const float* w, std::size_t count) {
  using V = typename linalg::Lanes<float, bytes>::type;
  constexpr std::size_t n = linalg::Lanes<float, bytes>::count;
  V low = broadcast<V>(w[0]), high = low, sum{};
  Range range{w[0], w[0], 0};
  sweep<n>(
      count,
      [&](std::size_t i) {
        const V value = load<V>(w + i);
        low = value < low ? value : low;
        high = value > high ? value : high;
        sum += value * value;
      },
      [&] {
        range.squares += sumOf<V, n>(sum);
        sum = V{};
      },
      [&](std::size_t i) {
        range.low = std::min(range.low, w[i]);
        range.high = std::max(range.high, w[i]);
        range.squares += w[i] * w[i];
      });
  float lows[n], highs[n];
  store(lows, low);
  store(highs, high);
  for (std::size_t width = n / 2; width > 0; width /= 2)
    for (std::size_t i = 0; i < width; ++i) {
      lows[i] = std::min(lows[i], lows[i + width]);
      highs[i] = std::max(highs[i], highs[i + width]);
    }
  range.low = std::min(range.low, lows[0]);
  range.high = std::max(range.high, highs[0]);
  return range;
}

/** A plain loop, which the compiler vectorises: it knows how to narrow to bytes. */
VERTEXQ_INLINE bool likelyBody(const float* VERTEXQ_RESTRICT w, std::size_t count, const Levels& levels, float inverse,
                               int zero, float margin, std::int8_t* VERTEXQ_RESTRICT codes) {
  int doubtful = 0;
  const float least = levels.least, most = levels.most, offset = levels.offset;
  for (std::size_t i = 0; i < count; ++i) {
    const float t = w[i] * inverse - offset;
    const float inside = clamped(t, least, most);
    const float nearest = (inside + kRounder) - kRounder;
    const float rest = t - nearest;
    const float distance = (rest < 0 ? -rest : rest) - 0.5F;
    doubtful |= (distance < 0 ? -distance : distance) < margin ? 1 : 0;
    codes[i] = static_cast<std::int8_t>(static_cast<int>(nearest) + zero);
  }
  return doubtful == 0;
}

/** Rounds as likelyBody, then looks at the midpoints on either side, which are exact. */
VERTEXQ_INLINE void codesBody(const float* VERTEXQ_RESTRICT w, std::size_t count, const Levels& levels, float step,
                              int zero, std::int8_t* VERTEXQ_RESTRICT codes) {
  const float least = levels.least, most = levels.most, offset = levels.offset, inverse = 1 / step;
  for (std::size_t i = 0; i < count; ++i) {
    const float nearest = (clamped(w[i] * inverse - offset, least, most) + kRounder) - kRounder;
    const float level = nearest + offset;
    const float lower = w[i] <= (level - 0.5F) * step ? nearest - 1 : nearest;
    const float code = clamped(w[i] > (level + 0.5F) * step ? nearest + 1 : lower, least, most);
    codes[i] = static_cast<std::int8_t>(static_cast<int>(code) + zero);
  }
}

/** In as many sums whatever the instruction set. Loops by themselves, so that the compiler makes vectors of each. */
VERTEXQ_INLINE Changed changedBody(const float* VERTEXQ_RESTRICT w, const std::int8_t* VERTEXQ_RESTRICT codes,
                                   std::size_t count, double zero, double step) {
  constexpr std::size_t n = 16;
  double error[n] = {}, signal[n] = {};
  int equal = 0;
  std::size_t i = 0;
  for (; i + n <= count; i += n) {
    double weight[n], rest[n];
    for (std::size_t k = 0; k < n; ++k) weight[k] = w[i + k];
    for (std::size_t k = 0; k < n; ++k) rest[k] = weight[k] - (codes[i + k] - zero) * step;
    for (std::size_t k = 0; k < n; ++k) error[k] += rest[k] * rest[k];
    for (std::size_t k = 0; k < n; ++k) signal[k] += weight[k] * weight[k];
    for (std::size_t k = 0; k < n; ++k) equal += rest[k] == 0 ? 1 : 0;
  }
  for (; i < count; ++i) {
    const double weight = w[i], rest = weight - (codes[i] - zero) * step;
    error[0] += rest * rest;
    signal[0] += weight * weight;
    equal += rest == 0 ? 1 : 0;
  }
  for (std::size_t width = n / 2; width > 0; width /= 2)
    for (std::size_t k = 0; k < width; ++k) {
      error[k] += error[k + width];
      signal[k] += signal[k + width];
    }
  return {error[0], signal[0], count - static_cast<std::size_t>(equal)};
}

Range rangePortable(const float* w, std::size_t count) { return rangeBody<16>(w, count); }
VERTEXQ_AVX2 Range rangeAvx2(const float* w, std::size_t count) { return rangeBody<32>(w, count); }
VERTEXQ_AVX512 Range rangeAvx512(const float* w, std::size_t count) { return rangeBody<64>(w, count); }

double errorPortable(const float* w, std::size_t count, const Levels& levels, float inverse) {
  return errorBody<16>(w, count, levels, inverse);
}
VERTEXQ_AVX2 double errorAvx2(const float* w, std::size_t count, const Levels& levels, float inverse) {
  return errorBody<32>(w, count, levels, inverse);
}
VERTEXQ_AVX512 double errorAvx512(const float* w, std::size_t count, const Levels& levels, float inverse) {
  return errorBody<64>(w, count, levels, inverse);
}

double clippedPortable(const float* w, std::size_t count, float low, float high) {
  return clippedBody<16>(w, count, low, high);
}
VERTEXQ_AVX2 double clippedAvx2(const float* w, std::size_t count, float low, float high) {
  return clippedBody<32>(w, count, low, high);
}
VERTEXQ_AVX512 double clippedAvx512(const float* w, std::size_t count, float low, float high) {
  return clippedBody<64>(w, count, low, high);
}

bool likelyPortable(const float* w, std::size_t count, const Levels& levels, float inverse, int zero, float margin,
                    std::int8_t* codes) {
  return likelyBody(w, count, levels, inverse, zero, margin, codes);
}
VERTEXQ_AVX2 bool likelyAvx2(const float* w, std::size_t count, const Levels& levels, float inverse, int zero,
                             float margin, std::int8_t* codes) {
  return likelyBody(w, count, levels, inverse, zero, margin, codes);
}
VERTEXQ_AVX512 bool likelyAvx512(const float* w, std::size_t count, const Levels& levels, float inverse, int zero,
                                 float margin, std::int8_t* codes) {
  return likelyBody(w, count, levels, inverse, zero, margin, codes);
}

void codesPortable(const float* w, std::size_t count, const Levels& levels, float step, int zero, std::int8_t* codes) {
  codesBody(w, count, levels, step, zero, codes);
}
VERTEXQ_AVX2 void codesAvx2(const float* w, std::size_t count, const Levels& levels, float step, int zero,
                            std::int8_t* codes) {
  codesBody(w, count, levels, step, zero, codes);
}
VERTEXQ_AVX512 void codesAvx512(const float* w, std::size_t count, const Levels& levels, float step, int zero,
                                std::int8_t* codes) {
  codesBody(w, count, levels, step, zero, codes);
}

Changed changedPortable(const float* w, const std::int8_t* codes, std::size_t count, double zero, double step) {
  return changedBody(w, codes, count, zero, step);
}
VERTEXQ_AVX2 Changed changedAvx2(const float* w, const std::int8_t* codes, std::size_t count, double zero,
                                 double step) {
  return changedBody(w, codes, count, zero, step);
}
VERTEXQ_AVX512 Changed changedAvx512(const float* w, const std::int8_t* codes, std::size_t count, double zero,
                                     double step) {
  return changedBody(w, codes, count, zero, step);
}

}  // namespace

const RoundingKernels& roundingKernels() {
  static const RoundingKernels avx512{rangeAvx512, errorAvx512,  clippedAvx512,
                                      codesAvx512, likelyAvx512, changedAvx512};
  static const RoundingKernels avx2{rangeAvx2, errorAvx2, clippedAvx2, codesAvx2, likelyAvx2, changedAvx2};
  static const RoundingKernels portable{rangePortable, errorPortable,  clippedPortable,
                                        codesPortable, likelyPortable, changedPortable};
  switch (linalg::instructionSet()) {
    case linalg::InstructionSet::Avx512:
      return avx512;
    case linalg::InstructionSet::Avx2:
      return avx2;
    case linalg::InstructionSet::Portable:
      break;
  }
  return portable;
}

}  // namespace vertexq
