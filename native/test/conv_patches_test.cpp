// Gathered patches against a convolution's definition, over random shapes; and Gram matrices fed with them.
#include "calibration/conv_patches.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>

#include "error.h"
#include "linalg/blas.h"

using namespace vertexq;

namespace {

using Ints = std::vector<std::int64_t>;

struct Case {
  Ints shape;  // with three spatial axes
  Ints kernel, strides, dilations, pads;
  std::int64_t groups;
};

std::size_t size(std::int64_t value) { return static_cast<std::size_t>(value); }

/** Output length of an axis, from ONNX's text: floor((in + pads - dilation·(kernel - 1) - 1) / stride) + 1. */
std::int64_t outputLength(const Case& c, std::size_t axis) {
  return (c.shape[axis + 2] + c.pads[axis] + c.pads[axis + 3] - c.dilations[axis] * (c.kernel[axis] - 1) - 1) /
             c.strides[axis] +
         1;
}

/** All rows of a group, entry by entry. */
std::vector<float> reference(const Case& c, const std::vector<float>& x, std::int64_t group) {
  std::vector<float> rows;
  const std::int64_t perGroup = c.shape[1] / c.groups;
  for (std::int64_t b = 0; b < c.shape[0]; ++b)
    for (std::int64_t od = 0; od < outputLength(c, 0); ++od)
      for (std::int64_t oh = 0; oh < outputLength(c, 1); ++oh)
        for (std::int64_t ow = 0; ow < outputLength(c, 2); ++ow)
          for (std::int64_t ch = group * perGroup; ch < (group + 1) * perGroup; ++ch)
            for (std::int64_t kd = 0; kd < c.kernel[0]; ++kd)
              for (std::int64_t kh = 0; kh < c.kernel[1]; ++kh)
                for (std::int64_t kw = 0; kw < c.kernel[2]; ++kw) {
                  const std::int64_t d = od * c.strides[0] + kd * c.dilations[0] - c.pads[0];
                  const std::int64_t h = oh * c.strides[1] + kh * c.dilations[1] - c.pads[1];
                  const std::int64_t w = ow * c.strides[2] + kw * c.dilations[2] - c.pads[2];
                  const bool inside = d >= 0 && d < c.shape[2] && h >= 0 && h < c.shape[3] && w >= 0 && w < c.shape[4];
                  const std::int64_t at = (((b * c.shape[1] + ch) * c.shape[2] + d) * c.shape[3] + h) * c.shape[4] + w;
                  rows.push_back(inside ? x[size(at)] : 0);
                }
  return rows;
}

/** The last `axes` spatial axes of a case whose others are of length 1. */
Ints last(const Ints& three, std::size_t axes) {
  return Ints(three.end() - static_cast<std::ptrdiff_t>(axes), three.end());
}

void checkCase(const Case& c, std::size_t axes, std::mt19937_64& random) {
  std::int64_t elements = 1;
  for (const std::int64_t length : c.shape) elements *= length;
  std::vector<float> x(size(elements));
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i + 1);  // every entry its own value

  Ints shape = {c.shape[0], c.shape[1]}, pads = last(Ints(c.pads.begin(), c.pads.begin() + 3), axes);
  for (const std::int64_t length : last(c.shape, axes)) shape.push_back(length);
  for (const std::int64_t pad : last(c.pads, axes)) pads.push_back(pad);
  const ConvPatches patches(x.data(), shape,
                            {last(c.kernel, axes), last(c.strides, axes), last(c.dilations, axes), pads, c.groups});
  std::int64_t positions = c.shape[0];
  for (std::size_t axis = 0; axis < 3; ++axis) positions *= outputLength(c, axis);
  CHECK((patches.rows() == size(positions) && patches.groups() == size(c.groups)));
  for (std::size_t axis = 0; axis < axes; ++axis)
    CHECK(patches.outputShape()[axis] == size(outputLength(c, 3 - axes + axis)));
  for (std::int64_t group = 0; group < c.groups; ++group) {
    const std::vector<float> expected = reference(c, x, group);
    CHECK(expected.size() == patches.rows() * patches.width());
    std::vector<float> all(expected.size(), -1);
    patches.fill(size(group), 0, patches.rows(), all.data());
    CHECK(all == expected);
    // Rows that are all padding are left out, and counted; every third of the others is one of them.
    std::vector<float> inside;
    for (std::size_t row = 0; row < patches.rows(); ++row) {
      const auto begin = expected.begin() + static_cast<std::ptrdiff_t>(row * patches.width());
      const auto end = begin + static_cast<std::ptrdiff_t>(patches.width());
      if (std::any_of(begin, end, [](float value) { return value != 0; })) inside.insert(inside.end(), begin, end);
    }
    const ConvPatches::Group rows = patches.group(size(group)), third = patches.group(size(group), 3);
    CHECK((rows.count() * patches.width() == inside.size() && rows.count() + rows.zeros() == patches.rows()));
    std::vector<float> read(inside.size(), -1);
    rows.read(0, rows.count(), read.data());
    CHECK(read == inside);
    CHECK(third.count() == (rows.count() + 2) / 3);
    for (std::size_t i = 0; i < third.count(); ++i) {
      std::vector<float> own(patches.width(), -1);
      third.read(i, 1, own.data());
      bool found = false;
      for (std::size_t row = 3 * i; row < std::min(3 * i + 3, rows.count()); ++row)
        found |= std::equal(own.begin(), own.end(), inside.begin() + static_cast<std::ptrdiff_t>(row * own.size()));
      CHECK(found);
    }
    // In slices of uneven length, and nothing beyond a slice is touched.
    for (std::size_t first = 0; first < patches.rows();) {
      const std::size_t count = std::min<std::size_t>(1 + random() % 23, patches.rows() - first);
      std::vector<float> slice(count * patches.width() + 1, -1);
      patches.fill(size(group), first, count, slice.data());
      CHECK(slice.back() == -1);
      CHECK(std::equal(slice.begin(), slice.end() - 1,
                       expected.begin() + static_cast<std::ptrdiff_t>(first * patches.width())));
      first += count;
    }
  }
}

