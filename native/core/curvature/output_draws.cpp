#include "curvature/output_draws.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "error.h"
#include "parallel/thread_pool.h"

namespace vertexq {

namespace {

/** Numbers of a task. */
constexpr std::size_t kNumbersAtOnce = std::size_t{1} << 16;

/** SplitMix64 (Steele, Lea & Flood 2014), as a function of its counter. */
std::uint64_t mixed(std::uint64_t counter) {
  std::uint64_t z = counter * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

/** Of a row, and no other of any seed but by chance. */
std::uint64_t keyOf(const OutputRows& outputs, std::size_t row) {
  return mixed(mixed(outputs.seed + 1) + outputs.first + row);
}

/** In [0, 1). */
double uniform(std::uint64_t key) { return static_cast<double>(mixed(key) >> 11) * 0x1p-53; }

void drawSigns(std::uint64_t key, std::size_t size, float* to) {
  for (std::size_t begin = 0; begin < size; begin += 64) {
    std::uint64_t bits = mixed(key + begin / 64);
    for (std::size_t i = begin; i < std::min(size, begin + 64); ++i, bits >>= 1) to[i] = (bits & 1) != 0 ? 1.0F : -1.0F;
  }
}

/** Writes shares that are not normalised yet; their sum. */
double sharesOf(OutputKind kind, const float* x, std::size_t size, float* shares) {
  if (kind == OutputKind::Shares) {
    std::transform(x, x + size, shares, [](float value) { return value < 0 ? 0.0F : value; });
  } else {
    float most = -std::numeric_limits<float>::infinity();
    for (std::size_t i = 0; i < size; ++i) most = std::max(most, x[i]);
    for (std::size_t i = 0; i < size; ++i) shares[i] = std::exp(x[i] - most);
  }
  double sum = 0;
  for (std::size_t i = 0; i < size; ++i) sum += shares[i];
  return sum;
}

/** The first whose shares up to and with it exceed a part of all, or the last that has any. */
std::size_t drawn(const float* shares, std::size_t size, double sum, double part) {
  double before = 0;
  std::size_t last = 0;
  for (std::size_t i = 0; i < size; ++i) {
    if (!(shares[i] > 0)) continue;
    before += shares[i];
    last = i;
    if (before > part * sum) break;
  }
  return last;
}

struct Drawn {
  std::size_t y;
  double sum;
};

/** Writes the row's shares. */
Drawn classOf(const OutputRows& outputs, std::size_t row, float* shares) {
  const std::size_t size = outputs.size;
  const double sum = sharesOf(outputs.kind, outputs.values + row * size, size, shares);
  if (!std::isfinite(sum) || !(sum > 0))
    throw Error("ERR_VERTEXQ_NOT_FINITE", "row " + std::to_string(outputs.first + row) +
                                              " of the output gives no distribution: it is not finite");
  return {drawn(shares, size, sum, uniform(keyOf(outputs, row))), sum};
}

void drawClass(const OutputRows& outputs, std::size_t row, float* to) {
  const std::size_t size = outputs.size;
  const auto [y, sum] = classOf(outputs, row, to);
  if (outputs.kind == OutputKind::Logits) {
    for (std::size_t i = 0; i < size; ++i) to[i] = static_cast<float>(to[i] / sum);
    to[y] -= 1;
    return;
  }
  const float at = outputs.kind == OutputKind::Shares ? -1 / to[y] : -1.0F;
  std::fill_n(to, size, 0.0F);
  to[y] = at;
}

/** Calls `each` with the rows of every block. */
template <typename Each>
void inBlocks(const OutputRows& outputs, unsigned threads, const JobControl& control, const Each& each) {
  const std::size_t block = std::max<std::size_t>(1, kNumbersAtOnce / std::max<std::size_t>(1, outputs.size));
  ThreadPool::shared().parallelFor((outputs.rows + block - 1) / block, threads, [&](std::size_t index, unsigned) {
    control.throwIfCancelled();
    each(index * block, std::min(outputs.rows, (index + 1) * block));
  });
}

}  // namespace

void drawOutputs(const OutputRows& outputs, float* cotangents, unsigned threads, const JobControl& control) {
  inBlocks(outputs, threads, control, [&](std::size_t begin, std::size_t end) {
    for (std::size_t row = begin; row < end; ++row) {
      float* to = cotangents + row * outputs.size;
      if (outputs.kind == OutputKind::Signs)
        drawSigns(keyOf(outputs, row), outputs.size, to);
      else
        drawClass(outputs, row, to);
    }
  });
}

void drawClasses(const OutputRows& outputs, std::int32_t* classes, unsigned threads, const JobControl& control) {
  inBlocks(outputs, threads, control, [&](std::size_t begin, std::size_t end) {
    std::vector<float> shares(outputs.size);
    for (std::size_t row = begin; row < end; ++row)
      classes[row] = static_cast<std::int32_t>(classOf(outputs, row, shares.data()).y);
  });
}

}  // namespace vertexq
