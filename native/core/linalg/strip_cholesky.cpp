#include "linalg/strip_cholesky.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

namespace vertexq::linalg {

namespace {

/** Strips, as columns of a block: enough to read a strip for, few enough for a short chain of tiles on the diagonal. */
template <typename Real>
constexpr std::size_t kBlockStrips = kStripDepth / kStripRows<Real>;

/** Strips of a task below the diagonal: those of large matrices do not stay in the cache from task to task. */
std::size_t stripsAtOnce(std::size_t n) { return n < 1536 ? 1 : 4; }

std::size_t stripsOf(std::size_t n, std::size_t rows) { return (n + rows - 1) / rows; }

/** How many blocks of each strip are done, for tasks that wait for each other. */
class Progress {
 public:
  explicit Progress(std::size_t strips) : done_(strips) {}

  /** Until so many blocks of all these strips are done. Returns whether that came about: not if somebody failed. */
  bool wait(StripRange strips, std::size_t blocks) const {
    for (std::size_t s = strips.begin; s < strips.end; ++s)
      for (int tries = 0; done_[s].load(std::memory_order_acquire) < blocks; ++tries) {
        if (failed()) return false;
        if (tries > kBusyTries) std::this_thread::yield();
      }
    return true;
  }
  void finish(std::size_t strip) { done_[strip].fetch_add(1, std::memory_order_release); }
  void fail() { failed_.store(true); }
  bool failed() const { return failed_.load(std::memory_order_relaxed); }

 private:
  static constexpr int kBusyTries = 1000;
  std::vector<std::atomic<std::size_t>> done_;
  std::atomic<bool> failed_{false};
};

}  // namespace

template <typename Real>
StripCholesky<Real>::StripCholesky(std::size_t maxOrder)
    : data_(stripsOf(maxOrder, kRows) * (stripsOf(maxOrder, kRows) + 1) / 2 * kRows * kRows, Uninitialised()),
      kernels_(stripKernels<Real>()) {}

/** kRows columns of A; what pads the last strip makes no difference with ones on the diagonal. */
template <typename Real>
void StripCholesky<Real>::load(std::size_t column, const Real* a, std::size_t lda) {
  const std::size_t first = column * kRows, strips = stripsOf(n_, kRows);
  for (std::size_t s = column; s < strips; ++s) {
    const std::size_t rows = std::min(kRows, n_ - s * kRows);
    Real* to = strip(s, first);
    for (std::size_t c = 0; c < kRows; ++c, to += kRows) {
      if (rows < kRows) std::fill_n(to, kRows, Real(0));
      if (first + c >= n_) {
        to[c] = 1;
        continue;
      }
      const Real* from = a + s * kRows + (first + c) * lda;
      const std::size_t above = s == column ? c : 0;
      std::fill_n(to, above, Real(0));
      std::copy_n(from + above, rows - above, to + above);
    }
  }
}

template <typename Real>
void StripCholesky<Real>::store(std::size_t column, Real* a, std::size_t lda) {
  const std::size_t first = column * kRows, columns = std::min(kRows, n_ - first), strips = stripsOf(n_, kRows);
  for (std::size_t c = 0; c < columns; ++c)
    for (std::size_t s = column; s < strips; ++s) {
      const std::size_t rows = std::min(kRows, n_ - s * kRows), above = s == column ? c : 0;
      std::copy_n(strip(s, first + c) + above, rows - above, a + s * kRows + above + (first + c) * lda);
    }
}

/** Columns of the block from strip `first` to strip `last` (not itself), in `some` strips: minus what is left of the block. */
template <typename Real>
void StripCholesky<Real>::subtract(StripRange some, std::size_t first, std::size_t last) {
  const std::size_t depth = first * kRows;
  for (std::size_t d = 0; d < depth; d += kStripDepth)
    for (std::size_t t = first; t < last; ++t)
      for (std::size_t s = std::max(some.begin, t); s < some.end; ++s)
        kernels_.update(1, std::min(kStripDepth, depth - d), kRows, {strip(s, d), 0}, strip(t, d), kRows,
                        {strip(s, t * kRows), 0});
}

/** Strip s of the block becomes L's, from those above it in the block. False at a pivot that is not positive. */
template <typename Real>
bool StripCholesky<Real>::finish(std::size_t s, std::size_t first, std::size_t last) {
  for (std::size_t t = first; t < std::min(last, s + 1); ++t) {
    Real* tile = strip(s, t * kRows);
    kernels_.update(1, (t - first) * kRows, kRows, {strip(s, first * kRows), 0}, strip(t, first * kRows), kRows,
                    {tile, 0});
    if (t == s) return kernels_.factorTile(tile);
    kernels_.solveTile(strip(t, t * kRows), tile);
  }
  return true;
}

template <typename Real>
bool StripCholesky<Real>::factor(std::size_t n, Real* a, std::size_t lda) {
  const auto inTurn = [](std::size_t count, const std::function<void(std::size_t)>& task) {
    for (std::size_t i = 0; i < count; ++i) task(i);
  };
  return factor(n, a, lda, inTurn, [] {});
}

template <typename Real>
bool StripCholesky<Real>::factor(std::size_t n, Real* a, std::size_t lda, const ForEach& forEach,
                                 const std::function<void()>& poll) {
  n_ = n;
  const std::size_t strips = stripsOf(n, kRows);
  forEach(strips, [&](std::size_t column) { load(column, a, lda); });
  if (!factorBlocks(forEach, poll)) return false;
  forEach(strips, [&](std::size_t column) { store(column, a, lda); });
  return true;
}

template <typename Real>
bool StripCholesky<Real>::factorBlocks(const ForEach& forEach, const std::function<void()>& poll) {
  struct Task {
    std::size_t block;
    StripRange strips;
  };
  const std::size_t strips = stripsOf(n_, kRows), width = kBlockStrips<Real>, together = stripsAtOnce(n_);
  std::vector<Task> tasks;
  for (std::size_t first = 0; first < strips; first += width)
    for (std::size_t s = first, end; s < strips; s = end) {
      end = s < first + width ? s + 1 : std::min(strips, s + together);
      tasks.push_back({first / width, {s, end}});
    }
  Progress progress(strips);
  forEach(tasks.size(), [&](std::size_t index) {
    const auto [block, some] = tasks[index];
    const std::size_t first = block * width, last = std::min(strips, first + width);
    try {
      poll();
    } catch (...) {
      progress.fail();
      throw;
    }
    if (!progress.wait(some, block) || !progress.wait({first, last}, block)) return;
    subtract(some, first, last);
    if (!progress.wait({first, std::min(last, some.begin)}, block + 1)) return;
    for (std::size_t s = some.begin; s < some.end; ++s) {
      if (!finish(s, first, last)) return progress.fail();
      progress.finish(s);
    }
  });
  return !progress.failed();
}

template class StripCholesky<float>;
template class StripCholesky<double>;

}  // namespace vertexq::linalg