void randomShapes() {
  std::mt19937_64 random(21);
  const auto draw = [&](std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(high - low + 1));
  };
  int checked = 0;
  while (checked < 600) {
    const auto axes = static_cast<std::size_t>(draw(1, 3));
    Case c{{draw(1, 3), 1, 1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {0, 0, 0, 0, 0, 0}, draw(1, 4)};
    c.shape[1] = c.groups * (draw(0, 1) ? 1 : draw(1, 3));  // depthwise half of the time
    for (std::size_t axis = 3 - axes; axis < 3; ++axis) {
      c.shape[axis + 2] = draw(1, axes == 3 ? 7 : axes == 2 ? 12 : 70);
      c.kernel[axis] = draw(1, 4);
      c.strides[axis] = draw(1, 5);  // past the kernel too
      c.dilations[axis] = draw(1, 3);
      c.pads[axis] = draw(0, 4);  // past the kernel's reach too
      c.pads[axis + 3] = draw(0, 4);
    }
    bool fits = true;
    for (std::size_t axis = 0; axis < 3; ++axis)
      fits &= c.shape[axis + 2] + c.pads[axis] + c.pads[axis + 3] > c.dilations[axis] * (c.kernel[axis] - 1);
    if (!fits) continue;
    checkCase(c, axes, random);
    ++checked;
  }
}

bool refused(const Ints& shape, const ConvAttributes& attributes, const std::string& part) {
  const std::vector<float> x(64);
  try {
    ConvPatches(x.data(), shape, attributes);
  } catch (const Error& error) {
    if (error.code() == "ERR_VERTEXQ_CALIBRATION" && std::string(error.what()).find(part) != std::string::npos)
      return true;
    std::fprintf(stderr, "%s: %s\n", error.code().c_str(), error.what());
  }
  return false;
}

void hostile() {
  const std::int64_t huge = std::numeric_limits<std::int64_t>::max();
  CHECK(refused({1, 4}, {{}}, "1 to 3 axes"));
  CHECK(refused({1, 4, 2, 2, 2, 2}, {{1, 1, 1, 1}}, "1 to 3 axes"));
  CHECK(refused({1, 4, 4}, {{3, 3}}, "expected activations of 4 axes"));
  CHECK(refused({1, -4, 4, 4}, {{3, 3}}, "activation axes of at least 0"));
  CHECK(refused({1, 0, 4, 4}, {{3, 3}}, "equal groups"));
  CHECK(refused({1, 4, 4, 4}, {{3, 0}}, "kernel axes of at least 1"));
  CHECK(refused({1, 4, 4, 4}, {{3, 3}, {1, 0}}, "strides of at least 1, got [1, 0]"));
  CHECK(refused({1, 4, 4, 4}, {{3, 3}, {1}}, "expected 2 strides, got [1]"));
  CHECK(refused({1, 4, 4, 4}, {{3, 3}, {}, {0, 1}}, "dilations of at least 1"));
  CHECK(refused({1, 4, 4, 4}, {{3, 3}, {}, {}, {1, 1}}, "expected 4 pads"));
  CHECK(refused({1, 4, 4, 4}, {{3, 3}, {}, {}, {1, 1, -1, 1}}, "pads of at least 0"));
  CHECK(refused({1, 4, 4, 4}, {{3, 3}, {}, {}, {}, 3}, "3 equal groups, got 4 channels"));
  CHECK(refused({1, 4, 4, 4}, {{3, 3}, {}, {}, {}, 0}, "equal groups"));
  CHECK(refused({1, 4, 2, 4}, {{3, 3}}, "spatial axis 0 to be at least 3 long"));
  CHECK(refused({1, 4, 4, 4}, {{huge, 3}}, "kernel axes"));
  CHECK(refused({1 << 30, 1 << 30, 4, 4}, {{1, 1}}, "too large"));
  CHECK(refused({1, 4, 4, 4}, {{1 << 30, 2}, {}, {1 << 30, 1}}, "too large"));
  CHECK(refused({1, 4, 4, 4}, {{1, 1}, {}, {}, {std::int64_t{1} << 40, std::int64_t{1} << 40, 0, 0}}, "too large"));
  // An empty batch or an image that is all padding are no error.
  const std::vector<float> x(64);
  CHECK(ConvPatches(x.data(), {0, 4, 4, 4}, {{3, 3}}).rows() == 0);
  const ConvPatches padding(x.data(), {1, 1, 0, 4}, {{3, 3}, {}, {}, {2, 0, 2, 0}});
  std::vector<float> rows(padding.rows() * padding.width(), 1);
  padding.fill(0, 0, padding.rows(), rows.data());
  CHECK(rows == std::vector<float>(rows.size()));
}

