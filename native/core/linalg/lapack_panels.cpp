#include "linalg/lapack_panels.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>

#include "error.h"
#include "linalg/real_blas.h"

// What LAPACK's drivers are made of, which its C interface leaves out. The lengths of texts come last, as gfortran has them.
extern "C" {
lapack_int ilaenv_(const lapack_int* question, const char* name, const char* options, const lapack_int* n1,
                   const lapack_int* n2, const lapack_int* n3, const lapack_int* n4, std::size_t nameLength,
                   std::size_t optionsLength);
void dlatrd_(const char* uplo, const lapack_int* n, const lapack_int* columns, double* a, const lapack_int* lda,
             double* off, double* scalars, double* w, const lapack_int* ldw, std::size_t);
void dsytd2_(const char* uplo, const lapack_int* n, double* a, const lapack_int* lda, double* diagonal, double* off,
             double* scalars, lapack_int* info, std::size_t);
void dlaed1_(const lapack_int* n, double* values, double* vectors, const lapack_int* ldv, lapack_int* order,
             const double* coupling, const lapack_int* cut, double* work, lapack_int* integers, lapack_int* info);
void dlaqps_(const lapack_int* m, const lapack_int* n, const lapack_int* done, const lapack_int* wanted,
             lapack_int* factored, double* a, const lapack_int* lda, lapack_int* pivots, double* scalars, double* norms,
             double* exactNorms, double* auxiliary, double* f, const lapack_int* ldf);
void dlaqp2_(const lapack_int* m, const lapack_int* n, const lapack_int* done, double* a, const lapack_int* lda,
             lapack_int* pivots, double* scalars, double* norms, double* exactNorms, double* work);
}

namespace vertexq::linalg {

namespace {

lapack_int lapackDim(std::size_t n) { return static_cast<lapack_int>(n); }

/** LAPACK's own tuning. */
enum Tuning : lapack_int { kBlockSize = 1, kCrossover = 3, kLeafSize = 9 };
lapack_int tuning(Tuning what, const std::string& routine, const char* options, std::size_t m, std::size_t n) {
  const lapack_int question = what, n1 = lapackDim(m), n2 = lapackDim(n), none = -1;
  return ilaenv_(&question, routine.c_str(), options, &n1, &n2, &none, &none, routine.size(), 1);
}

/** What is left is done without panels where a panel would be all of it. */
void tridiagonaliseRest(char uplo, std::size_t count, double* a, std::size_t lda, double* diagonal, double* off,
                        double* scalars) {
  const lapack_int n = lapackDim(count), ld = lapackDim(lda);
  lapack_int info = 0;
  dsytd2_(&uplo, &n, a, &ld, diagonal, off, scalars, &info, 1);
}

}  // namespace

Tridiagonal tridiagonalise(char uplo, Matrix& a, const Poll& poll) {
  const std::size_t n = a.rows();
  Tridiagonal t{std::vector<double>(n), std::vector<double>(std::max<std::size_t>(n, 1) - 1),
                std::vector<double>(std::max<std::size_t>(n, 1) - 1)};
  if (n == 0) return t;
  const char options[] = {uplo, '\0'};
  const lapack_int lapackBlock = tuning(kBlockSize, "DSYTRD", options, n, static_cast<std::size_t>(-1)),
                   ld = lapackDim(n);
  const auto block = static_cast<std::size_t>(lapackBlock);
  const std::size_t least =
      block > 1 && block < n
          ? std::max(block,
                     static_cast<std::size_t>(tuning(kCrossover, "DSYTRD", options, n, static_cast<std::size_t>(-1))))
          : n;
  Matrix w(n, block);
  const auto panel = [&](std::size_t order, double* corner, double* off, double* scalars) {
    poll();
    const lapack_int size = lapackDim(order);
    dlatrd_(&uplo, &size, &lapackBlock, corner, &ld, off, scalars, w.data(), &ld, 1);
  };
  if (uplo == 'L') {
    std::size_t i = 0;
    for (; i + least < n; i += block) {
      panel(n - i, &a(i, i), &t.off[i], &t.scalars[i]);
      cblas_dsyr2k(CblasColMajor, CblasLower, CblasNoTrans, dim(n - i - block), dim(block), -1, &a(i + block, i),
                   dim(n), &w(block, 0), dim(n), 1, &a(i + block, i + block), dim(n));
      for (std::size_t j = i; j < i + block; ++j) {
        a(j + 1, j) = t.off[j];
        t.diagonal[j] = a(j, j);
      }
    }
    poll();
    tridiagonaliseRest(uplo, n - i, &a(i, i), n, &t.diagonal[i], t.off.data() + i, t.scalars.data() + i);
    return t;
  }
  const std::size_t rest = least < n ? n - (n - least + block - 1) / block * block : n;
  for (std::size_t end = n; end > rest; end -= block) {
    const std::size_t i = end - block;
    panel(end, a.data(), t.off.data(), t.scalars.data());
    cblas_dsyr2k(CblasColMajor, CblasUpper, CblasNoTrans, dim(i), dim(block), -1, a.column(i), dim(n), w.data(), dim(n),
                 1, a.data(), dim(n));
    for (std::size_t j = i; j < end; ++j) {
      a(j - 1, j) = t.off[j - 1];
      t.diagonal[j] = a(j, j);
    }
  }
  poll();
  tridiagonaliseRest(uplo, rest, a.data(), n, t.diagonal.data(), t.off.data(), t.scalars.data());
  return t;
}

namespace {

/** Divide and conquer (Cuppen 1981; Gu & Eisenstat 1995) on one block of T, whose merges are LAPACK's. */
class Conquest {
 public:
  Conquest(double* diagonal, double* off, double* vectors, std::size_t size, std::size_t ldv, const Poll& poll)
      : diagonal_(diagonal),
        off_(off),
        vectors_(vectors),
        ldv_(ldv),
        poll_(poll),
        order_(size),
        integers_(4 * size),
        work_(4 * size + size * size) {}

