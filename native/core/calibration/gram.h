// Gram matrices of activations, accumulated batch by batch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "calibration/row_source.h"
#include "linalg/matrix.h"
#include "linalg/strip_matrix.h"
#include "parallel/job_control.h"

namespace vertexq {

enum class GramPrecision {
  Fast,   // float32 rows are multiplied in float32, slice by slice, and the slices summed in float64
  Exact,  // all in float64
};

/**
 * Accumulates H = X̃ᵀX̃ and, if asked to, G = X̃ᵀX, both inFeatures × inFeatures. X̃ (`seen`) holds the inputs of a layer in
 * the quantized network, X (`meant`) those in the float network, for the same samples.
 *
 * Rows are taken in slices of kSliceRows, a slice's product is added to float64 sums. Rows that do not fill a slice wait for
 * the next call, so the result depends on the rows and their order alone, to the last bit: neither on how they were cut
 * into batches nor on the number of threads. float64 rows are multiplied in float64 always; so are slices of float32 rows
 * whose float32 products (of X̃ or X) would overflow or lose a column to underflow, and rows that are all there is and fewer than inputs
 * and than kExactRows: codes that fit so few closely leave an error that roundings of float32 products would hide.
 *
 * The error of Fast, measured on 20,480 rows of Gaussian, all-positive and graded data: |δH_ij| ≤ 4.7e-8·√(H_ii·H_jj).
 *
 * Memory: half of inFeatures² doubles for H, inFeatures² for G, and a few slices (a MiB or two a thread, or one slice if that is
 * more); whatever the number of samples.
 */
class GramAccumulator {
 public:
  /** Rows of a slice. With 256, 512 and 1024 the largest float32 errors were 4.5e-8, 4.7e-8 and 5.5e-8. */
  static constexpr std::size_t kSliceRows = 512;

  static constexpr std::size_t kExactRows = 8;

  /** With `withCross`, rows come in pairs and G is summed too. */
  GramAccumulator(std::size_t inFeatures, GramPrecision precision, bool withCross = false);

  /**
   * Adds `count` rows, row-major, on at most `threads` threads. Progress: one unit a row.
   *
   * Throws ERR_VERTEXQ_NOT_FINITE, naming row and column, at a NaN or an infinity, and then has added nothing of this call;
   * Cancelled between two tiles, and then the sums mean nothing: every later call throws Cancelled too.
   */
  template <typename Real>
  void add(const Real* rows, std::size_t count, unsigned threads, JobControl& control);
  template <typename Real>
  void add(const Real* seen, const Real* meant, std::size_t count, unsigned threads, JobControl& control);

  /**
   * Adds the rows of a source as float32 rows, holding a few slices of them at a time. Throws as above, and
   * ERR_VERTEXQ_CALIBRATION where a row has not inFeatures entries or two sources have not equally many rows.
   */
  void add(const RowSource& rows, unsigned threads, JobControl& control);
  void add(const RowSource& seen, const RowSource& meant, unsigned threads, JobControl& control);

  std::size_t inFeatures() const { return inFeatures_; }
  /** How many rows (or pairs) were added in all. */
  std::size_t samples() const { return samples_; }

  /** H, symmetric to the last bit. More rows may be added afterwards. Throws ERR_VERTEXQ_NUMERIC where a sum overflowed. */
  Matrix gram(unsigned threads = 1) const;
  /** G; element (i, j) is Σ x̃_i·x_j. As gram(); only with `withCross`. */
  Matrix crossGram(unsigned threads = 1) const;

 private:
  /** A block of H (its upper triangle only, if on the diagonal) or of G, with its sums in one piece. */
  struct Tile {
    enum class Kind { Symmetric, Full, Cross } kind;
    std::size_t row, col, rows, cols;
    std::size_t offset;  // of its first element in sums_; element (i, j) of the tile is i + j·rows further on
  };
  /** X̃ and X of the same rows; X is null without G. */
  template <typename Real>
  struct Rows {
    const Real* seen;
    const Real* meant;
    Rows from(std::size_t offset) const { return {seen + offset, meant ? meant + offset : nullptr}; }
  };
  /** Rows, each a column of strips: an input's activations lie side by side. */
  template <typename Real>
  struct Packed {
    linalg::StripMatrix<Real> seen, meant;
    std::size_t samples = 0;
    std::vector<linalg::AlignedBuffer<Real>> products;  // of a tile, by thread
  };
  /** How a batch falls into slices: rows that go to the waiting ones, whole slices, rows that wait. */
  struct Cut {
    std::size_t head, slices, tail;
    std::size_t blocks() const { return slices + 2; }
    std::size_t first(std::size_t block) const { return block == 0 ? 0 : head + (block - 1) * kSliceRows; }
    std::size_t size(std::size_t block) const { return block == 0 ? head : block <= slices ? kSliceRows : tail; }
  };
  struct Inspection {
    std::vector<std::uint8_t> narrow;  // per block: float32 products do
    std::vector<std::uint8_t> finite;  // per block
  };

  void layOutTiles();
  void requireUsable(bool paired) const;
  void addSources(const RowSource& seen, const RowSource* meant, unsigned threads, JobControl& control);
  template <typename Real>
  void addRows(Rows<Real> rows, std::size_t count, unsigned threads, JobControl& control);
  Cut cut(std::size_t count) const;
  template <typename Real>
  Inspection inspect(Rows<Real> rows, const Cut& cut, unsigned threads) const;
  template <typename Real>
  void consume(Rows<Real> rows, const Cut& cut, const Inspection& inspection, unsigned threads, JobControl& control);
  template <typename Real>
  void keepWaiting(Rows<Real> rows, std::size_t count);
  Rows<float> narrowRows() const;
  Rows<double> wideRows() const;
  void widenWaiting();
  bool narrowWaiting() const;
  void addWaitingSlice(unsigned threads, JobControl& control);
  template <typename Real, typename From>
  void pack(Rows<From> rows, std::size_t count, Packed<Real>& to, unsigned threads) const;
  template <typename Real, typename From>
  void addSlices(Rows<From> rows, std::size_t slices, Packed<Real>& strips, unsigned threads, JobControl& control);
  template <typename Real>
  void addProduct(const Tile& tile, const Packed<Real>& strips, std::size_t first, std::size_t count, Real* products,
                  double* sums) const;
  Matrix assemble(bool cross, unsigned threads) const;

  std::size_t inFeatures_;
  GramPrecision precision_;
  bool withCross_;
  std::size_t samples_ = 0;
  bool torn_ = false;  // a call was cancelled halfway
  std::size_t tileSize_ = 0;
  std::vector<Tile> tiles_;
  std::vector<double> sums_;
  // Rows that wait for their slice to fill: float64 from the first float64 row of the slice on.
  std::size_t waitingRows_ = 0;
  bool waitingWide_ = false;
  std::vector<float> narrowSeen_, narrowMeant_;
  std::vector<double> wideSeen_, wideMeant_;
  // Rows on their way to the sums.
  Packed<float> narrowStrips_;
  Packed<double> wideStrips_;
};

}  // namespace vertexq
