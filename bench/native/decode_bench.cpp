// GPTQ and GPFQ on the problems that peers' own code was timed on, and the walk with everything that follows it.
#include "pipeline.h"
#include "rivals.h"

namespace vertexq::bench {

namespace {

/** ‖X(w - q)‖ / ‖X w‖ over all neurons. */
double outputError(const DecodeProblem& problem, const FloatMatrix& values) {
  const std::size_t m = problem.rows, n = problem.columns;
  FloatMatrix difference = problem.weights;
  for (std::size_t i = 0; i < n * problem.neurons; ++i) difference.data()[i] -= values.data()[i];
  const auto norm = [&](const FloatMatrix& w) {
    FloatMatrix product(m, problem.neurons);
    linalg::gemm(linalg::kTransposed, linalg::kPlain, m, problem.neurons, n, 1.0F, problem.x.data(), n, w.data(), n,
                 0.0F, product.data(), m);
    double sum = 0;
    for (std::size_t i = 0; i < m * problem.neurons; ++i)
      sum += static_cast<double>(product.data()[i]) * product.data()[i];
    return std::sqrt(sum);
  };
  return norm(difference) / norm(problem.weights);
}

void benchRival(const char* name, const DecodeProblem& problem, Rival rival, double peerGflops) {
  std::vector<std::int8_t> codes(problem.columns * problem.neurons);
  FloatMatrix values(problem.columns, problem.neurons);
  const auto [time, gemm] = besideGemm<float>(1024, 5, [&] { decodeLayer(problem, rival, 1, codes, values); });
  // Seconds times this machine's GEMM peak: how many flops of GEMM would have taken as long.
  const double gflops = time * Gemm<float>(1024).flops() / gemm * 1e-9;
  Row(rival == Rival::Gptq ? "gptq" : "gpfq")
      .add("problem", name)
      .add("seconds", time)
      .add("gflopsOfGemm", gflops)
      .add("ofPeers", gflops / peerGflops)
      .add("error", outputError(problem, values));
}

template <typename Real>
void benchPipelineOf(const DecodeProblem& problem) {
  const std::size_t n = problem.columns;
  Pipeline<Real> pipeline(problem, n * 3 / 4);
  PipelineWorker<Real> worker(pipeline);
  double polishTime = 0;
  const auto layer = [&] {
    for (std::size_t neuron = 0; neuron < problem.neurons; ++neuron) worker.walkAndDecode(neuron);
    polishTime += timeOnce([&] { pipeline.polish(1); });
  };
  layer();
  worker.walkTime = worker.decodeTime = polishTime = 0;
  constexpr int repeats = 5;
  const auto [time, gemm] = besideGemm<Real>(n, repeats, layer);
  const double unit = gemm * static_cast<double>(problem.neurons);
  const double parts = unit * (repeats + 1);  // besideGemm warms up once
  Row("pipeline")
      .add("precision", precisionName<Real>())
      .add("inFeatures", static_cast<double>(n))
      .add("perGemm", time / unit)
      .add("walkPerGemm", worker.walkTime / parts)
      .add("decodePerGemm", worker.decodeTime / parts)
      .add("polishPerGemm", polishTime / parts);
}

}  // namespace

void benchPipeline(const Options& options) {
  for (const std::size_t n :
       options.quick ? std::vector<std::size_t>{256} : std::vector<std::size_t>{512, 1024, 2048}) {
    const DecodeProblem problem(2 * n, n, 16, 8);
    benchPipelineOf<double>(problem);
    benchPipelineOf<float>(problem);
  }
}

void benchDecoders(const Options& options) {
  // Peers' seconds (docs: reference GPTQ and the authors' GPFQ) at the 102 GF/s that sgemm reached on their machine.
  constexpr double peak = 102;
  if (options.quick) {
    const DecodeProblem tiny(512, 256, 256, 8);
    benchRival("tiny", tiny, Rival::Gptq, 1);
    return;
  }
  const DecodeProblem b(2048, 1024, 1024, 8);
  benchRival("B", b, Rival::Gptq, 0.20 * peak);
  benchRival("B", b, Rival::Gpfq, 26 * peak);
  const DecodeProblem c(512, 4096, 1024, 8);
  benchRival("C", c, Rival::Gptq, 2.3 * peak);
  benchRival("C", c, Rival::Gpfq, 15 * peak);
}

}  // namespace vertexq::bench
