#include "calibration/conv_patches.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "error.h"

namespace vertexq {

namespace {

/** Positions gathered together: a cache line of the input at stride 1, and few enough output rows to stay in L1. */
constexpr std::size_t kRun = 16;

/** Numbers of elements stay below this, so that offsets and sizes in bytes never overflow. */
constexpr std::int64_t kMostElements = std::int64_t{1} << 48;

[[noreturn]] void fail(const std::string& message) {
  throw Error("ERR_VERTEXQ_CALIBRATION", "convolution: " + message);
}

std::string show(const std::vector<std::int64_t>& values) {
  std::string text = "[";
  for (std::size_t i = 0; i < values.size(); ++i) text += (i ? ", " : "") + std::to_string(values[i]);
  return text + "]";
}

/** `values`, or `count` times `missing` if there are none; each in [least, kMostElements]. */
std::vector<std::int64_t> checked(const char* name, std::vector<std::int64_t> values, std::size_t count,
                                  std::int64_t least, std::int64_t missing) {
  if (values.empty()) values.assign(count, missing);
  if (values.size() != count) fail("expected " + std::to_string(count) + " " + name + ", got " + show(values));
  for (const std::int64_t value : values)
    if (value < least || value > kMostElements)
      fail(std::string("expected ") + name + " of at least " + std::to_string(least) + ", got " + show(values));
  return values;
}

/** a·b; both at least 0. */
std::int64_t product(std::int64_t a, std::int64_t b) {
  if (a != 0 && b > kMostElements / a) fail("the shapes are too large");
  return a * b;
}

}  // namespace

ConvPatches::ConvPatches(const float* activations, const std::vector<std::int64_t>& shape,
                         const ConvAttributes& attributes)
    : activations_(activations), axes_(attributes.kernel.size()) {
  if (axes_ < 1 || axes_ > 3) fail("expected a kernel of 1 to 3 axes, got " + show(attributes.kernel));
  if (shape.size() != axes_ + 2)
    fail("expected activations of " + std::to_string(axes_ + 2) + " axes, as the kernel " + show(attributes.kernel) +
         " has " + std::to_string(axes_) + ", got " + show(shape));
  std::int64_t elements = 1;
  for (const std::int64_t length : checked("activation axes", shape, axes_ + 2, 0, 0))
    elements = product(elements, length);
  const auto kernel = checked("kernel axes", attributes.kernel, axes_, 1, 1);
  const auto strides = checked("strides", attributes.strides, axes_, 1, 1);
  const auto dilations = checked("dilations", attributes.dilations, axes_, 1, 1);
  const auto pads = checked("pads", attributes.pads, 2 * axes_, 0, 0);
  if (attributes.groups < 1 || shape[1] < 1 || shape[1] % attributes.groups != 0)
    fail("expected channels in " + std::to_string(attributes.groups) + " equal groups, got " +
         std::to_string(shape[1]) + " channels");
  batch_ = static_cast<std::size_t>(shape[0]);
  groups_ = static_cast<std::size_t>(attributes.groups);
  groupChannels_ = static_cast<std::size_t>(shape[1]) / groups_;
  std::int64_t rows = shape[0], width = shape[1] / attributes.groups;
  for (std::size_t i = 0; i < axes_; ++i) {
    const std::size_t axis = 3 - axes_ + i;
    const std::int64_t reach = product(dilations[i], kernel[i] - 1) + 1;
    const std::int64_t padded = shape[i + 2] + pads[i] + pads[axes_ + i];
    if (padded < reach)
      fail("expected spatial axis " + std::to_string(i) + " to be at least " + std::to_string(reach) +
           " long with its padding, as the dilated kernel is, got " + std::to_string(padded));
    input_[axis] = static_cast<std::size_t>(shape[i + 2]);
    kernel_[axis] = static_cast<std::size_t>(kernel[i]);
    strides_[axis] = static_cast<std::size_t>(strides[i]);
    dilations_[axis] = static_cast<std::size_t>(dilations[i]);
    pads_[axis] = static_cast<std::size_t>(pads[i]);
    output_[axis] = static_cast<std::size_t>((padded - reach) / strides[i] + 1);
    rows = product(rows, static_cast<std::int64_t>(output_[axis]));
    width = product(width, kernel[i]);
  }
  for (std::size_t axis = 0; axis < 3; ++axis) findInside(axis);
}

/** The positions p with pads ≤ p·stride + k·dilation < pads + input for some entry k of the kernel. */
void ConvPatches::findInside(std::size_t axis) {
  const std::size_t stride = strides_[axis], low = pads_[axis], high = low + input_[axis];
  std::vector<Stretch>& stretches = inside_[axis];
  const auto from = [&](std::size_t limit, std::size_t tap) {
    return limit <= tap ? std::size_t{0} : std::min(output_[axis], (limit - tap + stride - 1) / stride);
  };
  // From the last entry to the first, so that they come in order.
  for (std::size_t k = kernel_[axis]; k-- > 0;) {
    const std::size_t tap = k * dilations_[axis], first = from(low, tap), end = from(high, tap);
    if (first >= end) continue;
    if (!stretches.empty() && first <= stretches.back().end)
      stretches.back().end = std::max(stretches.back().end, end);
    else
      stretches.push_back({first, end, insideAlong(axis)});
  }
}

std::size_t ConvPatches::insideAlong(std::size_t axis) const {
  const std::vector<Stretch>& stretches = inside_[axis];
  return stretches.empty() ? 0 : stretches.back().before + stretches.back().end - stretches.back().first;
}

std::size_t ConvPatches::rowsInside() const { return batch_ * insideAlong(0) * insideAlong(1) * insideAlong(2); }

std::size_t ConvPatches::rowInside(std::size_t index) const {
  Axes at;
  for (std::size_t axis = 3; axis-- > 0;) {
    const std::size_t length = insideAlong(axis), place = index % length;
    index /= length;
    const auto next = std::upper_bound(inside_[axis].begin(), inside_[axis].end(), place,
                                       [](std::size_t value, const Stretch& own) { return value < own.before; });
    const Stretch& own = *(next - 1);
    at[axis] = own.first + (place - own.before);
  }
  return ((index * output_[0] + at[0]) * output_[1] + at[1]) * output_[2] + at[2];
}

/** Of each `every` rows one, at a place without a pattern: rows at equal distances would all be of the same columns of an image. */
std::size_t ConvPatches::Group::place(std::size_t index) const {
  if (every_ == 1) return patches_.rowInside(index);
  const std::size_t first = index * every_;
  std::uint64_t hash = (index + 1) * 0x9E3779B97F4A7C15u;
  hash = (hash ^ (hash >> 32)) * 0xD6E8FEB86659FD93u;
  return patches_.rowInside(first + static_cast<std::size_t>((hash >> 32) % std::min(every_, inside_ - first)));
}

void ConvPatches::Group::read(std::size_t first, std::size_t rows, float* out) const {
  if (every_ == 1 && inside_ == patches_.rows()) return patches_.fill(group_, first, rows, out);
  for (std::size_t done = 0; done < rows;) {
    const std::size_t row = place(first + done);
    std::size_t length = 1;
    while (length < kRun && done + length < rows && place(first + done + length) == row + length) ++length;
    patches_.fill(group_, row, length, out);
    out += length * patches_.width();
    done += length;
  }
}

std::vector<std::size_t> ConvPatches::outputShape() const {
  return {output_.end() - static_cast<std::ptrdiff_t>(axes_), output_.end()};
}

void ConvPatches::requireFinite(const JobControl& control) const {
  for (std::size_t group = 0; group < groups_; ++group) requireFinite(group, control);
}

void ConvPatches::requireFinite(std::size_t group, const JobControl& control) const {
  const std::size_t volume = input_[0] * input_[1] * input_[2], channels = groups_ * groupChannels_;
  if (volume == 0) return;  // however many images of nothing there are
  for (std::size_t sample = 0; sample < batch_; ++sample) {
    control.throwIfCancelled();
    const std::size_t first = sample * channels + group * groupChannels_;
    for (std::size_t image = first; image < first + groupChannels_; ++image) {
      const float* values = activations_ + image * volume;
      bool bad = false;
      for (std::size_t i = 0; i < volume; ++i) bad |= !(std::abs(values[i]) <= std::numeric_limits<float>::max());
      if (!bad) continue;
      std::size_t i = 0;
      while (std::isfinite(values[i])) ++i;
      throw Error("ERR_VERTEXQ_NOT_FINITE", "activation at sample " + std::to_string(sample) + ", channel " +
                                                std::to_string(image % channels) + ", position " + std::to_string(i) +
                                                (std::isnan(values[i]) ? " is NaN" : " is infinite"));
    }
  }
}

void ConvPatches::fill(std::size_t group, std::size_t first, std::size_t count, float* out) const {
  const std::size_t volume = input_[0] * input_[1] * input_[2];
  for (std::size_t row = first, end = first + count; row < end;) {
    const std::size_t line = row / output_[2], plane = line / output_[1], image = plane / output_[0];
    Run run;
    run.at = {plane % output_[0], line % output_[1], row % output_[2]};
    run.length = std::min({kRun, output_[2] - run.at[2], end - row});
    run.channels = activations_ + (image * groups_ + group) * groupChannels_ * volume;
    fillRun(run, out);
    out += run.length * width();
    row += run.length;
  }
}

/**
 * Entry by entry of the kernel, and for each along the positions: they read next to each other at stride 1, write to a few
 * streams, and which of them lie in the padding is known without a test at each.
 */
void ConvPatches::fillRun(const Run& run, float* out) const {
  const std::size_t rowWidth = width(), volume = input_[0] * input_[1] * input_[2];
  // Coordinates of the padded input; what is below pads_ or from pads_ + input_ on is padding.
  const auto inside = [&](std::size_t axis, std::size_t at) {
    return at >= pads_[axis] && at < pads_[axis] + input_[axis];
  };
  for (std::size_t channel = 0; channel < groupChannels_; ++channel)
    for (std::size_t kd = 0; kd < kernel_[0]; ++kd)
      for (std::size_t kh = 0; kh < kernel_[1]; ++kh) {
        const std::size_t d = run.at[0] * strides_[0] + kd * dilations_[0];
        const std::size_t h = run.at[1] * strides_[1] + kh * dilations_[1];
        const bool lineInside = inside(0, d) && inside(1, h);
        const float* line =
            lineInside ? run.channels + channel * volume + ((d - pads_[0]) * input_[1] + (h - pads_[1])) * input_[2]
                       : nullptr;
        for (std::size_t kw = 0; kw < kernel_[2]; ++kw, ++out) {
          const std::size_t stride = strides_[2], w = run.at[2] * stride + kw * dilations_[2];
          // The positions r with pads ≤ w + r·stride < pads + input.
          const auto before = [&](std::size_t limit) {
            return limit <= w ? std::size_t{0} : std::min(run.length, (limit - w + stride - 1) / stride);
          };
          const std::size_t begin = lineInside ? before(pads_[2]) : run.length;
          const std::size_t end = lineInside ? before(pads_[2] + input_[2]) : run.length;
          for (std::size_t r = 0; r < begin; ++r) out[r * rowWidth] = 0;
          const float* from = line + (begin < end ? w + begin * stride - pads_[2] : 0);
          for (std::size_t r = begin; r < end; ++r, from += stride) out[r * rowWidth] = *from;
          for (std::size_t r = end; r < run.length; ++r) out[r * rowWidth] = 0;
        }
      }
}

}  // namespace vertexq