  int run(std::size_t leaf) {
    int levels = 0;
    for (std::size_t largest = order_.size(); largest > leaf; largest = (largest + 1) / 2) ++levels;
    if (const int info = solve(0, order_.size(), levels)) return info;
    sort();
    return 0;
  }

 private:
  double* corner(std::size_t first) { return vectors_ + first + first * ldv_; }

  /** The eigenvectors of a block of T, whose entries lie between `first` and `first` + `size`. */
  int solve(std::size_t first, std::size_t size, int levels) {
    const lapack_int n = lapackDim(size), ld = lapackDim(ldv_);
    lapack_int info = 0;
    if (levels == 0) {
      std::iota(&order_[first], &order_[first] + size, 1);
      return LAPACKE_dsteqr_work(LAPACK_COL_MAJOR, 'I', n, diagonal_ + first, off_ + first, corner(first), ld,
                                 work_.data());
    }
    const std::size_t cut = size / 2, second = first + cut;
    const double coupling = off_[second - 1];
    diagonal_[second - 1] -= std::abs(coupling);
    diagonal_[second] -= std::abs(coupling);
    if (const int failed = solve(first, cut, levels - 1)) return failed;
    if (const int failed = solve(second, size - cut, levels - 1)) return failed;
    poll_();
    const lapack_int half = lapackDim(cut);
    dlaed1_(&n, diagonal_ + first, corner(first), &ld, &order_[first], &coupling, &half, work_.data(), integers_.data(),
            &info);
    return info;
  }

  /** Merges leave values and vectors where they are and an order beside them. */
  void sort() {
    const std::size_t n = order_.size();
    poll_();
    std::vector<double> values(diagonal_, diagonal_ + n);
    for (std::size_t k = 0; k < n; ++k) {
      const auto from = static_cast<std::size_t>(order_[k] - 1);
      diagonal_[k] = values[from];
      std::copy_n(vectors_ + from * ldv_, n, &work_[k * n]);
    }
    for (std::size_t k = 0; k < n; ++k) std::copy_n(&work_[k * n], n, vectors_ + k * ldv_);
  }

