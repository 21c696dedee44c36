// Gram matrices against plain sums, and that only the rows and their order matter.
#include "calibration/gram.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "error.h"
#include "linalg/blas.h"
#include "test_data.h"

using namespace vertexq;
using namespace vertexq::testing;

namespace {

constexpr std::size_t kSlice = GramAccumulator::kSliceRows;

/** Row-major rows of data of a kind, with float32 values. */
std::vector<float> rowsOf(const std::string& kind, std::mt19937_64& random, std::size_t m, std::size_t n) {
  const Matrix x = data(kind, random, m, n);
  std::vector<float> rows(m * n);
  for (std::size_t i = 0; i < m; ++i)
    for (std::size_t j = 0; j < n; ++j) rows[i * n + j] = static_cast<float>(x(i, j));
  return rows;
}

/** Rows, column after column. */
template <typename Real>
std::vector<Real> columnsOf(const std::vector<Real>& rows, std::size_t n) {
  const std::size_t m = rows.size() / n;
  std::vector<Real> columns(rows.size());
  for (std::size_t j = 0; j < n; ++j)
    for (std::size_t i = 0; i < m; ++i) columns[j * m + i] = rows[i * n + j];
  return columns;
}

/** Σ x̃_i·x_j, in long double. */
std::vector<long double> reference(const std::vector<float>& seen, const std::vector<float>& meant, std::size_t n) {
  const std::size_t m = seen.size() / n;
  const bool symmetric = &seen == &meant;
  const std::vector<float> left = columnsOf(seen, n), right = symmetric ? left : columnsOf(meant, n);
  std::vector<long double> sums(n * n);
  for (std::size_t j = 0; j < n; ++j)
    for (std::size_t i = 0; i < n; ++i) {
      if (symmetric && i < j) {
        sums[i + j * n] = sums[j + i * n];
        continue;
      }
      const float *a = &left[i * m], *b = &right[j * m];
      long double sum = 0;
      for (std::size_t row = 0; row < m; ++row) sum += static_cast<long double>(a[row]) * b[row];
      sums[i + j * n] = sum;
    }
  return sums;
}

/** The largest |a_ij - b_ij| / (‖x̃_i‖·‖x_j‖); infinite where a number is not finite or should be zero and is not. */
double distance(const Matrix& a, const std::vector<long double>& b, const std::vector<long double>& seenNorms,
                const std::vector<long double>& meantNorms) {
  const std::size_t n = a.rows();
  long double worst = 0;
  for (std::size_t j = 0; j < n; ++j)
    for (std::size_t i = 0; i < n; ++i) {
      const long double error = std::abs(static_cast<long double>(a(i, j)) - b[i + j * n]);
      const long double scale = std::sqrt(seenNorms[i * (n + 1)]) * std::sqrt(meantNorms[j * (n + 1)]);
      if (!std::isfinite(a(i, j)) || (scale == 0 && error != 0)) return std::numeric_limits<double>::infinity();
      if (scale > 0) worst = std::max(worst, error / scale);
    }
  return static_cast<double>(worst);
}

/** Rounding of float64 sums; twice that of the reference too, where long double is no wider (valgrind, MSVC). */
constexpr double kExact = 4e-14;

/** Pairs of rows and what their sums should be. */
struct Pairs {
  std::size_t n;
  std::vector<float> seen, meant;
  std::vector<long double> seenSquares, meantSquares, products;

  Pairs(std::vector<float> seenRows, std::vector<float> meantRows, std::size_t inFeatures)
      : n(inFeatures),
        seen(std::move(seenRows)),
        meant(std::move(meantRows)),
        seenSquares(reference(seen, seen, n)),
        meantSquares(reference(meant, meant, n)),
        products(reference(seen, meant, n)) {}

  /** X̃ and X change places. */
  Pairs swapped() const {
    Pairs other = *this;
    std::swap(other.seen, other.meant);
    std::swap(other.seenSquares, other.meantSquares);
    for (std::size_t j = 0; j < n; ++j)
      for (std::size_t i = 0; i < n; ++i) other.products[i + j * n] = products[j + i * n];
    return other;
  }

