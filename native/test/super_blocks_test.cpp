#include "alphabet/super_blocks.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "error.h"
#include "packing/ggml_types.h"
#include "scales/block_search.h"

using namespace vertexq;

namespace {

double errorOf(const std::vector<double>& values, const std::vector<double>& weights, double unit, int least,
               int most) {
  double sum = 0;
  for (std::size_t g = 0; g < values.size(); ++g) {
    const double rest = values[g] - unit * nearestFactor(values[g], unit, least, most);
    sum += weights[g] * rest * rest;
  }
  return sum;
}

/** Solves Lᵀ x = y. */
std::vector<double> solved(const std::vector<double>& l, const std::vector<double>& y) {
  const std::size_t n = y.size();
  std::vector<double> x(n);
  for (std::size_t k = n; k-- > 0;) {
    x[k] = y[k];
    for (std::size_t j = k + 1; j < n; ++j) x[k] -= l[j + k * n] * x[j];
    x[k] /= l[k + k * n];
  }
  return x;
}

}  // namespace

TEST_CASE("a shared unit is a number of float16, and hardly worse than the best of very many") {
  std::mt19937 random(1);
  std::normal_distribution<double> normal;
  for (const auto& [least, most] : {std::pair{0, 15}, {0, 63}, {-32, 31}, {-128, 127}, {-63, 0}})
    for (int repeat = 0; repeat < 40; ++repeat) {
      std::vector<double> values(repeat % 2 ? 8 : 16), weights(values.size());
      for (double& v : values) {
        v = 0.01 * normal(random);
        if (least == 0) v = std::abs(v);
        if (most == 0) v = -std::abs(v);
      }
      for (double& w : weights) w = std::exp(normal(random));
      const double unit =
          sharedUnit(values.data(), weights.data(), values.size(), least, most, ScalePrecision::Float16);
      CHECK(unit == roundedTo(unit, ScalePrecision::Float16));
      double best = std::numeric_limits<double>::infinity();
      for (int k = 1; k <= 4000; ++k)
        for (const double sign : {1.0, -1.0})
          best = std::min(best, errorOf(values, weights, sign * k * 0.04 / std::max(-least, most) / 1000, least, most));
      CHECK(errorOf(values, weights, unit, least, most) < 3 * best);
    }
  const double zeros[] = {0, 0};
  CHECK(sharedUnit(zeros, zeros, 2, 0, 63, ScalePrecision::Float16) == 0);
  const double huge[] = {1e9, 1}, ones[] = {1, 1};
  CHECK_THROWS_AS(sharedUnit(huge, ones, 2, 0, 63, ScalePrecision::Float16), Error);
}

