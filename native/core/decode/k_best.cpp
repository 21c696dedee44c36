#include "decode/k_best.h"

#include <algorithm>
#include <cmath>

#include "linalg/real_blas.h"

namespace vertexq {

template <typename Real>
KBestRounding<Real>::KBestRounding(std::size_t maxSize, std::size_t maxWidth)
    : maxSize_(maxSize),
      maxWidth_(maxWidth),
      errors_(maxWidth * maxSize),
      codes_(maxWidth * maxSize),
      taken_(maxWidth) {
  answers_.reserve(maxWidth);
  next_.reserve(maxWidth);
  free_.reserve(maxWidth);
}

template <typename Real>
bool KBestRounding<Real>::run(std::size_t size, std::size_t width, const Real* factor, std::size_t stride,
                              const double* targets, const Alphabet* const* alphabets, std::int8_t* codes) {
  start(size, width);
  for (std::size_t p = size; p-- > 0;)
    if (!step(p, factor + p * stride + p, targets[p], *alphabets[p])) return false;
  finish(codes);
  return true;
}

template <typename Real>
void KBestRounding<Real>::start(std::size_t size, std::size_t width) {
  size_ = size;
  width_ = width;
  answers_.assign(1, {0, 0, 0, 0});
}

template <typename Real>
bool KBestRounding<Real>::step(std::size_t entry, const Real* column, double target, const Alphabet& alphabet) {
  const double pivot = static_cast<double>(column[0]) * column[0];
  const double inverse = alphabet.step() > 0 ? 1 / alphabet.step() : 0;
  next_.clear();
  for (const Answer& answer : answers_) {
    const Real sum = linalg::dot(size_ - 1 - entry, column + 1, &errors_[answer.row * maxSize_ + entry + 1]);
    const double centre = target - static_cast<double>(sum / column[0]);
    if (std::isnan(centre)) return false;
    const auto consider = [&](int code) {
      const double level = alphabet.level(code), off = level - centre;
      offer({answer.error + pivot * off * off, answer.row, static_cast<Real>(level - target),
             static_cast<std::int8_t>(code)});
    };
    if (alphabet.table()) {
      const int nearest = alphabet.nearest(centre);
      consider(nearest);
      const int second = alphabet.level(nearest) > centre ? nearest - 1 : nearest + 1;
      if (width_ > 1 && second >= alphabet.minCode() && second <= alphabet.maxCode()) consider(second);
      continue;
    }
    // Not Alphabet::nearest: a tie, or a quotient off by a rounding, is as good either way.
    const double place = centre * inverse + alphabet.zeroPoint();
    const int least = alphabet.minCode();
    const int nearest = least + clampedWhole(place + 0.5 - least, 0, alphabet.maxCode() - least);
    consider(nearest);
    if (width_ == 1) continue;
    const int second = place < nearest ? nearest - 1 : nearest + 1;
    if (second >= least && second <= alphabet.maxCode()) consider(second);
  }
  settle(entry);
  return true;
}

template <typename Real>
void KBestRounding<Real>::finish(std::int8_t* codes) const {
  // Answers are sorted.
  std::copy_n(&codes_[answers_.front().row * maxSize_], size_, codes);
}

/** Adds to next_, which holds the best `width` answers by rising error; of equal ones those offered first. */
template <typename Real>
void KBestRounding<Real>::offer(const Answer& answer) {
  if (next_.size() == width_) {
    if (!(answer.error < next_.back().error)) return;
    next_.pop_back();
  }
  next_.push_back(answer);
  for (std::size_t i = next_.size() - 1; i > 0 && next_[i].error < next_[i - 1].error; --i)
    std::swap(next_[i], next_[i - 1]);
}

/** Gives each answer a row of its own: the parent's to its first child, a copy of it to the second. */
template <typename Real>
void KBestRounding<Real>::settle(std::size_t entry) {
  std::fill_n(taken_.begin(), width_, std::uint8_t{0});
  for (const Answer& answer : next_) taken_[answer.row] = 1;
  free_.clear();
  for (std::size_t row = width_; row-- > 0;)
    if (!taken_[row]) free_.push_back(row);
  std::fill_n(taken_.begin(), width_, std::uint8_t{0});
  const std::size_t behind = entry + 1, count = size_ - behind;
  for (Answer& answer : next_) {
    if (taken_[answer.row]) {
      const std::size_t row = free_.back();
      free_.pop_back();
      std::copy_n(&errors_[answer.row * maxSize_ + behind], count, &errors_[row * maxSize_ + behind]);
      std::copy_n(&codes_[answer.row * maxSize_ + behind], count, &codes_[row * maxSize_ + behind]);
      answer.row = row;
    }
    taken_[answer.row] = 1;
    errors_[answer.row * maxSize_ + entry] = answer.difference;
    codes_[answer.row * maxSize_ + entry] = answer.code;
  }
  std::swap(answers_, next_);
}

template class KBestRounding<float>;
template class KBestRounding<double>;

}  // namespace vertexq