  /** Added as rows of Real. */
  template <typename Real = float>
  void check(GramPrecision precision, double tolerance) const {
    const std::vector<Real> a(seen.begin(), seen.end()), b(meant.begin(), meant.end());
    GramAccumulator alone(n, precision), paired(n, precision, true);
    JobControl control;
    const std::size_t count = seen.size() / n;
    alone.add(a.data(), count, 1, control);
    paired.add(a.data(), b.data(), count, 2, control);
    CHECK((alone.samples() == count && paired.samples() == count));
    CHECK((control.done() == 2 * count && control.total() == 2 * count));
    const Matrix h = alone.gram(), again = paired.gram(2), g = paired.crossGram();
    for (std::size_t j = 0; j < n; ++j)
      for (std::size_t i = 0; i < j; ++i) CHECK(h(i, j) == h(j, i));
    CHECK_LE(distance(h, seenSquares, seenSquares, seenSquares), tolerance);
    CHECK_LE(distance(again, seenSquares, seenSquares, seenSquares), tolerance);
    CHECK_LE(distance(g, products, seenSquares, meantSquares), tolerance);
  }
};

/** Rounding of float32 products. */
constexpr double kFast = 2e-6;

void sums() {
  std::mt19937_64 random(41);
  const auto check = [&](const std::string& kind, std::size_t n, std::size_t m) {
    const Pairs pairs(rowsOf(kind, random, m, n), rowsOf(kind, random, m, n), n);
    pairs.check(GramPrecision::Fast, kFast);
    pairs.check(GramPrecision::Exact, kExact);
    pairs.check<double>(GramPrecision::Fast, kExact);
  };
  // Every kind of data in a slice and a few waiting rows; every number of rows about a slice, of kinds by turns.
  for (const std::string& kind : kinds())
    for (const std::size_t n : {1u, 31u}) check(kind, n, kSlice + 9);
  std::size_t turn = 0;
  for (const std::size_t n : {1u, 2u, 43u})
    for (const std::size_t m : {std::size_t{1}, std::size_t{40}, kSlice - 1, kSlice, kSlice + 1, 2 * kSlice + 9})
      check(kinds()[turn++ % kinds().size()], n, m);
  // Several tiles, the last ones cut short.
  for (const std::size_t n : {128u, 257u, 531u}) {
    const Pairs pairs(rowsOf("gaussian", random, kSlice + 9, n), rowsOf("ternary", random, kSlice + 9, n), n);
    pairs.check(GramPrecision::Fast, kFast);
    pairs.check(GramPrecision::Exact, kExact);
  }
}

/** Magnitudes whose float32 products overflow or underflow; some in one slice, one column or one row only. */
void extremeMagnitudes() {
  std::mt19937_64 random(42);
  const std::size_t n = 11, m = 2 * kSlice + 77;
  for (const float scale : {1e30f, 1e20f, 1e18f, 1e-13f, 1e-16f, 1e-21f, 1e-30f, 1e-42f, 3e38f}) {
    const std::vector<float> usual = rowsOf("gaussian", random, m, n);
    const auto scaled = [&](auto chosen) {
      std::vector<float> rows = usual;
      for (std::size_t i = 0; i < rows.size(); ++i)
        if (chosen(i / n, i % n)) rows[i] = std::clamp(rows[i], -1.0f, 1.0f) * scale;
      return rows;
    };
    for (const std::vector<float>&rows :
         {scaled([](std::size_t, std::size_t) { return true; }),
          scaled([](std::size_t, std::size_t j) { return j == 4; }),
          scaled([](std::size_t i, std::size_t) { return i == kSlice; }),
          scaled([&](std::size_t i, std::size_t) { return i + 1 == m; }),
          scaled([](std::size_t i, std::size_t j) { return i >= kSlice && j % 2 == 0; })}) {
      const Pairs pairs(rows, usual, n);
      pairs.check(GramPrecision::Fast, kFast);
      pairs.swapped().check(GramPrecision::Fast, kFast);
      pairs.check(GramPrecision::Exact, kExact);
    }
  }
  GramAccumulator large(1, GramPrecision::Fast);
  JobControl control;
  const double huge = 1e200;
  large.add(&huge, 1, 1, control);
  CHECK_THROWS_AS([&] { large.gram(); }(), Error);
}

/** H and G after rows were added in batches of the sizes that `next` gives, each as float32 or as float64. */
template <typename Next, typename AsDouble>
std::vector<double> inBatches(const std::vector<float>& seen, const std::vector<float>& meant, std::size_t n,
                              GramPrecision precision, unsigned threads, Next next, AsDouble asDouble) {
  GramAccumulator gram(n, precision, true);
  JobControl control;
  for (std::size_t first = 0, count = 0; first < seen.size() / n; first += count) {
    const bool wide = asDouble(first);
    count = std::min<std::size_t>(next(), seen.size() / n - first);
    for (std::size_t i = 0; i < count; ++i)
      if (asDouble(first + i) != wide) count = i;
    const auto from = static_cast<std::ptrdiff_t>(first * n), end = static_cast<std::ptrdiff_t>((first + count) * n);
    if (wide) {
      const std::vector<double> a(seen.begin() + from, seen.begin() + end),
          b(meant.begin() + from, meant.begin() + end);
      gram.add(a.data(), b.data(), count, threads, control);
    } else {
      gram.add(seen.data() + from, meant.data() + from, count, threads, control);
    }
    if (first % 4001 < count) gram.gram();  // looking, now and then, changes nothing
  }
  CHECK((gram.samples() == seen.size() / n && control.done() == control.total()));
  const Matrix h = gram.gram(threads), g = gram.crossGram(threads);
  std::vector<double> all(h.data(), h.data() + n * n);
  all.insert(all.end(), g.data(), g.data() + n * n);
  return all;
}

/** `thoroughly`: more ways to cut and more numbers of threads. */
void cutsAndThreadsDoNotMatter(std::size_t n, std::size_t slices, GramPrecision precision, bool thoroughly) {
  std::mt19937_64 random(43);
  const std::size_t m = slices * kSlice + 131;
  std::vector<float> seen = rowsOf("gaussian", random, m, n), meant = rowsOf("gaussian", random, m, n);
  // A slice that needs float64 products because of a column whose only large entry is its last row.
  for (std::size_t row = 0; row < kSlice; ++row) seen[row * n + 2] = row + 1 < kSlice ? 1e-25f : 1e-3f;
  for (std::size_t row = (slices - 1) * kSlice; row < slices * kSlice; ++row)
    meant[row * n + 1] = row % 5 == 0 ? 1e25f : 1;
  const auto all = [] { return std::size_t{1} << 30; };
  const auto some = [&] { return 1 + random() % 900; };
  const auto few = [&] { return random() % 40; };
  const auto never = [](std::size_t) { return false; };
  const auto partly = [](std::size_t row) { return row > 1000 && row < 2100; };
  const std::vector<double> whole = inBatches(seen, meant, n, precision, 1, all, never);
  const std::vector<double> mixed = inBatches(seen, meant, n, precision, 1, all, partly);
  CHECK(inBatches(seen, meant, n, precision, 7, all, never) == whole);
  CHECK(inBatches(seen, meant, n, precision, 2, some, partly) == mixed);
  if (!thoroughly) return;
  CHECK(inBatches(seen, meant, n, precision, 2, all, never) == whole);
  CHECK(inBatches(seen, meant, n, precision, 1, some, partly) == mixed);
  CHECK(inBatches(seen, meant, n, precision, 7, some, partly) == mixed);
  for (const unsigned threads : {1u, 2u, 7u})
    CHECK(inBatches(seen, meant, n, precision, threads, some, never) == whole);
  CHECK(inBatches(seen, meant, n, precision, 2, few, never) == whole);
  CHECK(inBatches(seen, meant, n, precision, 2, few, partly) == mixed);
}

template <typename Real>
void notFinite() {
  JobControl control;
  const std::size_t n = 3, m = 2 * kSlice + 50, before = 100;
  std::mt19937_64 random(44);
  const std::vector<double> values = normals(random, m * n);
  const std::vector<Real> good(values.begin(), values.end());
  for (const Real bad : {std::numeric_limits<Real>::quiet_NaN(), -std::numeric_limits<Real>::infinity()})
    for (const std::size_t row : {std::size_t{0}, std::size_t{411}, std::size_t{412}, std::size_t{1000}, m - 1})
      for (const bool inSeen : {true, false}) {
        std::vector<Real> broken = good;
        broken[row * n + 1] = bad;
        broken[m * n - 1] = bad;  // the first is named
        GramAccumulator gram(n, GramPrecision::Fast, true);
        gram.add(good.data(), good.data(), before, 1, control);
        const Matrix h = gram.gram();
        try {
          gram.add(inSeen ? broken.data() : good.data(), inSeen ? good.data() : broken.data(), m, 2, control);
          CHECK(false);
        } catch (const Error& error) {
          CHECK(error.code() == "ERR_VERTEXQ_NOT_FINITE");
          const std::string expected = std::string(inSeen ? "activation" : "target activation") + " at sample " +
                                       std::to_string(row) + ", input 1 is " + (std::isnan(bad) ? "NaN" : "infinite");
          CHECK(error.what() == expected);
        }
        CHECK(gram.samples() == before);
        CHECK(std::equal(h.data(), h.data() + n * n, gram.gram().data()));
      }
}

void misuse() {
  JobControl control;
  const std::vector<float> rows(4 * kSlice, 1);
  GramAccumulator none(1, GramPrecision::Fast);
  CHECK(none.gram()(0, 0) == 0);
  none.add(rows.data(), 0, 1, control);
  CHECK((none.samples() == 0 && none.gram()(0, 0) == 0));
  CHECK_THROWS_AS([&] { none.crossGram(); }(), Error);
  CHECK_THROWS_AS([&] { none.add(rows.data(), rows.data(), 1, 1, control); }(), Error);
  GramAccumulator paired(1, GramPrecision::Fast, true);
  CHECK_THROWS_AS([&] { paired.add(rows.data(), 1, 1, control); }(), Error);
  CHECK(GramAccumulator(0, GramPrecision::Fast, true).gram().rows() == 0);
  // threads = 0 runs on the caller.
  none.add(rows.data(), 4 * kSlice, 0, control);
  CHECK(none.gram(0)(0, 0) == 4 * kSlice);
}

/** Cancels the job it is read for, after some rows. */
class CancellingSource : public RowSource {
 public:
  explicit CancellingSource(JobControl& control) : control_(control) {}
  std::size_t count() const override { return 100 * kSlice; }
  std::size_t width() const override { return 2; }
  void requireFinite(const JobControl&) const override {}
  void read(std::size_t first, std::size_t rows, float* out) const override {
    std::fill_n(out, rows * 2, 1.0f);
    if (first > 50 * kSlice) control_.cancel();
  }