TEST_CASE("a refit within super-blocks holds what they hold, and does better than rounding entry by entry") {
  std::mt19937 random(2);
  std::normal_distribution<double> normal;
  double ours = 0, plain = 0;
  for (const char* name : {"Q2_K", "Q3_K", "Q4_K", "Q6_K", "IQ4_XS"}) {
    const GgmlType& type = *ggmlType(name);
    const AlphabetOptions options = type.alphabet();
    const bool hasMinima = type.factors.mostMinimum > 0;
    for (int repeat = 0; repeat < 30; ++repeat) {
      const std::size_t groups = 2 * type.groups(), size = groups * (hasMinima ? 2 : 1);
      const int exponent = repeat % 3 - 1;
      std::vector<double> l(size * size), y(size);
      for (std::size_t k = 0; k < size; ++k)
        for (std::size_t j = k; j < size; ++j)
          l[j + k * size] = j == k ? 1 + std::abs(normal(random)) : 0.4 * normal(random);
      std::vector<Alphabet> alphabets;
      for (std::size_t g = 0; g < groups; ++g)
        alphabets.push_back(Alphabet::of(options.kind(),
                                         0.01 * (1 + std::abs(normal(random))) * (!hasMinima && g % 3 == 0 ? -1 : 1),
                                         hasMinima ? -0.05 * std::abs(normal(random)) : 0)
                                .scaledBy(exponent));
      std::vector<double> wanted(size);
      for (double& x : wanted) x = 0.1 * normal(random);
      for (std::size_t k = 0; k < size; ++k)
        for (std::size_t j = k; j < size; ++j) y[k] += l[j + k * size] * wanted[j];
      REQUIRE(std::abs(solved(l, y)[0] - wanted[0]) < 1e-9);
      // ‖Lᵀ(x - wanted)‖² of the changes that were made.
      const auto lost = [&](const std::vector<Alphabet>& made) {
        std::vector<double> x(size);
        for (std::size_t g = 0; g < groups; ++g) {
          const Alphabet &before = alphabets[g], &after = made[g];
          const double sign = before.isMirrored() == after.isMirrored() ? 1 : -1;
          const std::size_t at = hasMinima ? 2 * g : g;
          x[at] = sign * after.step() / before.step() - 1 - wanted[at];
          if (hasMinima) x[at + 1] = (after.minimum() - before.minimum()) / before.step() - wanted[at + 1];
        }
        double sum = 0;
        for (std::size_t k = 0; k < size; ++k) {
          double row = 0;
          for (std::size_t j = k; j < size; ++j) row += l[j + k * size] * x[j];
          sum += row * row;
        }
        return sum;
      };
      std::vector<Alphabet> refitted = alphabets, rounded = alphabets;
      FactorRefit(options.kind(), options.factors, options.precision)
          .run(l.data(), y.data(), size, exponent, refitted.data());
      for (std::size_t g = 0; g < groups; ++g) {
        const std::size_t at = hasMinima ? 2 * g : g;
        const double step = rounded[g].step() * (1 + wanted[at]) * (rounded[g].isMirrored() ? -1 : 1);
        rounded[g] =
            Alphabet::of(options.kind(), step,
                         hasMinima ? std::min(0.0, rounded[g].minimum() + wanted[at + 1] * rounded[g].step()) : 0);
      }
      const std::vector<double> weights(groups, 1.0);
      roundToFactors(options.kind(), options.factors, options.precision, weights.data(), groups, exponent,
                     rounded.data());
      ours += lost(refitted);
      plain += lost(rounded);
      for (const auto& made : {refitted, rounded})
        for (std::size_t b = 0; b < 2; ++b) {
          GgmlBlock block{};
          for (std::size_t g = 0; g < type.groups(); ++g) {
            const Alphabet a = made[b * type.groups() + g].scaledBy(-exponent);
            block.scales[g] = static_cast<float>(a.isMirrored() ? -a.step() : a.step());
            block.minima[g] = static_cast<float>(a.minimum());
          }
          std::vector<unsigned char> bytes(type.bytes);
          GgmlBlock back;
          packBlock(type, block, bytes.data());
          unpackBlock(type, bytes.data(), back);
          CHECK(std::equal(block.scales, block.scales + type.groups(), back.scales));
          if (hasMinima) CHECK(std::equal(block.minima, block.minima + type.groups(), back.minima));
        }
    }
  }
  CHECK(ours < 0.8 * plain);
}

TEST_CASE(
    "the search by blocks tells its error, lets none of its types down, and takes weights of 0, of one value and far "
    "apart") {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  for (const GgmlType& type : ggmlTypes()) {
    BlockSearch search(type.alphabet());
    REQUIRE(search.size() == type.weights);
    for (int repeat = 0; repeat < 24; ++repeat) {
      std::vector<float> w(type.weights), importance(type.weights);
      for (float& one : w) one = repeat == 0 ? 0 : repeat == 1 ? 0.3F : repeat == 2 ? -0.3F : 0.02F * normal(random);
      if (repeat == 3) w[5] = 40;
      for (float& one : importance) one = repeat % 4 == 3 ? 0 : std::exp(normal(random));
      GgmlBlock block{};
      const double told =
          search.runOne(w.data(), repeat % 2 ? importance.data() : nullptr, block.codes, block.scales, block.minima);
      std::vector<unsigned char> bytes(type.bytes);
      packBlock(type, block, bytes.data());
      GgmlBlock back;
      std::vector<float> values(type.weights);
      unpackBlock(type, bytes.data(), back);
      blockValues(type, back, values.data());
      double error = 0, signal = 0;
      for (std::size_t i = 0; i < type.weights; ++i) {
        const double counts = repeat % 2 && repeat % 4 != 3 ? importance[i] : 1,
                     rest = static_cast<double>(w[i]) - values[i];
        error += counts * rest * rest;
        signal += counts * w[i] * w[i];
      }
      CHECK(std::abs(error - told) <= 1e-3 * told + 1e-6 * signal);
      const double most = type.levels == 4 ? 0.4 : type.levels == 8 ? 0.25 : 0.16;
      if (repeat != 3) CHECK(error <= most * most * signal);
    }
  }
}
