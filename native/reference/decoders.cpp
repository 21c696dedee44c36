#include "reference/decoders.h"

#include <cmath>

#include "error.h"

namespace vertexq::reference {

namespace {

std::size_t at(int i) { return static_cast<std::size_t>(i); }

/** H with its rows and columns taken in order. */
Matrix inOrder(const Matrix& h, const std::vector<int>& order) {
  Matrix p(order.size(), order.size());
  for (std::size_t j = 0; j < order.size(); ++j)
    for (std::size_t i = 0; i < order.size(); ++i) p(i, j) = h(at(order[i]), at(order[j]));
  return p;
}

/** x with U Uᵀ x = b. */
std::vector<double> solve(const Matrix& u, std::vector<double> b) {
  const std::size_t n = u.cols();
  for (std::size_t i = n; i-- > 0;) {
    for (std::size_t k = i + 1; k < n; ++k) b[i] -= u(i, k) * b[k];
    b[i] /= u(i, i);
  }
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t k = 0; k < i; ++k) b[i] -= u(k, i) * b[k];
    b[i] /= u(i, i);
  }
  return b;
}

double round(const Neuron& neuron, std::size_t input, double centre) {
  const Alphabet& alphabet = neuron.alphabet(input);
  return alphabet.level(alphabet.nearest(centre));
}

}  // namespace

double outputError(const Matrix& h, const double* w, const double* q) {
  long double sum = 0;
  for (std::size_t j = 0; j < h.cols(); ++j)
    for (std::size_t i = 0; i < h.cols(); ++i)
      sum += (static_cast<long double>(q[i]) - w[i]) * h(i, j) * (static_cast<long double>(q[j]) - w[j]);
  return static_cast<double>(sum);
}

Matrix reverseCholesky(const Matrix& h) {
  const std::size_t n = h.cols();
  Matrix u(n, n);
  for (std::size_t j = n; j-- > 0;) {
    double square = h(j, j);
    for (std::size_t l = j + 1; l < n; ++l) square -= u(j, l) * u(j, l);
    if (!(square > 0)) throw Error("ERR_VERTEXQ_NUMERIC", "the matrix is not positive definite");
    u(j, j) = std::sqrt(square);
    for (std::size_t i = 0; i < j; ++i) {
      double sum = h(i, j);
      for (std::size_t l = j + 1; l < n; ++l) sum -= u(i, l) * u(j, l);
      u(i, j) = sum / u(j, j);
    }
  }
  return u;
}

Matrix nearestPlaneCoefficients(const Matrix& h, const std::vector<int>& order) {
  Matrix m = reverseCholesky(inOrder(h, order));
  for (std::size_t j = 0; j < m.cols(); ++j) {
    for (std::size_t i = 0; i < j; ++i) m(i, j) /= m(j, j);
    m(j, j) = 0;
  }
  return m;
}

std::vector<double> successiveRounding(const Matrix& m, const std::vector<int>& order, const Neuron& neuron,
                                       const double* centres) {
  const double* w = neuron.weights;
  std::vector<double> q(order.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    double centre = centres ? centres[order[i]] : w[order[i]];
    for (std::size_t k = 0; k < i; ++k) centre -= m(k, i) * (q[at(order[k])] - w[order[k]]);
    q[at(order[i])] = round(neuron, at(order[i]), centre);
  }
  return q;
}

std::vector<double> gptq(const Matrix& h, const std::vector<int>& order, const Neuron& neuron) {
  const std::size_t n = order.size();
  const Matrix u = reverseCholesky(inOrder(h, order));
  Matrix inverse(n, n);
  for (std::size_t j = 0; j < n; ++j) {
    std::vector<double> unit(n);
    unit[j] = 1;
    unit = solve(u, unit);
    for (std::size_t i = 0; i < n; ++i) inverse(i, j) = unit[i];
  }
  std::vector<double> w(n), q(n);
  for (std::size_t i = 0; i < n; ++i) w[i] = neuron.weights[order[i]];
  for (std::size_t i = 0; i < n; ++i) {
    const double value = round(neuron, at(order[i]), w[i]);
    q[at(order[i])] = value;
    const double error = (value - w[i]) / inverse(i, i);
    for (std::size_t k = i; k < n; ++k) w[k] += error * inverse(k, i);
    for (std::size_t k = i + 1; k < n; ++k)
      for (std::size_t l = i + 1; l < n; ++l) inverse(l, k) -= inverse(l, i) * inverse(i, k) / inverse(i, i);
  }
  return q;
}

