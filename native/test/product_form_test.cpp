// The inverse of a basis in product form against the basis itself.
#include "walk/product_form.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "linalg/blas.h"
#include "test_data.h"

using namespace vertexq;
using namespace vertexq::testing;

namespace {

template <typename Real>
class Basis {
 public:
  Basis(std::mt19937_64& random, std::size_t rank, std::size_t entering, std::size_t pivots)
      : random_(random),
        exact_(gaussian(random, rank, entering)),
        t_(rank, entering),
        form_(rank, entering, pivots, 16) {
    std::copy_n(exact_.data(), rank * entering, t_.data());
  }

  ProductForm<Real>& form() { return form_; }
  const Matrix& exact() const { return exact_; }

  /** Up to `count` columns enter, in panels as a walk has them, each at the place of its largest z, or its second largest. */
  void enter(std::size_t count) {
    form_.beginBlock();
    for (std::size_t c = 0; c < count; ++c) form_.load(c, t_.column(next_ + c));
    form_.transform(count);
    for (std::size_t c = 0; c < count; ++c, ++next_) {
      const linalg::Strips<const Real> z = form_.finish(c);
      if (random_() % 3 == 0) continue;  // reached its bound itself
      std::size_t place = random_() % t_.rows();
      for (std::size_t k = 0; k < t_.rows(); ++k)
        if (std::abs(z.row(k)) > 2 * std::abs(z.row(place))) place = k;
      form_.push(place, static_cast<std::ptrdiff_t>(next_));
    }
  }

  /** Largest entry of B⁻¹ B - I. */
  double error() {
    const std::size_t rank = t_.rows();
    double worst = 0;
    linalg::AlignedBuffer<Real> v(form_.rows()), together(form_.rows());
    form_.beginBlock();
    for (std::size_t place = 0; place < rank; ++place) {
      const std::ptrdiff_t entered = form_.enteredAt(place);
      v.clear();
      if (entered < 0)
        v[place] = 1;
      else
        std::copy_n(t_.column(static_cast<std::size_t>(entered)), rank, v.data());
      form_.load(0, v.data());
      form_.transform(1);
      form_.read(0, together.data());
      form_.apply(v.data());
      for (std::size_t k = 0; k < rank; ++k)
        for (const Real value : {v[k], together[k]})
          worst = std::max(worst, std::abs(static_cast<double>(value) - (k == place ? 1 : 0)));
    }
    return worst;
  }

 private:
  std::mt19937_64& random_;
  Matrix exact_;
  BasicMatrix<Real> t_;
  ProductForm<Real> form_;
  std::size_t next_ = 0;
};

template <typename Real>
void inverts(double tolerance) {
  std::mt19937_64 random(31);
  for (const std::size_t rank : {1u, 2u, 7u, 33u, 90u}) {
    Basis<Real> never(random, rank, 160, 160), often(random, rank, 160, 80);
    for (int block = 0; block < 10; ++block) {
      never.enter(16);
      often.enter(16);
      CHECK_LE(never.error(), tolerance);
      CHECK_LE(often.error(), tolerance);
      if (often.form().pivots() >= 20) often.form().fold();
      CHECK_LE(often.error(), tolerance);
    }
    for (Basis<Real>* basis : {&never, &often}) {
      basis->form().refactor(basis->exact());
      CHECK_LE(basis->error(), tolerance / 10);
      basis->form().reset();
      CHECK((basis->form().isIdentity() && basis->error() == 0));
    }
  }
}

}  // namespace

TEST_CASE("inverts: double, 1e-9") { inverts<double>(1e-9); }
TEST_CASE("inverts: float, 2e-2") { inverts<float>(2e-2); }
