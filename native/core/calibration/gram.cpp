#include "calibration/gram.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <type_traits>

#include "calibration/gram_kernels.h"
#include "error.h"
#include "linalg/strip_kernels.h"
#include "parallel/thread_pool.h"

namespace vertexq {

namespace {

/** Sides of a tile, which is a task: its part of a slice and its sums stay in a second-level cache. Narrow layers have smaller ones. */
constexpr std::size_t kTile = 128;
constexpr std::size_t kNarrow = 512;
constexpr std::size_t kNarrowTile = 64;
/** Slices that a tile sums in one task: some milliseconds, so that a job is soon cancelled. */
constexpr std::size_t kSlicesAtOnce = 16;
/** Bytes of rows, for each thread, that are brought into strips or read from a source at once: they should stay in its cache. */
constexpr std::size_t kStagingBytes = std::size_t{1} << 20;
/** Side of what is transposed at once. */
constexpr std::size_t kSquare = 16;
/** Rows of a task that moves them. */
constexpr std::size_t kStagingRows = 64;

std::size_t slicesAtOnce(std::size_t bytesPerRow, unsigned threads) {
  const std::size_t bytes = std::max<std::size_t>(1, bytesPerRow * GramAccumulator::kSliceRows);
  return std::clamp<std::size_t>(kStagingBytes * std::max(threads, 1u) / bytes, 1, kSlicesAtOnce);
}

template <typename Real>
[[noreturn]] void throwNotFinite(const char* what, const Real* rows, std::size_t first, std::size_t n) {
  std::size_t i = first * n;
  while (std::isfinite(rows[i])) ++i;
  throw Error("ERR_VERTEXQ_NOT_FINITE", std::string(what) + " at sample " + std::to_string(i / n) + ", input " +
                                            std::to_string(i % n) + (std::isnan(rows[i]) ? " is NaN" : " is infinite"));
}

/** Runs task(first row, rows) over blocks of kStagingRows rows. */
template <typename Task>
void forBlocks(std::size_t rows, unsigned threads, const Task& task) {
  ThreadPool::shared().parallelFor((rows + kStagingRows - 1) / kStagingRows, threads, [&](std::size_t block, unsigned) {
    const std::size_t first = block * kStagingRows;
    task(first, std::min(kStagingRows, rows - first));
  });
}

}  // namespace

GramAccumulator::GramAccumulator(std::size_t inFeatures, GramPrecision precision, bool withCross)
    : inFeatures_(inFeatures), precision_(precision), withCross_(withCross) {
  layOutTiles();
}

/** Whole tiles first, the diagonal ones, of half the work, last: so the threads end together. */
void GramAccumulator::layOutTiles() {
  const std::size_t n = inFeatures_;
  tileSize_ = n < kNarrow ? kNarrowTile : kTile;
  // The sums first: where there is no room for them, the list of tiles would take minutes and gigabytes before that came out.
  std::size_t size = withCross_ ? n * n : 0;
  for (std::size_t col = 0; col < n; col += tileSize_)
    size += std::min(tileSize_, n - col) * std::min(n, col + tileSize_);
  sums_.resize(size);
  std::size_t offset = 0;
  const auto place = [&](Tile::Kind kind, std::size_t row, std::size_t col) {
    const Tile tile{kind, row, col, std::min(tileSize_, n - row), std::min(tileSize_, n - col), offset};
    offset += tile.rows * tile.cols;
    tiles_.push_back(tile);
  };
  if (withCross_)
    for (std::size_t col = 0; col < n; col += tileSize_)
      for (std::size_t row = 0; row < n; row += tileSize_) place(Tile::Kind::Cross, row, col);
  for (std::size_t col = 0; col < n; col += tileSize_)
    for (std::size_t row = 0; row < col; row += tileSize_) place(Tile::Kind::Full, row, col);
  for (std::size_t row = 0; row < n; row += tileSize_) place(Tile::Kind::Symmetric, row, row);
}

void GramAccumulator::requireUsable(bool paired) const {
  if (torn_) throw Cancelled();
  if (paired != withCross_)
    throw Error("ERR_VERTEXQ_INTERNAL",
                withCross_ ? "this accumulator takes pairs of rows" : "this accumulator takes no pairs");
}

template <typename Real>
void GramAccumulator::add(const Real* rows, std::size_t count, unsigned threads, JobControl& control) {
  requireUsable(false);
  addRows(Rows<Real>{rows, nullptr}, count, threads, control);
}

template <typename Real>
void GramAccumulator::add(const Real* seen, const Real* meant, std::size_t count, unsigned threads,
                          JobControl& control) {
  requireUsable(true);
  addRows(Rows<Real>{seen, meant}, count, threads, control);
}

template void GramAccumulator::add<float>(const float*, std::size_t, unsigned, JobControl&);
template void GramAccumulator::add<double>(const double*, std::size_t, unsigned, JobControl&);
template void GramAccumulator::add<float>(const float*, const float*, std::size_t, unsigned, JobControl&);
template void GramAccumulator::add<double>(const double*, const double*, std::size_t, unsigned, JobControl&);

void GramAccumulator::add(const RowSource& rows, unsigned threads, JobControl& control) {
  requireUsable(false);
  addSources(rows, nullptr, threads, control);
}

void GramAccumulator::add(const RowSource& seen, const RowSource& meant, unsigned threads, JobControl& control) {
  requireUsable(true);
  addSources(seen, &meant, threads, control);
}

template <typename Real>
void GramAccumulator::addRows(Rows<Real> rows, std::size_t count, unsigned threads, JobControl& control) {
  control.throwIfCancelled();
  control.expect(count);
  const Cut batch = cut(count);
  const Inspection inspection = inspect(rows, batch, threads);
  for (std::size_t block = 0; block < batch.blocks(); ++block) {
    if (inspection.finite[block]) continue;
    const Real* first = rows.seen + batch.first(block) * inFeatures_;
    const bool seen = !judge(first, batch.size(block), inFeatures_).finite;
    if (seen) throwNotFinite("activation", rows.seen, batch.first(block), inFeatures_);
    throwNotFinite("target activation", rows.meant, batch.first(block), inFeatures_);
  }
  torn_ = true;
  consume(rows, batch, inspection, threads, control);
  torn_ = false;
}

void GramAccumulator::addSources(const RowSource& seen, const RowSource* meant, unsigned threads, JobControl& control) {
  const std::size_t n = inFeatures_, count = seen.count();
  for (const RowSource* source : {&seen, meant}) {
    if (!source) continue;
    if (source->width() != n)
      throw Error("ERR_VERTEXQ_CALIBRATION",
                  "expected rows of " + std::to_string(n) + " inputs, got rows of " + std::to_string(source->width()));
    if (source->count() != count)
      throw Error("ERR_VERTEXQ_CALIBRATION",
                  "expected " + std::to_string(count) + " target rows, got " + std::to_string(source->count()));
    source->requireFinite(control);
  }
  control.throwIfCancelled();
  control.expect(count);
  const std::size_t capacity = slicesAtOnce(n * sizeof(float), threads) * kSliceRows;
  std::vector<float> seenRows(std::min(capacity, count) * n), meantRows(meant ? seenRows.size() : 0);
  const Rows<float> staged{seenRows.data(), meant ? meantRows.data() : nullptr};
  torn_ = true;
  for (std::size_t first = 0, taken; first < count; first += taken) {
    // The first batch fills the slice that waits; those after it are whole slices and need no copying.
    taken = std::min(count - first, waitingRows_ > 0 ? kSliceRows - waitingRows_ : capacity);
    forBlocks(taken, threads, [&](std::size_t row, std::size_t rows) {
      control.throwIfCancelled();
      seen.read(first + row, rows, seenRows.data() + row * n);
      if (meant) meant->read(first + row, rows, meantRows.data() + row * n);
    });
    const Cut batch = cut(taken);
    consume(staged, batch, inspect(staged, batch, threads), threads, control);
  }
  samples_ += seen.zeros();
  torn_ = false;
}

GramAccumulator::Cut GramAccumulator::cut(std::size_t count) const {
  const std::size_t head = waitingRows_ > 0 ? std::min(count, kSliceRows - waitingRows_) : 0;
  return {head, (count - head) / kSliceRows, (count - head) % kSliceRows};
}

template <typename Real>
GramAccumulator::Inspection GramAccumulator::inspect(Rows<Real> rows, const Cut& cut, unsigned threads) const {
  Inspection inspection;
  inspection.narrow.resize(cut.blocks());
  inspection.finite.resize(cut.blocks());
  ThreadPool::shared().parallelFor(cut.blocks(), threads, [&](std::size_t block, unsigned) {
    const Rows<Real> first = rows.from(cut.first(block) * inFeatures_);
    Verdict verdict = judge(first.seen, cut.size(block), inFeatures_);
    if (first.meant) {
      const Verdict other = judge(first.meant, cut.size(block), inFeatures_);
      verdict = {verdict.finite && other.finite, verdict.narrow && other.narrow};
    }
    inspection.narrow[block] = verdict.narrow;
    inspection.finite[block] = verdict.finite;
  });
  return inspection;
}

template <typename Real>
void GramAccumulator::consume(Rows<Real> rows, const Cut& cut, const Inspection& inspection, unsigned threads,
                              JobControl& control) {
  constexpr bool kFloat = sizeof(Real) == sizeof(float);
  keepWaiting(rows, cut.head);
  if (waitingRows_ == kSliceRows) addWaitingSlice(threads, control);
  control.finish(cut.head);
  const auto narrow = [&](std::size_t slice) {
    return inspection.narrow[slice + 1] && precision_ == GramPrecision::Fast;
  };
  for (std::size_t slice = 0, end; slice < cut.slices; slice = end) {
    const Rows<Real> run = rows.from(cut.first(slice + 1) * inFeatures_);
    end = slice + 1;
    while (end < cut.slices && end - slice < kSlicesAtOnce && narrow(end) == narrow(slice)) ++end;
    if constexpr (kFloat) {
      if (narrow(slice))
        addSlices(run, end - slice, narrowStrips_, threads, control);
      else
        addSlices(run, end - slice, wideStrips_, threads, control);
    } else {
      addSlices(run, end - slice, wideStrips_, threads, control);
    }
    control.finish((end - slice) * kSliceRows);
  }
  keepWaiting(rows.from(cut.first(cut.slices + 1) * inFeatures_), cut.tail);
  control.finish(cut.tail);
  samples_ += cut.head + cut.slices * kSliceRows + cut.tail;
}

template <typename Real>
void GramAccumulator::keepWaiting(Rows<Real> rows, std::size_t count) {
  if (count == 0) return;
  const std::size_t held = waitingRows_ * inFeatures_, size = count * inFeatures_;
  if (sizeof(Real) == sizeof(double) && !waitingWide_) {
    widenWaiting();
    waitingWide_ = true;
  }
  const auto append = [&](auto& kept, const Real* from) {
    using Kept = typename std::decay_t<decltype(kept)>::value_type;
    if (kept.size() < kSliceRows * inFeatures_) kept.resize(kSliceRows * inFeatures_);
    std::transform(from, from + size, kept.begin() + static_cast<std::ptrdiff_t>(held),
                   [](Real value) { return static_cast<Kept>(value); });
  };
  if (waitingWide_) {
    append(wideSeen_, rows.seen);
    if (withCross_) append(wideMeant_, rows.meant);
  } else {
    append(narrowSeen_, rows.seen);
    if (withCross_) append(narrowMeant_, rows.meant);
  }
  waitingRows_ += count;
}

GramAccumulator::Rows<float> GramAccumulator::narrowRows() const {
  return {narrowSeen_.data(), withCross_ ? narrowMeant_.data() : nullptr};
}
GramAccumulator::Rows<double> GramAccumulator::wideRows() const {
  return {wideSeen_.data(), withCross_ ? wideMeant_.data() : nullptr};
}

/** The float32 rows that wait, in float64. */
void GramAccumulator::widenWaiting() {
  wideSeen_.assign(narrowSeen_.begin(), narrowSeen_.end());
  wideMeant_.assign(narrowMeant_.begin(), narrowMeant_.end());
}

bool GramAccumulator::narrowWaiting() const {
  if (waitingWide_ || precision_ == GramPrecision::Exact) return false;
  if (samples_ == waitingRows_ && samples_ < std::min(kExactRows, inFeatures_)) return false;
  const Rows<float> rows = narrowRows();
  return judge(rows.seen, waitingRows_, inFeatures_).narrow &&
         (!rows.meant || judge(rows.meant, waitingRows_, inFeatures_).narrow);
}

void GramAccumulator::addWaitingSlice(unsigned threads, JobControl& control) {
  if (waitingWide_)
    addSlices(wideRows(), 1, wideStrips_, threads, control);
  else if (narrowWaiting())
    addSlices(narrowRows(), 1, narrowStrips_, threads, control);
  else
    addSlices(narrowRows(), 1, wideStrips_, threads, control);
  waitingRows_ = 0;
  waitingWide_ = false;
}

template <typename Real, typename From>
void GramAccumulator::pack(Rows<From> rows, std::size_t count, Packed<Real>& to, unsigned threads) const {
  const std::size_t n = inFeatures_;
  if (to.samples < count) {
    to.samples = count;
    to.seen = linalg::StripMatrix<Real>(n, count, linalg::Uninitialised());
    if (withCross_) to.meant = linalg::StripMatrix<Real>(n, count, linalg::Uninitialised());
  }
  forBlocks(count, threads, [&](std::size_t first, std::size_t block) {
    packRows(rows.seen + first * n, block, n, to.seen, first);
    if (withCross_) packRows(rows.meant + first * n, block, n, to.meant, first);
  });
}

template <typename Real, typename From>
void GramAccumulator::addSlices(Rows<From> rows, std::size_t slices, Packed<Real>& strips, unsigned threads,
                                JobControl& control) {
  const std::size_t atOnce = slicesAtOnce(inFeatures_ * sizeof(Real), threads);
  const std::size_t slots = std::min<std::size_t>({std::max(threads, 1u), ThreadPool::kMaxThreads, tiles_.size()});
  while (strips.products.size() < slots) strips.products.emplace_back(tileSize_ * tileSize_);
  for (std::size_t first = 0; first < slices; first += atOnce) {
    const std::size_t taken = std::min(atOnce, slices - first);
    control.throwIfCancelled();
    pack(rows.from(first * kSliceRows * inFeatures_), taken * kSliceRows, strips, threads);
    ThreadPool::shared().parallelFor(tiles_.size(), threads, [&](std::size_t index, unsigned slot) {
      control.throwIfCancelled();
      const Tile& tile = tiles_[index];
      for (std::size_t slice = 0; slice < taken; ++slice)
        addProduct(tile, strips, slice * kSliceRows, kSliceRows, strips.products[slot].data(),
                   sums_.data() + tile.offset);
    });
  }
}

/** Samples first, ..., first + count - 1. */
template <typename Real>
void GramAccumulator::addProduct(const Tile& tile, const Packed<Real>& strips, std::size_t first, std::size_t count,
                                 Real* products, double* sums) const {
  constexpr std::size_t side = linalg::kStripRows<Real>;
  const linalg::StripKernels<Real>& kernels = linalg::stripKernels<Real>();
  const std::size_t down = (tile.rows + side - 1) / side, across = (tile.cols + side - 1) / side;
  const linalg::StripMatrix<Real>& right = tile.kind == Tile::Kind::Cross ? strips.meant : strips.seen;
  const auto end = [&](std::size_t t) { return tile.kind == Tile::Kind::Symmetric ? t + 1 : down; };
  std::fill_n(products, down * across * side * side, Real(0));
  for (std::size_t d = 0; d < count; d += linalg::kStripDepth)
    for (std::size_t t = 0; t < across; ++t)
      for (std::size_t s = 0; s < end(t); ++s)
        kernels.update(
            1, std::min(linalg::kStripDepth, count - d), side, strips.seen.columns(first + d, tile.row / side + s),
            right.columns(first + d, tile.col / side + t).first, side, {products + (s + t * down) * side * side, 0});
  for (std::size_t t = 0; t < across; ++t)
    subtractWidened(products + t * down * side * side, std::min(end(t) * side, tile.rows),
                    std::min(side, tile.cols - t * side), sums + t * side * tile.rows, tile.rows);
}

Matrix GramAccumulator::gram(unsigned threads) const { return assemble(false, threads); }

Matrix GramAccumulator::crossGram(unsigned threads) const {
  requireUsable(true);
  return assemble(true, threads);
}

/** The sums with the product of the rows that wait, which stay as they are: later rows still join their slice. */
Matrix GramAccumulator::assemble(bool cross, unsigned threads) const {
  if (torn_) throw Cancelled();
  Matrix result(inFeatures_, inFeatures_);
  Packed<float> narrow;
  Packed<double> wide;
  if (waitingWide_)
    pack(wideRows(), waitingRows_, wide, threads);
  else if (narrowWaiting())
    pack(narrowRows(), waitingRows_, narrow, threads);
  else
    pack(narrowRows(), waitingRows_, wide, threads);
  ThreadPool::shared().parallelFor(tiles_.size(), threads, [&](std::size_t index, unsigned) {
    const Tile& tile = tiles_[index];
    if ((tile.kind == Tile::Kind::Cross) != cross) return;
    const double* from = sums_.data() + tile.offset;
    std::vector<double> sums(from, from + tile.rows * tile.cols);
    const auto addWaiting = [&](const auto& strips, auto products) {
      if (strips.samples > 0) addProduct(tile, strips, 0, strips.samples, products.data(), sums.data());
    };
    addWaiting(narrow, linalg::AlignedBuffer<float>(tileSize_ * tileSize_));
    addWaiting(wide, linalg::AlignedBuffer<double>(tileSize_ * tileSize_));
    const bool symmetric = tile.kind == Tile::Kind::Symmetric;
    for (std::size_t j = 0; j < tile.cols; ++j)
      for (std::size_t i = 0; i < (symmetric ? j + 1 : tile.rows); ++i) {
        const double value = sums[i + j * tile.rows];
        if (!std::isfinite(value))
          // Of the activations with each other first: where those are finite, they are not what is too large.
          throw Error("ERR_VERTEXQ_NUMERIC",
                      cross
                          ? "the target activations are too large: their products with the activations overflow float64"
                          : "the activations are too large: their products overflow float64");
        result(tile.row + i, tile.col + j) = value;
      }
    // The other triangle by squares: column by column every number would be in a line of its own.
    for (std::size_t top = 0; !cross && top < tile.rows; top += kSquare)
      for (std::size_t left = symmetric ? top : 0; left < tile.cols; left += kSquare)
        for (std::size_t i = top; i < std::min(tile.rows, top + kSquare); ++i)
          for (std::size_t j = std::max(left, symmetric ? i : 0); j < std::min(tile.cols, left + kSquare); ++j)
            result(tile.col + j, tile.row + i) = sums[i + j * tile.rows];
  });
  return result;
}

}  // namespace vertexq
