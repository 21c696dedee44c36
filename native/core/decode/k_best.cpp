#include "decode/k_best.h"

#include <algorithm>
#include <cmath>

#include "linalg/real_blas.h"

namespace vertexq {

template <typename Real>
KBestRounding<Real>::KBestRounding(std::size_t size, std::size_t width)
    : size_(size), width_(width), errors_(width * size), codes_(width * size), taken_(width) {
  answers_.reserve(2 * width);
  next_.reserve(2 * width);
  free_.reserve(width);
}

template <typename Real>
bool KBestRounding<Real>::run(std::size_t size, std::size_t width, const Real* factor, std::size_t stride,
                              const double* targets, const Alphabet* const* alphabets, std::int8_t* codes) {
  answers_.assign(1, {0, 0, 0, 0});
  for (std::size_t p = size; p-- > 0;) {
    const Real* column = factor + p * stride;
    const double pivot = static_cast<double>(column[p]) * column[p];
    const Alphabet& alphabet = *alphabets[p];
    next_.clear();
    for (const Answer& answer : answers_) {
      const Real sum = linalg::dot(size - 1 - p, column + p + 1, &errors_[answer.row * size_ + p + 1]);
      const double centre = targets[p] - static_cast<double>(sum / column[p]);
      if (std::isnan(centre)) return false;
      const auto offer = [&](int code) {
        const double level = alphabet.level(code), off = level - centre;
        next_.push_back({answer.error + pivot * off * off, answer.row, static_cast<Real>(level - targets[p]),
                         static_cast<std::int8_t>(code)});
      };
      const int nearest = alphabet.nearest(centre);
      offer(nearest);
      if (width == 1) continue;
      const int second = alphabet.level(nearest) > centre ? nearest - 1 : nearest + 1;
      if (second >= alphabet.minCode() && second <= alphabet.maxCode()) offer(second);
    }
    keepBest(width);
    settle(p, size, width);
  }
  const auto best = std::min_element(answers_.begin(), answers_.end(),
                                     [](const Answer& a, const Answer& b) { return a.error < b.error; });
  std::copy_n(&codes_[best->row * size_], size, codes);
  return true;
}

/** Leaves the best of next_, ties by the order in which they were offered. */
template <typename Real>
void KBestRounding<Real>::keepBest(std::size_t width) {
  if (next_.size() <= width) return;
  std::stable_sort(next_.begin(), next_.end(), [](const Answer& a, const Answer& b) { return a.error < b.error; });
  next_.resize(width);
}

/** Gives each answer a row of its own: the parent's to its first child, a copy of it to the second. */
template <typename Real>
void KBestRounding<Real>::settle(std::size_t entry, std::size_t size, std::size_t width) {
  std::fill_n(taken_.begin(), width, std::uint8_t{0});
  for (const Answer& answer : next_) taken_[answer.row] = 1;
  free_.clear();
  for (std::size_t row = width; row-- > 0;)
    if (!taken_[row]) free_.push_back(row);
  std::fill_n(taken_.begin(), width, std::uint8_t{0});
  const std::size_t behind = entry + 1, count = size - behind;
  for (Answer& answer : next_) {
    if (taken_[answer.row]) {
      const std::size_t row = free_.back();
      free_.pop_back();
      std::copy_n(&errors_[answer.row * size_ + behind], count, &errors_[row * size_ + behind]);
      std::copy_n(&codes_[answer.row * size_ + behind], count, &codes_[row * size_ + behind]);
      answer.row = row;
    }
    taken_[answer.row] = 1;
    errors_[answer.row * size_ + entry] = answer.difference;
    codes_[answer.row * size_ + entry] = answer.code;
  }
  std::swap(answers_, next_);
}

template class KBestRounding<float>;
template class KBestRounding<double>;

}  // namespace vertexq