  double* diagonal_;
  double* off_;
  double* vectors_;
  std::size_t ldv_;
  const Poll& poll_;
  std::vector<lapack_int> order_, integers_;
  std::vector<double> work_;
};

double largestOf(const double* values, std::size_t count) {
  double largest = 0;
  for (std::size_t i = 0; i < count; ++i) largest = std::max(largest, std::abs(values[i]));
  return largest;
}

/** x ← x·to/from as dlascl does it, where neither overflows. */
void rescale(double* values, std::size_t count, double from, double to) {
  if (count > 0)
    LAPACKE_dlascl_work(LAPACK_COL_MAJOR, 'G', 0, 0, from, to, lapackDim(count), 1, values, lapackDim(count));
}

}  // namespace

int tridiagonalVectors(std::vector<double>& diagonal, std::vector<double>& off, Matrix& vectors, const Poll& poll) {
  const std::size_t n = diagonal.size();
  vectors = Matrix(n, n);
  const auto leaf = static_cast<std::size_t>(tuning(kLeafSize, "DSTEDC", " ", 0, 0));
  if (n <= leaf) {
    std::vector<double> work(2 * std::max<std::size_t>(n, 1));
    return LAPACKE_dsteqr_work(LAPACK_COL_MAJOR, 'I', lapackDim(n), diagonal.data(), off.data(), vectors.data(),
                               lapackDim(std::max<std::size_t>(n, 1)), work.data());
  }
  for (std::size_t i = 0; i < n; ++i) vectors(i, i) = 1;
  // T falls into blocks where an entry beside the diagonal is nothing beside its neighbours on it.
  constexpr double kUnit = std::numeric_limits<double>::epsilon() / 2;
  for (std::size_t start = 0, end; start < n; start = end) {
    end = start + 1;
    while (end < n &&
           std::abs(off[end - 1]) > kUnit * std::sqrt(std::abs(diagonal[end - 1])) * std::sqrt(std::abs(diagonal[end])))
      ++end;
    const std::size_t size = end - start;
    if (size == 1) continue;
    double *d = &diagonal[start], *e = &off[start];
    if (size <= leaf) {
      std::vector<double> work(2 * size);
      if (const int info = LAPACKE_dsteqr_work(LAPACK_COL_MAJOR, 'I', lapackDim(size), d, e, &vectors(start, start),
                                               lapackDim(n), work.data()))
        return info;
      continue;
    }
    const double norm = std::max(largestOf(d, size), largestOf(e, size - 1));
    rescale(d, size, norm, 1);
    rescale(e, size - 1, norm, 1);
    if (const int info = Conquest(d, e, &vectors(start, start), size, n, poll).run(leaf)) return info;
    rescale(d, size, 1, norm);
  }
  // With one block all is in order already.
  for (std::size_t i = 0; i + 1 < n; ++i) {
    const auto least = static_cast<std::size_t>(
        std::min_element(diagonal.begin() + static_cast<std::ptrdiff_t>(i), diagonal.end()) - diagonal.begin());
    if (least == i) continue;
    std::swap(diagonal[least], diagonal[i]);
    std::swap_ranges(vectors.column(least), vectors.column(least) + n, vectors.column(i));
  }
  return 0;
}

void applyUpperReflectors(const Matrix& a, const Tridiagonal& t, Matrix& v, const Poll& poll) {
  const std::size_t n = a.rows();
  if (n < 2) return;
  // Of reflectors; more than LAPACK applies together, in the order in which it does.
  constexpr std::size_t kAtOnce = 256;
  std::vector<double> work;
  for (std::size_t first = 0, end; first < n - 1; first = end) {
    end = n - 1 - first < 2 * kAtOnce ? n - 1 : first + kAtOnce;
    poll();
    const auto apply = [&](double* space, lapack_int size) {
      return LAPACKE_dormql_work(LAPACK_COL_MAJOR, 'L', 'N', lapackDim(end), lapackDim(v.cols()),
                                 lapackDim(end - first), a.column(first + 1), lapackDim(n), &t.scalars[first], v.data(),
                                 lapackDim(n), space, size);
    };
    double wanted = 0;
    apply(&wanted, -1);
    // No more than dsyevd leaves it, by which small matrices go in narrower blocks.
    work.resize(std::min(static_cast<std::size_t>(wanted), n * n + 4 * n + 1));
    if (const lapack_int info = apply(work.data(), lapackDim(work.size())))
      throw Error("ERR_VERTEXQ_NUMERIC", "LAPACK dormql failed with info " + std::to_string(info));
  }
}

PivotedQr pivotedQr(Matrix& a, const Poll& poll) {
  const std::size_t m = a.rows(), n = a.cols(), diagonal = std::min(m, n);
  PivotedQr qr{std::vector<int>(n), std::vector<double>(diagonal)};
  if (diagonal == 0) {
    std::iota(qr.pivots.begin(), qr.pivots.end(), 0);
    return qr;
  }
  const lapack_int rows = lapackDim(m);
  std::vector<lapack_int> pivots(n);
  std::iota(pivots.begin(), pivots.end(), 1);
  std::vector<double> norms(n), exact;
  for (std::size_t j = 0; j < n; ++j) norms[j] = cblas_dnrm2(dim(m), a.column(j), 1);
  exact = norms;
  const auto block = static_cast<std::size_t>(tuning(kBlockSize, "DGEQRF", " ", m, n));
  const auto rest = static_cast<std::size_t>(std::max<lapack_int>(0, tuning(kCrossover, "DGEQRF", " ", m, n)));
  std::vector<double> auxiliary(std::max(block, n)), f(n * block);
  std::size_t j = 0;
  if (block > 1 && block < diagonal && rest < diagonal)
    while (j < diagonal - rest) {
      poll();
      const lapack_int columns = lapackDim(n - j), done = lapackDim(j),
                       wanted = lapackDim(std::min(block, diagonal - rest - j));
      lapack_int factored = 0;
      dlaqps_(&rows, &columns, &done, &wanted, &factored, a.column(j), &rows, &pivots[j], &qr.scalars[j], &norms[j],
              &exact[j], auxiliary.data(), f.data(), &columns);
      j += static_cast<std::size_t>(factored);
    }
  if (j < diagonal) {
    poll();
    const lapack_int columns = lapackDim(n - j), done = lapackDim(j);
    dlaqp2_(&rows, &columns, &done, a.column(j), &rows, &pivots[j], &qr.scalars[j], &norms[j], &exact[j],
            auxiliary.data());
  }
  std::transform(pivots.begin(), pivots.end(), qr.pivots.begin(), [](lapack_int pivot) { return pivot - 1; });
  return qr;
}

void foldIntoTriangle(Matrix& triangle, Matrix& rows, std::size_t block, const Poll& poll) {
  const std::size_t n = triangle.cols(), m = rows.rows();
  block = std::min(block, n);
  const lapack_int ld = lapackDim(n), height = lapackDim(m);
  std::vector<double> reflectors(block * block), work(block * n);
  for (std::size_t i = 0; i < n; i += block) {
    poll();
    const std::size_t width = std::min(block, n - i), next = i + width;
    lapack_int info = LAPACKE_dtpqrt2_work(LAPACK_COL_MAJOR, height, lapackDim(width), 0, &triangle(i, i), ld,
                                           rows.column(i), height, reflectors.data(), lapackDim(block));
    if (info == 0 && next < n)
      info = LAPACKE_dtprfb_work(LAPACK_COL_MAJOR, 'L', 'T', 'F', 'C', height, lapackDim(n - next), lapackDim(width), 0,
                                 rows.column(i), height, reflectors.data(), lapackDim(block), &triangle(i, next), ld,
                                 rows.column(next), height, work.data(), lapackDim(width));
    if (info != 0) throw Error("ERR_VERTEXQ_NUMERIC", "LAPACK dtpqrt2 failed with info " + std::to_string(info));
  }
}

}  // namespace vertexq::linalg
