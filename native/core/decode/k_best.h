// Rounding along a triangular factor with several answers kept in flight.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "alphabet/alphabet.h"

namespace vertexq {

/**
 * The K-best search (or M-algorithm; Anderson & Mohan 1984, Guo & Nilsson 2006) for the least ‖Lᵀ(q - c)‖, L lower triangular,
 * q on alphabets: entry after entry from the last, every answer so far is continued by the two levels around its centre (the end one where it lies beyond), and
 * the K with the least error so far go on. With K = 1 it is Babai's nearest plane.
 *
 * One object serves one thread. Workspace: K·(8r + ...) bytes. K r²/2 multiplications.
 */
template <typename Real>
class KBestRounding {
 public:
  /** For up to `maxSize` entries and `maxWidth` = K answers. */
  KBestRounding(std::size_t maxSize, std::size_t maxWidth);

  std::size_t maxWidth() const { return maxWidth_; }

  /**
   * factor: L, size × size, column-major with distance `stride`. targets: c. alphabets: one an entry. Writes the code of every
   * entry. `width` of at most maxWidth(). Returns false if a centre is NaN: the factor or the targets overflow.
   */
  bool run(std::size_t size, std::size_t width, const Real* factor, std::size_t stride, const double* targets,
           const Alphabet* const* alphabets, std::int8_t* codes);

  /**
   * The same entry by entry, for several searches that share a factor and take turns: start, then step for every entry from the
   * last to the first, then finish. column: of the entry, from the diagonal down. A step returns false as run() does.
   */
  void start(std::size_t size, std::size_t width);
  bool step(std::size_t entry, const Real* column, double target, const Alphabet& alphabet);
  void finish(std::int8_t* codes) const;

 private:
  struct Answer {
    double error;
    std::size_t row;  // of its parent's, then its own entries in errors_ and codes_
    Real difference;  // q - c of the newest entry
    std::int8_t code;
  };

  void offer(const Answer& answer);
  void settle(std::size_t entry);

  std::size_t maxSize_, maxWidth_;
  std::size_t size_ = 0, width_ = 0;  // of the search under way
  std::vector<Answer> answers_, next_;
  std::vector<Real> errors_;         // width × maxSize: q - c
  std::vector<std::int8_t> codes_;   // width × maxSize
  std::vector<std::uint8_t> taken_;  // rows in use
  std::vector<std::size_t> free_;    // rows not in use
};

}  // namespace vertexq