 private:
  JobControl& control_;
};

void cancelled() {
  JobControl control, other;
  GramAccumulator gram(2, GramPrecision::Fast);
  CHECK_THROWS_AS([&] { gram.add(CancellingSource(control), 2, control); }(), Cancelled);
  CHECK_THROWS_AS([&] { gram.gram(); }(), Cancelled);
  const float row[] = {1, 2};
  CHECK_THROWS_AS([&] { gram.add(row, 1, 1, other); }(), Cancelled);
  // Cancelled before it began, a call has added nothing.
  GramAccumulator untouched(2, GramPrecision::Fast);
  CHECK_THROWS_AS([&] { untouched.add(row, 1, 1, control); }(), Cancelled);
  CHECK((untouched.samples() == 0 && untouched.gram()(0, 0) == 0));
}

}  // namespace

TEST_CASE("sums") { sums(); }
TEST_CASE("extreme magnitudes") { extremeMagnitudes(); }
// 17 slices between two that need float64: more than a task takes at once.
TEST_CASE("cuts and threads do not matter: 5, 19, GramPrecision::Fast, true") {
  cutsAndThreadsDoNotMatter(5, 19, GramPrecision::Fast, true);
}
TEST_CASE("cuts and threads do not matter: 5, 19, GramPrecision::Exact, true") {
  cutsAndThreadsDoNotMatter(5, 19, GramPrecision::Exact, true);
}
// Two tiles; 13 slices in float64 fill the buffer.
TEST_CASE("cuts and threads do not matter: 150, 4, GramPrecision::Fast, false") {
  cutsAndThreadsDoNotMatter(150, 4, GramPrecision::Fast, false);
}
TEST_CASE("cuts and threads do not matter: 150, 14, GramPrecision::Exact, false") {
  cutsAndThreadsDoNotMatter(150, 14, GramPrecision::Exact, false);
}
TEST_CASE("not finite: float") { notFinite<float>(); }
TEST_CASE("not finite: double") { notFinite<double>(); }
TEST_CASE("misuse") { misuse(); }
TEST_CASE("cancelled") { cancelled(); }
