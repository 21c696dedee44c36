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

/** The block's columns in `some` strips: minus what is to the left of them. */
template <typename Real>
void StripCholesky<Real>::subtract(StripRange some, StripRange block) {
  const std::size_t depth = block.begin * kRows;
  for (std::size_t d = 0; d < depth; d += kStripDepth)
    for (std::size_t t = block.begin; t < block.end; ++t)
      for (std::size_t s = std::max(some.begin, t); s < some.end; ++s)
        kernels_.update(1, std::min(kStripDepth, depth - d), kRows, {strip(s, d), 0}, strip(t, d), kRows,
                        {strip(s, t * kRows), 0});
}

/** Strip s of the block becomes L's, from those above it in the block. False at a pivot that is not positive. */
template <typename Real>
bool StripCholesky<Real>::finish(std::size_t s, StripRange block) {
  const std::size_t left = block.begin * kRows;
  for (std::size_t t = block.begin; t < std::min(block.end, s + 1); ++t) {
    Real* tile = strip(s, t * kRows);
    kernels_.update(1, t * kRows - left, kRows, {strip(s, left), 0}, strip(t, left), kRows, {tile, 0});
    if (t == s) return kernels_.factorTile(tile);
    kernels_.solveTile(strip(t, t * kRows), tile);
  }
  return true;
}

/** Calls visit(block, strips) for every task, in an order in which each needs only those before it; until one returns false. */
template <typename Real>
template <typename Visit>
bool StripCholesky<Real>::forTasks(const Visit& visit) const {
  const std::size_t strips = stripsOf(n_, kRows), width = kBlockStrips<Real>, together = stripsAtOnce(n_);
  for (std::size_t first = 0; first < strips; first += width)
    for (std::size_t s = first, end; s < strips; s = end) {
      end = s < first + width ? s + 1 : std::min(strips, s + together);
      if (!visit({first, std::min(strips, first + width)}, {s, end})) return false;
    }
  return true;
}

/** `mayFinish()` is asked after subtraction, `finished(s)` told of every strip. */
template <typename Real>
template <typename MayFinish, typename Finished>
bool StripCholesky<Real>::run(StripRange block, StripRange some, const MayFinish& mayFinish, const Finished& finished) {
  subtract(some, block);
  if (!mayFinish()) return false;
  for (std::size_t s = some.begin; s < some.end; ++s) {
    if (!finish(s, block)) return false;
    finished(s);
  }
  return true;
}

template <typename Real>
bool StripCholesky<Real>::factor(std::size_t n, Real* a, std::size_t lda) {
  n_ = n;
  const std::size_t strips = stripsOf(n, kRows);
  for (std::size_t column = 0; column < strips; ++column) load(column, a, lda);
  const auto always = [] { return true; };
  const auto nobody = [](std::size_t) {};
  if (!forTasks([&](StripRange block, StripRange some) { return run(block, some, always, nobody); })) return false;
  for (std::size_t column = 0; column < strips; ++column) store(column, a, lda);
  return true;
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
bool StripCholesky<Real>::hasFactor(std::size_t n, const Real* a, std::size_t lda, Real shift, const ForEach& forEach,
                                    const std::function<void()>& poll) {
  n_ = n;
  forEach(stripsOf(n, kRows), [&](std::size_t column) {
    load(column, a, lda);
    const std::size_t first = column * kRows;
    for (std::size_t c = 0; c < std::min(kRows, n - first); ++c) strip(column, first)[c * kRows + c] += shift;
  });
  return factorBlocks(forEach, poll);
}

template <typename Real>
bool StripCholesky<Real>::factorBlocks(const ForEach& forEach, const std::function<void()>& poll) {
  struct Task {
    StripRange block, some;
  };
  std::vector<Task> tasks;
  forTasks([&](StripRange block, StripRange some) {
    tasks.push_back({block, some});
    return true;
  });
  Progress progress(stripsOf(n_, kRows));
  forEach(tasks.size(), [&](std::size_t index) {
    const StripRange block = tasks[index].block, some = tasks[index].some;
    const std::size_t before = block.begin / kBlockStrips<Real>;
    const StripRange above{block.begin, std::min(block.end, some.begin)};
    try {
      poll();
    } catch (...) {
      progress.fail();
      throw;
    }
    if (!progress.wait(some, before) || !progress.wait(block, before)) return;
    const bool done = run(
        block, some, [&] { return progress.wait(above, before + 1); }, [&](std::size_t s) { progress.finish(s); });
    if (!done) progress.fail();
  });
  return !progress.failed();
}

template class StripCholesky<float>;
template class StripCholesky<double>;

}  // namespace vertexq::linalg
