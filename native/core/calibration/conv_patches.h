// The inputs of a convolution as rows: one per output position, as its weight sees them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "calibration/gram.h"

namespace vertexq {

/**
 * The attributes of an ONNX Conv, one entry per spatial axis (1 to 3); pads hold all begins, then all ends. Empty strides
 * and dilations mean ones, empty pads zeros. int64 as ONNX stores them: what they may be is for ConvPatches to say.
 */
struct ConvAttributes {
  std::vector<std::int64_t> kernel;
  std::vector<std::int64_t> strides = {};
  std::vector<std::int64_t> dilations = {};
  std::vector<std::int64_t> pads = {};
  std::int64_t groups = 1;
};

/**
 * The patches of an activation tensor, row-major with shape [batch, channels, spatial...] (NCW, NCHW, NCDHW), for each group
 * of a convolution.
 *
 * Row p of group g holds what output position p is computed from: channels/groups · ∏kernel entries in the order of an ONNX
 * weight [outChannels, channels/groups, kernel...], zeros where the kernel reaches into the padding. Positions come
 * batch by batch, row-major in the output's spatial axes. So output = rows · weightᵀ. Rows are gathered when asked for.
 */
class ConvPatches {
 public:
  /**
   * `activations` are not copied and must outlive this. Throws ERR_VERTEXQ_CALIBRATION, saying what was expected, where the
   * shape and the attributes do not fit together.
   */
  ConvPatches(const float* activations, const std::vector<std::int64_t>& shape, const ConvAttributes& attributes);

  std::size_t groups() const { return groups_; }
  /** Rows of each group: batch · ∏outputShape. */
  std::size_t rows() const { return batch_ * output_[0] * output_[1] * output_[2]; }
  /** Entries of a row. */
  std::size_t width() const { return groupChannels_ * kernel_[0] * kernel_[1] * kernel_[2]; }
  /** Spatial axes of the output. */
  std::vector<std::size_t> outputShape() const;

  /** Throws ERR_VERTEXQ_NOT_FINITE, naming batch entry, channel and position, at a NaN or an infinity of the tensor; Cancelled. */
  void requireFinite(const JobControl& control) const;
  /** The same of the channels of one group. */
  void requireFinite(std::size_t group, const JobControl& control) const;

  /** Writes rows [first, first + count) of a group to `out`, row-major. Any number of threads may call it at once. */
  void fill(std::size_t group, std::size_t first, std::size_t count, float* out) const;

  /** Rows that are not all padding: some entry of the kernel is inside of the input. */
  std::size_t rowsInside() const;
  /** The place among all rows of the index-th of these. */
  std::size_t rowInside(std::size_t index) const;

  /**
   * The rows of one group for a GramAccumulator: those that are not all padding, or one of `every` so many of them, spread
   * over all and always the same. Refers to the patches, which must outlive it.
   */
  class Group : public RowSource {
   public:
    Group(const ConvPatches& patches, std::size_t group, std::size_t every)
        : patches_(patches), group_(group), every_(every), inside_(patches.rowsInside()) {}
    std::size_t count() const override { return inside_ / every_ + (inside_ % every_ != 0); }
    std::size_t zeros() const override { return (patches_.rows() - inside_) / every_; }
    std::size_t width() const override { return patches_.width(); }
    void requireFinite(const JobControl& control) const override { patches_.requireFinite(group_, control); }
    void read(std::size_t first, std::size_t rows, float* out) const override;
    /** The output position of the index-th row, among all of the patches. */
    std::size_t place(std::size_t index) const;

   private:
    const ConvPatches& patches_;
    std::size_t group_, every_, inside_;
  };
  Group group(std::size_t index, std::size_t every = 1) const { return Group(*this, index, every); }

 private:
  /** Depth, height, width; axes that a tensor lacks have length 1. */
  using Axes = std::array<std::size_t, 3>;
  /** Output positions along the last axis, next to each other. */
  struct Run {
    const float* channels;  // of its batch entry and group
    Axes at;                // the first of them
    std::size_t length;
  };
  void fillRun(const Run& run, float* out) const;
  /** Neighbouring output positions along an axis at which some entry of the kernel is inside of the input. */
  struct Stretch {
    std::size_t first, end;
    std::size_t before;  // positions in the stretches before
  };
  void findInside(std::size_t axis);
  std::size_t insideAlong(std::size_t axis) const;

  const float* activations_;
  std::size_t axes_;
  std::size_t batch_, groups_, groupChannels_;
  Axes input_{1, 1, 1}, kernel_{1, 1, 1}, strides_{1, 1, 1}, dilations_{1, 1, 1}, pads_{0, 0, 0}, output_{1, 1, 1};
  std::array<std::vector<Stretch>, 3> inside_;
};

}  // namespace vertexq
