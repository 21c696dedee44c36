// Plain rounding, its errors, and how rank is chosen.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "alphabet/scale_search.h"
#include "calibration/spectrum.h"
#include "layer.h"
#include "linalg/blas.h"
#include "linalg/real_blas.h"
#include "parallel/job_control.h"
#include "test_data.h"

using namespace vertexq;
using namespace vertexq::testing;

namespace {

void errorsMatchPlainSums() {
  std::mt19937_64 random(5);
  const std::size_t out = 70, n = 33, m = 20, groupSize = 8;
  const Matrix x = gaussian(random, m, n);
  const std::vector<double> w = normals(random, out * n);
  const Weights weights{w.data(), out, n};
  JobControl control;
  for (const ScaleRule scale : {ScaleRule::Max, ScaleRule::Search}) {
    const AlphabetOptions options{Grid::Asymmetric, 8, groupSize};
    const Rounded rounded = roundLayer(weights, &x, options, scale, 2, control);
    CHECK(rounded.alphabets.size() == out * 5);
    double error = 0, signal = 0, weightError = 0;
    std::size_t off = 0;
    for (std::size_t k = 0; k < out; ++k) {
      std::vector<double> q(n);
      for (std::size_t i = 0; i < n; ++i) {
        const Alphabet& a = rounded.alphabets[k * 5 + i / groupSize];
        q[i] = a.level(rounded.codes[k * n + i]);
        CHECK(q[i] == a.level(a.nearest(w[k * n + i])));
        weightError += std::pow(q[i] - w[k * n + i], 2);
        off += a.contains(w[k * n + i]) ? 0 : 1;
      }
      double e, s;
      residual(x, weights.neuron(k), q.data(), e, s);
      error = std::hypot(error, e);
      signal = std::hypot(signal, s);
    }
    CHECK(rounded.offAlphabet == off);
    const Norms norms = outputError(weights, rounded, groupSize, &x, 2, control);
    CHECK_LE(std::abs(norms.error - error), 1e-12 * error);
    CHECK_LE(std::abs(norms.signal - signal), 1e-12 * signal);
    const Norms plain = outputError(weights, rounded, groupSize, nullptr, 2, control);
    CHECK_LE(std::abs(plain.error - std::sqrt(weightError)), 1e-12 * plain.error);
  }
}

/** float32 weights have kernels of their own, others not: of all the answers are those of the scale search. */
void oneAnswerForAllKernels() {
  std::mt19937_64 random(9);
  const std::size_t out = 40, n = 100, groupSize = 32, groups = 4;
  for (const bool single : {true, false})
    for (const Grid grid :
         {Grid::Integer, Grid::Asymmetric, Grid::ZeroFree, Grid::FullRange, Grid::Minimum, Grid::Table})
      for (const ScalePrecision precision : {ScalePrecision::Float32, ScalePrecision::Float16})
        for (const ScaleRule scale : {ScaleRule::Max, ScaleRule::Search}) {
          std::vector<double> w = normals(random, out * n);
          for (std::size_t i = 0; i < w.size(); ++i) {
            if (single) w[i] = static_cast<float>(w[i]);
            if (i / n == 3) w[i] = 0;
            if (i / n == 4) w[i] = std::ldexp(w[i], i % 2 == 0 ? -40 : -10);
          }
          const AlphabetOptions options{grid, grid == Grid::Integer ? 15 : 16, groupSize, precision,
                                        grid == Grid::Table ? &kUnevenTable : nullptr};
          JobControl control;
          const Rounded rounded = roundLayer({w.data(), out, n}, nullptr, options, scale, 2, control);
          std::size_t off = 0;
          for (std::size_t k = 0; k < out; ++k)
            for (std::size_t g = 0; g < groups; ++g) {
              const std::size_t first = k * n + g * groupSize, count = std::min(groupSize, n - g * groupSize);
              const Alphabet wanted = scale == ScaleRule::Max
                                          ? coveringAlphabet(options.kind(), &w[first], count, precision)
                                          : searchAlphabet(options.kind(), &w[first], nullptr, count, precision);
              const Alphabet& got = rounded.alphabets[k * groups + g];
              CHECK((got.step() == wanted.step() && got.zeroPoint() == wanted.zeroPoint() &&
                     got.minimum() == wanted.minimum()));
              for (std::size_t i = first; i < first + count; ++i) {
                CHECK(rounded.codes[i] == wanted.nearest(w[i]));
                off += wanted.contains(w[i]) ? 0 : 1;
              }
            }
          CHECK(rounded.offAlphabet == off);
        }
}

void rankRule() {
  // No decay and fewer samples than inputs: the paper's choice.
  CHECK(bestRank(std::vector<double>(32, 1.0), 32, 1024) == 32);
  // A steep spectrum of full rank: a small part of it.
  std::vector<double> steep(512);
  for (std::size_t k = 0; k < steep.size(); ++k) steep[k] = std::pow(static_cast<double>(k + 1), -2);
  const std::size_t chosen = bestRank(steep, 512, 512);
  CHECK((chosen > 2 && chosen < 100));
  // A flat spectrum of full rank leaves nothing to gain: all entries are rounded.
  CHECK(bestRank(std::vector<double>(64, 1.0), 64, 64) == 64);
  CHECK(bestRank({}, 0, 10) == 0);
}

void leadingDirections() {
  std::mt19937_64 random(6);
  const Matrix r = gaussian(random, 12, 40);
  const Spectrum s = rowSpectrum(r);
  const Matrix part = leadingPart(r, s, 5);
  CHECK((part.rows() == 5 && part.cols() == 40));
  // Rows of UᵀR are orthogonal with squared norms λ.
  for (std::size_t a = 0; a < 5; ++a)
    for (std::size_t b = 0; b < 5; ++b) {
      double dot = 0;
      for (std::size_t j = 0; j < 40; ++j) dot += part(a, j) * part(b, j);
      CHECK_LE(std::abs(dot - (a == b ? s.values[a] : 0)), 1e-12 * s.values[0]);
    }
}

/** A product that is summed over panels of columns is the whole one. */
void spectrumOfPanels() {
  std::mt19937_64 random(8);
  constexpr std::size_t rows = 600, cols = 12000;
  const Matrix r = gaussian(random, rows, cols);
  Matrix k(rows, rows);
  linalg::gemm(linalg::kPlain, linalg::kTransposed, rows, rows, cols, 1.0, r.data(), rows, r.data(), rows, 0.0,
               k.data(), rows);
  const Spectrum expected = spectrumOf(k), s = rowSpectrum(r);
  for (std::size_t i = 0; i < rows; ++i)
    CHECK_LE(std::abs(s.values[i] - expected.values[i]), 1e-12 * expected.values[0]);
  JobControl control;
  control.cancel();
  CHECK_THROWS_AS(rowSpectrum(r, control), Cancelled);
}

/** Panels change no bit of the one product, and are left where the job is cancelled. */
void leadingPartInPanels() {
  std::mt19937_64 random(7);
  const std::size_t sizes[][3] = {
      {40, 513, 7}, {300, 800, 299}, {1100, 512, 1000}, {1100, 769, 1099}, {1200, 1601, 900}};
  for (const auto& [rows, cols, rank] : sizes) {
    const Matrix r = gaussian(random, rows, cols);
    Spectrum s;
    s.vectors = gaussian(random, rows, rows);
    const Matrix part = leadingPart(r, s, rank);
    Matrix whole(rank, cols);
    linalg::gemm(linalg::kTransposed, linalg::kPlain, rank, cols, rows, 1.0, s.vectors.data(), rows, r.data(), rows,
                 0.0, whole.data(), rank);
    CHECK(std::memcmp(part.data(), whole.data(), sizeof(double) * rank * cols) == 0);
    JobControl control;
    control.cancel();
    CHECK_THROWS_AS(leadingPart(r, s, rank, control), Cancelled);
  }
}

}  // namespace

TEST_CASE("trust 20: a leading part in panels") { leadingPartInPanels(); }
TEST_CASE("trust 20: a spectrum whose product is summed in panels") { spectrumOfPanels(); }
TEST_CASE("errors match plain sums") { errorsMatchPlainSums(); }
TEST_CASE("one answer for all kernels") { oneAnswerForAllKernels(); }
TEST_CASE("rank rule") { rankRule(); }
TEST_CASE("leading directions") { leadingDirections(); }
