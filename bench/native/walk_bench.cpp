// The walk: both blocked forms and the plain one, in units of GEMM.
#include <cmath>
#include <string>

#include "bench.h"
#include "reference/vertex_walk.h"
#include "walk_problem.h"

namespace vertexq::bench {

namespace {

const char* formName(WalkForm form) {
  switch (form) {
    case WalkForm::Tableau:
      return "tableau";
    case WalkForm::Inverse:
      return "inverse";
    case WalkForm::Auto:
      break;
  }
  return "auto";
}

template <typename Real>
void benchForm(const char* bench, const WalkProblem& problem, WalkForm form, std::size_t neurons, double plain) {
  const std::size_t n = problem.tableau.size(), rank = problem.tableau.rank();
  BlockedWalk<Real> walk(problem.tableau, problem.t<Real>(), form);
  std::vector<double> walked;
  std::size_t next = 0;
  const auto walkNext = [&] {
    problem.walkNeuron(walk, next, walked);
    next = (next + 1) % neurons;
  };
  // A turn is as many neurons as take about the time of a GEMM, so that both meet the same machine.
  const auto [once, gemmOnce] = besideGemm<Real>(n, 3, walkNext);
  const std::size_t turn = std::clamp<std::size_t>(static_cast<std::size_t>(gemmOnce / once), 1, neurons);
  const int turns = n >= 4096 ? 3 : n >= 2048 ? 7 : 21;
  const auto [time, gemm] = besideGemm<Real>(n, turns, [&] {
    for (std::size_t k = 0; k < turn; ++k) walkNext();
  });
  const double neuron = time / static_cast<double>(turn);
  double worst = 0;
  for (std::size_t k = 0; k < std::min<std::size_t>(neurons, 8); ++k) {
    problem.walkNeuron(walk, k, walked);
    worst = std::max(worst, problem.residual(k, walked));
  }
  const double flops = 4.0 * static_cast<double>(rank * rank) * static_cast<double>(n - rank);
  const double peak = 2.0 * std::pow(static_cast<double>(n), 3) / gemm;
  Row row(bench);
  row.add("form", formName(form)).add("precision", precisionName<Real>());
  row.add("inFeatures", static_cast<double>(n)).add("rank", static_cast<double>(rank));
  row.add("milliseconds", 1e3 * neuron).add("perGemm", neuron / gemm).add("usefulOfPeak", flops / neuron / peak);
  row.add("gemmGflops", peak * 1e-9).add("residual", worst);
  row.add("workspacePerRankSquared",
          static_cast<double>(walk.bytes()) / sizeof(Real) / static_cast<double>(rank * rank));
  row.add("refactorings", static_cast<double>(walk.refactorings()));
  if (plain > 0) row.add("timesPlain", plain / neuron);
}

double plainTime(const WalkProblem& problem) {
  reference::VertexWalk walk(problem.tableau);
  std::vector<double> walked;
  return medianTime(problem.tableau.size() > 2048 ? 1 : 3, [&] { problem.walkNeuron(walk, 0, walked); });
}

void benchBoth(std::size_t n, std::size_t rank, std::size_t neurons, WalkForm form, bool withPlain) {
  const WalkProblem problem(n, rank, neurons);
  const double plain = withPlain ? plainTime(problem) : 0;
  benchForm<double>("walk", problem, form, neurons, plain);
  benchForm<float>("walk", problem, form, neurons, plain);
}

}  // namespace

void benchWalk(const Options& options) {
  struct Shape {
    std::size_t n, rank, neurons;
  };
  std::vector<Shape> inverse = {{1024, 512, 256}, {2048, 1024, 64}, {4096, 512, 64}};
  std::vector<std::size_t> sizes = {512, 1024, 2048};
  if (options.quick) {
    inverse = {{512, 128, 16}};
    sizes = {256};
  }
  for (const Shape& shape : inverse)
    benchBoth(shape.n, shape.rank, shape.neurons, WalkForm::Inverse, shape.rank <= 512);
  for (const std::size_t n : sizes)
    for (const std::size_t rank : {n * 3 / 4, n / 2}) benchBoth(n, rank, 32, WalkForm::Tableau, n <= 1024);
  // How the cost grows, and that `auto` is the faster form.
  const std::size_t n = options.quick ? 256 : 1024;
  for (const std::size_t part : {1, 2, 4, 6, 8, 10, 12, 14})
    for (const WalkForm form : {WalkForm::Tableau, WalkForm::Inverse, WalkForm::Auto}) {
      const WalkProblem problem(n, n * part / 16, 16);
      benchForm<double>("forms", problem, form, 16, 0);
    }
}

}  // namespace vertexq::bench
