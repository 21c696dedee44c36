#include "reference/vertex_walk.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "error.h"
#include "linalg/openblas.h"
#include "walk/kernels.h"

namespace vertexq::reference {

namespace {

using Tolerances = WalkTolerances<double>;

/** The inverse is probed after so many exchanges. */
constexpr int kProbeEvery = 32;
/** Refinements at the end that bring T ŵ back to T w (one is nearly always enough), and the errors where they stop. */
constexpr int kRestorations = 6;
constexpr double kRounding = 1e-15;
constexpr double kAcceptable = 1e-12;

}  // namespace

VertexWalk::VertexWalk(const Tableau& tableau)
    : tableau_(tableau),
      basis_(tableau.rank()),
      entered_(tableau.rank()),
      inverse_(tableau.rank(), tableau.rank()),
      z_(tableau.rank()),
      row_(tableau.rank()),
      probe_(tableau.rank()) {}

void VertexWalk::run(double* w, const double* low, const double* high, const JobControl& control) {
  const std::size_t r = tableau_.rank();
  const auto rank = static_cast<int>(r);
  const std::vector<double> original(w, w + tableau_.size());
  std::copy_n(tableau_.columns.begin(), r, basis_.begin());
  std::fill(entered_.begin(), entered_.end(), -1);
  inverseIsIdentity_ = true;
  int exchanges = 0;

  for (std::size_t entering = 0; entering < tableau_.entering(); ++entering) {
    control.throwIfCancelled();
    const int column = tableau_.columns[r + entering];
    if (w[column] == low[column] || w[column] == high[column]) continue;
    const double* t = tableau_.t.column(entering);
    if (inverseIsIdentity_)
      std::copy_n(t, r, z_.begin());
    else
      cblas_dgemv(CblasColMajor, CblasNoTrans, rank, rank, 1.0, inverse_.data(), rank, t, 1, 0.0, z_.data(), 1);

    const Step up = ratioTest(1, w, low, high, column);
    const Step down = ratioTest(-1, w, low, high, column);
    const bool goDown = preferred(down, up);
    const Step& step = goDown ? down : up;
    take(step, goDown ? -1 : 1, w, low, high, column);
    if (step.place < 0) continue;
    exchange(step.place, entering);
    if (++exchanges % kProbeEvery == 0 && inverseHasDrifted()) refactor();
  }
  for (std::size_t i = 0; i < tableau_.size(); ++i) w[i] = std::clamp(w[i], low[i], high[i]);
  restore(w, original.data(), low, high);
}

VertexWalk::Step VertexWalk::ratioTest(double sign, const double* w, const double* low, const double* high,
                                       int column) const {
  // Distance of a basic entry to the bound it moves towards; rounding may have left it beyond.
  const auto slack = [&](std::size_t k) {
    const int i = basis_[k];
    return sign * z_[k] > 0 ? w[i] - low[i] : high[i] - w[i];
  };
  const double own = sign > 0 ? high[column] - w[column] : w[column] - low[column];

  double limit = std::numeric_limits<double>::infinity();
  for (std::size_t k = 0; k < z_.size(); ++k) {
    const double size = std::abs(z_[k]);
    if (size <= Tolerances::pivot) continue;
    const int i = basis_[k];
    limit = std::min(limit, std::max(slack(k) + Tolerances::feasibility * (high[i] - low[i]), 0.0) / size);
  }
  if (own <= limit) return {own, own, 0, -1};

  Step step{limit, 0, 0, -1};
  for (std::size_t k = 0; k < z_.size(); ++k) {
    const double size = std::abs(z_[k]);
    if (size <= Tolerances::pivot || size <= step.pivot) continue;
    const double length = std::max(slack(k), 0.0) / size;
    if (length <= limit) step = {limit, length, size, static_cast<int>(k)};
  }
  return step;
}

/** Whether to walk a rather than b: a pivot that keeps the inverse sound first, then the way that ends sooner. */
bool VertexWalk::preferred(const Step& a, const Step& b) {
  const bool aSafe = a.place < 0 || a.pivot > Tolerances::safePivot;
  const bool bSafe = b.place < 0 || b.pivot > Tolerances::safePivot;
  return aSafe == bSafe ? a.reach < b.reach : aSafe;
}

void VertexWalk::take(const Step& step, double sign, double* w, const double* low, const double* high, int column) {
  const double s = sign * step.length;
  for (std::size_t k = 0; k < z_.size(); ++k) w[basis_[k]] -= s * z_[k];
  if (step.place < 0) {
    w[column] = sign > 0 ? high[column] : low[column];
    return;
  }
  w[column] += s;
  const auto place = static_cast<std::size_t>(step.place);
  const int leaving = basis_[place];
  w[leaving] = sign * z_[place] > 0 ? low[leaving] : high[leaving];
}

void VertexWalk::exchange(int place, std::size_t entering) {
  const auto rank = static_cast<int>(tableau_.rank());
  if (inverseIsIdentity_) {
    std::fill_n(inverse_.data(), tableau_.rank() * tableau_.rank(), 0.0);
    for (std::size_t k = 0; k < tableau_.rank(); ++k) inverse_(k, k) = 1;
    inverseIsIdentity_ = false;
  }
  const auto k = static_cast<std::size_t>(place);
  cblas_dcopy(rank, inverse_.data() + k, rank, row_.data(), 1);
  const double pivot = z_[k];
  z_[k] -= 1;
  cblas_dger(CblasColMajor, rank, rank, -1.0 / pivot, z_.data(), 1, row_.data(), 1, inverse_.data(), rank);
  basis_[k] = tableau_.columns[tableau_.rank() + entering];
  entered_[k] = static_cast<std::ptrdiff_t>(entering);
}

bool VertexWalk::inverseHasDrifted() {
  const std::size_t r = tableau_.rank();
  const auto rank = static_cast<int>(r);
  // u = (1, -1, 1, ...): B u, then B⁻¹(B u), which should be u again.
  std::fill(probe_.begin(), probe_.end(), 0.0);
  for (std::size_t k = 0; k < r; ++k) {
    const double sign = k % 2 == 0 ? 1 : -1;
    if (entered_[k] < 0)
      probe_[k] += sign;
    else
      cblas_daxpy(rank, sign, tableau_.t.column(static_cast<std::size_t>(entered_[k])), 1, probe_.data(), 1);
  }
  cblas_dgemv(CblasColMajor, CblasNoTrans, rank, rank, 1.0, inverse_.data(), rank, probe_.data(), 1, 0.0, row_.data(),
              1);
  for (std::size_t k = 0; k < r; ++k)
    if (!(std::abs(row_[k] - (k % 2 == 0 ? 1.0 : -1.0)) <= Tolerances::drift)) return true;
  return false;
}

Matrix VertexWalk::basisColumns() const {
  Matrix b(tableau_.rank(), tableau_.rank());
  for (std::size_t k = 0; k < tableau_.rank(); ++k) {
    if (entered_[k] < 0)
      b(k, k) = 1;
    else
      std::copy_n(tableau_.t.column(static_cast<std::size_t>(entered_[k])), tableau_.rank(), b.column(k));
  }
  return b;
}

void VertexWalk::refactor() {
  const auto rank = static_cast<lapack_int>(tableau_.rank());
  inverse_ = basisColumns();
  std::vector<lapack_int> swaps(tableau_.rank());
  lapack_int info = LAPACKE_dgetrf(LAPACK_COL_MAJOR, rank, rank, inverse_.data(), rank, swaps.data());
  if (info == 0) info = LAPACKE_dgetri(LAPACK_COL_MAJOR, rank, inverse_.data(), rank, swaps.data());
  if (info != 0)
    throw Error("ERR_VERTEXQ_NUMERIC",
                "the basis of a walk became singular (LAPACK info " + std::to_string(info) + ")");
}

/**
 * ŵ_F += B⁻¹ T(w - ŵ): iterative refinement, until it gains no more, then into the box again, which d hardly leaves. If that
 * does not bring the error down to rounding, the inverse was at fault and is computed afresh.
 */
void VertexWalk::restore(double* w, const double* original, const double* low, const double* high) {
  const std::size_t r = tableau_.rank();
  const auto rank = static_cast<int>(r);
  if (r == 0 || inverseIsIdentity_) return;
  std::vector<double> moved(tableau_.entering());
  double previous = std::numeric_limits<double>::infinity();
  for (int attempt = 0; attempt < kRestorations; ++attempt) {
    double scale = 0;
    const auto move = [&](std::size_t k) {
      const auto i = static_cast<std::size_t>(tableau_.columns[k]);
      const double change = original[i] - w[i];
      scale = std::max(scale, std::abs(change));
      return change;
    };
    for (std::size_t k = 0; k < r; ++k) probe_[k] = move(k);
    for (std::size_t k = 0; k < moved.size(); ++k) moved[k] = move(r + k);
    if (!moved.empty())
      cblas_dgemv(CblasColMajor, CblasNoTrans, rank, static_cast<int>(moved.size()), 1.0, tableau_.t.data(), rank,
                  moved.data(), 1, 1.0, probe_.data(), 1);
    const double error = std::abs(probe_[cblas_idamax(rank, probe_.data(), 1)]);
    if (error <= kRounding * scale) return;
    if (error > 0.5 * previous) {
      if (error <= kAcceptable * scale) return;
      refactor();
    }
    previous = error;
    cblas_dgemv(CblasColMajor, CblasNoTrans, rank, rank, 1.0, inverse_.data(), rank, probe_.data(), 1, 0.0, z_.data(),
                1);
    for (std::size_t k = 0; k < r; ++k) {
      const auto i = static_cast<std::size_t>(basis_[k]);
      w[i] = std::clamp(w[i] + z_[k], low[i], high[i]);
    }
  }
}

}  // namespace vertexq::reference