void notFinite() {
  std::vector<float> x(2 * 3 * 4 * 4, 1);
  x[(1 * 3 + 2) * 16 + 5] = std::numeric_limits<float>::infinity();
  const ConvPatches patches(x.data(), {2, 3, 4, 4}, {{3, 3}});
  GramAccumulator gram(27, GramPrecision::Fast);
  JobControl control;
  try {
    gram.add(patches.group(0), 2, control);
    CHECK(false);
  } catch (const Error& error) {
    CHECK(error.code() == "ERR_VERTEXQ_NOT_FINITE");
    CHECK(std::string(error.what()).find("sample 1, channel 2, position 5 is infinite") != std::string::npos);
  }
  CHECK(gram.samples() == 0);
  // Of a group, only its own channels matter.
  const ConvPatches grouped(x.data(), {2, 3, 4, 4}, {{3, 3}, {}, {}, {}, 3});
  GramAccumulator own(9, GramPrecision::Fast);
  own.add(grouped.group(1), 2, control);
  CHECK(own.samples() == 8);
  CHECK_THROWS_AS([&] { own.add(grouped.group(2), 2, control); }(), Error);
  CHECK_THROWS_AS([&] { grouped.requireFinite(JobControl()); }(), Error);
  GramAccumulator wrong(26, GramPrecision::Fast);
  CHECK_THROWS_AS([&] { wrong.add(patches.group(0), 1, control); }(), Error);
}

/** A Gram matrix of patches has the bytes of that of the same rows written out, whatever waits before them. */
void gramOfPatches() {
  std::mt19937_64 random(22);
  std::normal_distribution<float> normal;
  std::vector<float> x(5 * 6 * 13 * 17), y(x.size());
  for (float& value : x) value = normal(random);
  for (float& value : y) value = normal(random);
  const Ints shape = {5, 6, 13, 17};
  const ConvAttributes attributes{{3, 3}, {}, {}, {1, 1, 1, 1}, 2};
  const ConvPatches seen(x.data(), shape, attributes), meant(y.data(), shape, attributes);
  const std::size_t n = seen.width();
  for (const GramPrecision precision : {GramPrecision::Fast, GramPrecision::Exact})
    for (const std::size_t group : {0u, 1u})
      for (const std::size_t before : {0u, 7u, 500u}) {
        std::vector<float> seenRows(seen.rows() * n), meantRows(seenRows.size());
        seen.fill(group, 0, seen.rows(), seenRows.data());
        meant.fill(group, 0, seen.rows(), meantRows.data());
        GramAccumulator expected(n, precision, true), actual(n, precision, true);
        JobControl control;
        for (GramAccumulator* gram : {&expected, &actual})
          gram->add(meantRows.data(), seenRows.data(), before, 1, control);
        expected.add(seenRows.data(), meantRows.data(), seen.rows(), 1, control);
        actual.add(seen.group(group), meant.group(group), 7, control);
        CHECK((actual.samples() == before + seen.rows() && actual.samples() == expected.samples()));
        const Matrix a = actual.gram(), b = expected.gram(), g = actual.crossGram(), h = expected.crossGram();
        CHECK(std::equal(a.data(), a.data() + n * n, b.data()));
        CHECK(std::equal(g.data(), g.data() + n * n, h.data()));
      }
}

}  // namespace

TEST_CASE("random shapes") { randomShapes(); }
TEST_CASE("hostile") { hostile(); }
TEST_CASE("not finite") { notFinite(); }
TEST_CASE("gram of patches") { gramOfPatches(); }