std::vector<double> gpfq(const Matrix& x, const Matrix& quantizedX, const Neuron& neuron) {
  const std::size_t m = x.rows();
  std::vector<double> u(m), q(x.cols());
  for (std::size_t t = 0; t < x.cols(); ++t) {
    double product = 0, square = 0;
    for (std::size_t i = 0; i < m; ++i) {
      u[i] += neuron.weights[t] * x(i, t);
      product += quantizedX(i, t) * u[i];
      square += quantizedX(i, t) * quantizedX(i, t);
    }
    q[t] = round(neuron, t, square == 0 ? neuron.weights[t] : product / square);
    for (std::size_t i = 0; i < m; ++i) u[i] -= q[t] * quantizedX(i, t);
  }
  return q;
}

std::vector<double> freeTargets(const Matrix& h, const Neuron& neuron, const std::vector<double>& q,
                                const std::vector<int>& free) {
  const double* w = neuron.weights;
  std::vector<double> error(h.cols());
  for (std::size_t i = 0; i < h.cols(); ++i) error[i] = q[i] - w[i];
  for (const int i : free) error[at(i)] = 0;
  std::vector<double> gradient(free.size());
  for (std::size_t t = 0; t < free.size(); ++t)
    for (std::size_t i = 0; i < h.cols(); ++i) gradient[t] += h(at(free[t]), i) * error[i];
  const std::vector<double> shift = solve(reverseCholesky(inOrder(h, free)), gradient);
  std::vector<double> targets(free.size());
  for (std::size_t t = 0; t < free.size(); ++t) targets[t] = w[free[t]] - shift[t];
  return targets;
}

std::vector<double> freeEntries(const Matrix& h, const Neuron& neuron, std::vector<double> q,
                                const std::vector<int>& free) {
  const std::vector<double> targets = freeTargets(h, neuron, q, free);
  const Matrix m = nearestPlaneCoefficients(h, free);
  for (std::size_t i = 0; i < free.size(); ++i) {
    double centre = targets[i];
    for (std::size_t k = 0; k < i; ++k) centre -= m(k, i) * (q[at(free[k])] - targets[k]);
    q[at(free[i])] = round(neuron, at(free[i]), centre);
  }
  return q;
}

std::vector<double> coordinateDescent(const Matrix& h, const Neuron& neuron, std::vector<double> q, int sweeps) {
  const std::size_t n = h.cols();
  for (int sweep = 0, changes = 1; sweep < sweeps && changes > 0; ++sweep) {
    changes = 0;
    for (std::size_t i = 0; i < n; ++i) {
      if (!(h(i, i) > 0)) continue;
      double gradient = 0;
      for (std::size_t k = 0; k < n; ++k) gradient += h(i, k) * (q[k] - neuron.weights[k]);
      const double value = round(neuron, i, q[i] - gradient / h(i, i));
      const double d = value - q[i];
      if (2 * gradient * d + h(i, i) * d * d < -1e-12 * h(i, i) * d * d) {
        q[i] = value;
        ++changes;
      }
    }
  }
  return q;
}

Matrix bestLeft(const Matrix& g, const std::vector<int>& order, std::size_t first, const Matrix& errors) {
  const std::vector<int> left(order.begin() + static_cast<std::ptrdiff_t>(first), order.end());
  const Matrix u = reverseCholesky(inOrder(g, left));
  Matrix best(errors.rows(), left.size());
  for (std::size_t i = 0; i < errors.rows(); ++i) {
    std::vector<double> pull(left.size());
    for (std::size_t l = 0; l < left.size(); ++l)
      for (std::size_t k = 0; k < first; ++k) pull[l] -= g(at(left[l]), at(order[k])) * errors(i, at(order[k]));
    const std::vector<double> found = solve(u, pull);
    for (std::size_t l = 0; l < left.size(); ++l) best(i, l) = found[l];
  }
  return best;
}

}  // namespace vertexq::reference
