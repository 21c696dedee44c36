// The leading eigen-directions of a Gram matrix.
#pragma once

#include <cstddef>
#include <vector>

#include "linalg/lapack_panels.h"
#include "linalg/matrix.h"
#include "parallel/job_control.h"

namespace vertexq {

/**
 * The eigenvalues of a symmetric positive semidefinite H (N × N), and as many of its leading eigenvectors as are asked for
 * once the eigenvalues are known (spectrum.h: bestRank). H is reduced to tridiagonal form once, for both.
 *
 * H is scaled by a power of two first, so that no entry's size is a problem. Memory: N² doubles, and while leadingPart() runs
 * about 2N² more. The same H gives the same bytes.
 */
class Eigenspace {
 public:
  /**
   * Throws ERR_VERTEXQ_GRAM where H is not square, not finite, not symmetric or not positive semidefinite, with the slack of
   * givenGram (given_gram.h), or its eigenvalues overflow float64; ERR_VERTEXQ_NUMERIC where LAPACK fails; Cancelled between two panels.
   */
  explicit Eigenspace(Matrix h, const JobControl& control = JobControl());

  /** All N eigenvalues in falling order, those below the tolerance of rank() as computed but never below zero. */
  const std::vector<double>& values() const { return values_; }

  /** How many eigenvalues count: those above 8·N·ε times the largest. */
  std::size_t rank() const { return rank_; }

  /**
   * A = Λᵣ^½Vᵣᵀ of the min(rank, rank()) leading directions, so AᵀA is H without the rest. On at most `threads` threads;
   * the result does not depend on their number.
   */
  Matrix leadingPart(std::size_t rank, unsigned threads = 1, const JobControl& control = JobControl()) const;

 private:
  Matrix leadingTridiagonalVectors(std::size_t rank, const JobControl& control) const;
  void reflect(double* vectors, std::size_t count) const;

  std::size_t order_ = 0;
  int exponent_ = 0;  // H is 2^exponent_ times what was reduced
  Matrix reflectors_;
  linalg::Tridiagonal tridiagonal_;
  std::vector<double> values_;
  std::vector<double> scaledValues_;  // falling
  std::size_t rank_ = 0;
};

struct LeadingEigenspace {
  Matrix part;                      // Λᵣ^½Vᵣᵀ, r × N
  std::vector<double> eigenvalues;  // all N, falling
};

/** Both at once, where the rank is known beforehand. Throws as Eigenspace. */
LeadingEigenspace leadingEigenspace(Matrix h, std::size_t rank, unsigned threads = 1,
                                    const JobControl& control = JobControl());

}  // namespace vertexq
