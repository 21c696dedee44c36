// Rows of calibration data that are not all there at once.
#pragma once

#include <cstddef>

#include "parallel/job_control.h"

namespace vertexq {

/** Rows that are made when they are needed, such as the patches of a convolution (conv_patches.h). */
class RowSource {
 public:
  virtual ~RowSource() = default;
  /** Rows in all. */
  virtual std::size_t count() const = 0;
  /** Rows of zeros besides: they count as samples, and are never read. */
  virtual std::size_t zeros() const { return 0; }
  /** Entries of a row. */
  virtual std::size_t width() const = 0;
  /**
   * Throws ERR_VERTEXQ_NOT_FINITE where read() would give a NaN or an infinity, Cancelled. Called once, before the first read().
   */
  virtual void requireFinite(const JobControl& control) const = 0;
  /** Writes rows [first, first + rows) to `out`, row-major. Called by several threads at once. */
  virtual void read(std::size_t first, std::size_t rows, float* out) const = 0;
};

}  // namespace vertexq
