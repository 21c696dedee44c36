// Cholesky factorisation in strips.
#pragma once

#include <cstddef>
#include <functional>

#include "linalg/aligned_buffer.h"
#include "linalg/strip_kernels.h"

namespace vertexq::linalg {

/**
 * Runs task(0), ..., task(count - 1), on several threads if it likes, and returns when all are done. They must begin in this
 * order: a task may wait for those before it.
 */
using ForEach = std::function<void(std::size_t count, const std::function<void(std::size_t)>& task)>;

/** Strips begin, ..., end - 1. */
struct StripRange {
  std::size_t begin, end;
};

/**
 * A = L Lᵀ, by blocks of columns, left-looking (Golub & Van Loan, section 4.2.6, in tiles): the blocks to the left are subtracted
 * by products in strips (strip_kernels.h), then the block on the diagonal is factored and the strips below it are solved for.
 * Nothing is copied for a product. A strip of a block is a task, which waits for what it needs and not for all that came
 * before; the result is the same for any number of threads.
 */
template <typename Real>
class StripCholesky {
 public:
  /** For matrices of at most `maxOrder` rows: workspace of half their size. */
  explicit StripCholesky(std::size_t maxOrder);

  /**
   * L in place of A's lower triangle, `n` × `n`, column-major with distance lda; the upper triangle is not touched. False if a
   * pivot is not positive, and then the triangle is as it was; so it is if `poll`, which is called at every task, throws.
   */
  bool factor(std::size_t n, Real* a, std::size_t lda);
  bool factor(std::size_t n, Real* a, std::size_t lda, const ForEach& forEach, const std::function<void()>& poll);

  /** Whether A + shift·I has a factor, which is not kept: A stays as it is. */
  bool hasFactor(std::size_t n, const Real* a, std::size_t lda, Real shift, const ForEach& forEach,
                 const std::function<void()>& poll);

  std::size_t bytes() const { return data_.bytes(); }

 private:
  static constexpr std::size_t kRows = kStripRows<Real>;

  /** Strip s from column j on. It has (s + 1)·kRows columns; those beyond the diagonal are scratch. */
  Real* strip(std::size_t s, std::size_t j = 0) { return data_.data() + (s * (s + 1) / 2 * kRows + j) * kRows; }
  void load(std::size_t column, const Real* a, std::size_t lda);
  void store(std::size_t column, Real* a, std::size_t lda);
  void subtract(StripRange some, StripRange block);
  bool finish(std::size_t s, StripRange block);
  template <typename Visit>
  bool forTasks(const Visit& visit) const;
  template <typename MayFinish, typename Finished>
  bool run(StripRange block, StripRange some, const MayFinish& mayFinish, const Finished& finished);
  bool factorBlocks(const ForEach& forEach, const std::function<void()>& poll);

  std::size_t n_ = 0;
  AlignedBuffer<Real> data_;
  const StripKernels<Real>& kernels_;
};

}  // namespace vertexq::linalg
