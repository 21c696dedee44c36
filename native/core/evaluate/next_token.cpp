#include "evaluate/next_token.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "linalg/aligned_buffer.h"
#include "linalg/real_blas.h"
#include "linalg/simd.h"
#include "parallel/thread_pool.h"

namespace vertexq {

namespace {

using namespace linalg;

/** Sums that are kept apart: the compiler makes vectors of them. */
constexpr std::size_t kLanes = 8;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

/** eˣ for x ≤ 0, to a few units in the last place; what is below e⁻⁷⁰⁸ is that. */
VERTEXQ_INLINE double expOf(double x) {
  constexpr double kShift = 6755399441055744.0;  // 1.5·2⁵²: the sum's last bits are a whole number
  x = x > -708 ? x : -708;
  const double shifted = x * 1.4426950408889634 + kShift, n = shifted - kShift;
  const double r = (x - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10;
  double p = 1.0 / 479001600;
  p = p * r + 1.0 / 39916800;
  p = p * r + 1.0 / 3628800;
  p = p * r + 1.0 / 362880;
  p = p * r + 1.0 / 40320;
  p = p * r + 1.0 / 5040;
  p = p * r + 1.0 / 720;
  p = p * r + 1.0 / 120;
  p = p * r + 1.0 / 24;
  p = p * r + 1.0 / 6;
  p = p * r + 0.5;
  p = p * r + 1;
  p = p * r + 1;
  std::uint64_t bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  bits = (bits + 1023) << 52;
  double power;
  std::memcpy(&power, &bits, sizeof power);
  return p * power;
}

/** Sums term(i) over [0, count). */
template <typename Term>
VERTEXQ_INLINE double sumOf(std::size_t count, const Term& term) {
  double lanes[kLanes] = {};
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (std::size_t l = 0; l < kLanes; ++l) lanes[l] += term(i + l);
  for (std::size_t l = 0; i + l < count; ++l) lanes[l] += term(i + l);
  double sum = 0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

/** x ← c·tanh(scale·x / c), or scale·x where there is no c. */
VERTEXQ_INLINE void finishBody(std::size_t count, double scale, double cap, float* x) {
  if (cap == 0) {
    for (std::size_t i = 0; i < count; ++i) x[i] = static_cast<float>(scale * x[i]);
    return;
  }
  for (std::size_t i = 0; i < count; ++i) {
    const double z = scale * x[i] / cap;
    const double e = expOf(-2 * std::abs(z));
    // z − z: NaN stays.
    x[i] = static_cast<float>(std::copysign(cap * (1 - e) / (1 + e), z) + (z - z));
  }
}

/** A network's logits at one token. `shares` becomes exp(x − most). */
VERTEXQ_INLINE NextTokenSums sumsBody(std::size_t count, const float* x, double* shares) {
  float most[kLanes];
  std::fill_n(most, kLanes, -std::numeric_limits<float>::infinity());
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (std::size_t l = 0; l < kLanes; ++l) most[l] = x[i + l] > most[l] ? x[i + l] : most[l];
  for (; i < count; ++i) most[0] = std::max(most[0], x[i]);
  const float top = *std::max_element(most, most + kLanes);
  const auto best = static_cast<double>(std::find(x, x + count, top) - x);
  for (i = 0; i < count; ++i) shares[i] = expOf(static_cast<double>(x[i]) - top);
  // 0·x is NaN where x is not finite.
  const double sum = sumOf(count, [&](std::size_t at) { return shares[at] + 0 * x[at]; });
  return {top, sum, best, 0, 0};
}

VERTEXQ_INLINE double crossBody(std::size_t count, const double* shares, const float* x, const float* y) {
  return sumOf(count, [&](std::size_t i) { return shares[i] * (static_cast<double>(x[i]) - y[i]); });
}

// One set of functions an instruction set.
#define VERTEXQ_NEXT_TOKEN(Name, Target)                                                                  \
  struct Name {                                                                                           \
    Target static void finish(std::size_t count, double scale, double cap, float* x) {                    \
      finishBody(count, scale, cap, x);                                                                   \
    }                                                                                                     \
    Target static NextTokenSums sums(std::size_t count, const float* x, double* shares) {                 \
      return sumsBody(count, x, shares);                                                                  \
    }                                                                                                     \
    Target static double cross(std::size_t count, const double* shares, const float* x, const float* y) { \
      return crossBody(count, shares, x, y);                                                              \
    }                                                                                                     \
  };
VERTEXQ_NEXT_TOKEN(Portable, )
#if VERTEXQ_X86
VERTEXQ_NEXT_TOKEN(Avx2, VERTEXQ_AVX2)
VERTEXQ_NEXT_TOKEN(Avx512, VERTEXQ_AVX512)
#else
using Avx2 = Portable;
using Avx512 = Portable;
#endif

/** The kernels for this CPU. */
struct Kernels {
  decltype(&Portable::finish) finish = forInstructionSet(&Avx512::finish, &Avx2::finish, &Portable::finish);
  decltype(&Portable::sums) sums = forInstructionSet(&Avx512::sums, &Avx2::sums, &Portable::sums);
  decltype(&Portable::cross) cross = forInstructionSet(&Avx512::cross, &Avx2::cross, &Portable::cross);
};

/** The part of a panel that one thread computes at once: places and tokens of the vocabulary, counted within the panel. */
struct Tile {
  std::size_t place, places, logit, logits;
};

/** `sums`: of each side, one behind the other, `stride` apart from place to place. */
void sumTile(const HeadPanel& panel, const Tile& tile, const Kernels& kernels, float* logits, double* shares,
             NextTokenSums* sums, std::size_t stride) {
  const std::size_t sides = panel.sides.size(), k = panel.size, room = kTokensAtOnce * kLogitsAtOnce;
  for (std::size_t s = 0; s < sides; ++s)
    gemm(kTransposed, kPlain, tile.logits, tile.places, k, 1.0F, panel.sides[s].weights + tile.logit * k, k,
         panel.sides[s].hidden + tile.place * k, k, 0.0F, logits + s * room, tile.logits);
  const bool isPlain = panel.scale == 1 && panel.cap == 0;
  for (std::size_t i = 0; i < tile.places; ++i) {
    float* x = logits + i * tile.logits;
    const std::size_t first = panel.first + tile.logit;
    const auto next = static_cast<std::size_t>(panel.next[tile.place + i]);
    for (std::size_t s = 0; s < sides; ++s) {
      float* y = x + s * room;
      if (!isPlain) kernels.finish(tile.logits, panel.scale, panel.cap, y);
      NextTokenSums& own = sums[i * stride + s];
      own = kernels.sums(tile.logits, y, shares + s * kLogitsAtOnce);
      own.best += static_cast<double>(first);
      if (next >= first && next < first + tile.logits) own.target = y[next - first];
      if (s > 0) own.cross = kernels.cross(tile.logits, shares, x, y);
    }
  }
}

/** Adds a later part of the vocabulary; both have a place's sides one behind the other. */
void merge(std::size_t sides, NextTokenSums* const* sums, const NextTokenSums* part) {
  double before = 1, now = 1;  // what exponentials of the first side are multiplied with
  for (std::size_t s = 0; s < sides; ++s) {
    NextTokenSums& own = *sums[s];
    const double most = std::max(own.most, part[s].most);
    const double own1 = own.most == -kInfinity ? 0 : std::exp(own.most - most), part1 = std::exp(part[s].most - most);
    if (s == 0) {
      before = own1;
      now = part1;
    }
    if (part[s].most > own.most) own.best = part[s].best;
    own.most = most;
    own.sum = own.sum * own1 + part[s].sum * part1;
    own.target += part[s].target;
    own.cross = own.cross * before + part[s].cross * now;
  }
}

}  // namespace

void addNextTokens(const HeadPanel& panel, unsigned threads, const JobControl& control) {
  const std::size_t sides = panel.sides.size();
  const std::size_t blocks = (panel.count + kLogitsAtOnce - 1) / kLogitsAtOnce;
  const Kernels kernels;
  struct Workspace {
    AlignedBuffer<float> logits;
    AlignedBuffer<double> shares;
  };
  std::vector<Workspace> workspaces(std::max(threads, 1U));
  std::vector<NextTokenSums> parts(std::min(panel.tokens, kTokensAtOnce) * blocks * sides);
  for (std::size_t place = 0; place < panel.tokens; place += kTokensAtOnce) {
    const std::size_t places = std::min(kTokensAtOnce, panel.tokens - place);
    ThreadPool::shared().parallelFor(blocks, threads, [&](std::size_t block, unsigned slot) {
      control.throwIfCancelled();
      Workspace& own = workspaces[slot];
      if (own.logits.size() == 0) {
        own.logits = AlignedBuffer<float>(sides * kTokensAtOnce * kLogitsAtOnce, Uninitialised());
        own.shares = AlignedBuffer<double>(sides * kLogitsAtOnce, Uninitialised());
      }
      const std::size_t logit = block * kLogitsAtOnce;
      const Tile tile{place, places, logit, std::min(kLogitsAtOnce, panel.count - logit)};
      sumTile(panel, tile, kernels, own.logits.data(), own.shares.data(), parts.data() + block * sides, blocks * sides);
    });
    std::vector<NextTokenSums*> sums(sides);
    for (std::size_t i = 0; i < places; ++i)
      for (std::size_t block = 0; block < blocks; ++block) {
        for (std::size_t s = 0; s < sides; ++s) sums[s] = panel.sides[s].sums + place + i;
        merge(sides, sums.data(), parts.data() + (i * blocks + block) * sides);
      }
  }
}

}  // namespace vertexq
