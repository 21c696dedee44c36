// Spectral decompositions, and how many directions of the data a walk should hold.
#pragma once

#include <cstddef>
#include <vector>

#include "linalg/matrix.h"
#include "parallel/job_control.h"

namespace vertexq {

/** Eigenvalues in falling order; eigenvector k is column k. */
struct Spectrum {
  std::vector<double> values;
  Matrix vectors;
};

/**
 * The spectral decomposition of a symmetric matrix (its upper triangle is read), by the steps of LAPACK's dsyevd. Throws
 * ERR_VERTEXQ_NUMERIC, and Cancelled between its panels.
 */
Spectrum spectrumOf(Matrix symmetric, const JobControl& control = JobControl());

/**
 * The spectrum of R Rᵀ, whose nonzero values are those of the Gram matrix RᵀR: of the smaller side when R has fewer rows
 * than columns.
 */
Spectrum rowSpectrum(const Matrix& r, const JobControl& control = JobControl());

/** UᵣᵀR = Λᵣ^½Vᵣᵀ: the part of R in its `rank` leading directions, rank × cols. `spectrum` is rowSpectrum(r). */
Matrix leadingPart(const Matrix& r, const Spectrum& spectrum, std::size_t rank,
                   const JobControl& control = JobControl());

/**
 * The number of leading directions to hold that has the least predicted error, at most `rank`.
 *
 * A walk that holds r of N directions leaves r entries to be rounded, an error of δ²/12 each: (r/N)·Σλ/12. On the directions
 * it does not hold nothing balances the entries' moves within their cells, of δ²/6 each on average: Σ_{k>r}λ_k/6.
 * With fewer samples than inputs and no decay the least sum is at the rank, the paper's choice; with more samples it is often
 * at far less than N, where the paper's choice would leave nothing to walk.
 */
std::size_t bestRank(const std::vector<double>& eigenvalues, std::size_t rank, std::size_t inFeatures);

}  // namespace vertexq
