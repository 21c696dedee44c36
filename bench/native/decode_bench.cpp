// GPTQ and GPFQ on the problems that peers' own code was timed on, and the walk with everything that follows it.
#include "calibration/eigenspace.h"
#include "calibration/gram.h"
#include "decode/coefficients.h"
#include "decode/coordinate_descent.h"
#include "decode/damping.h"
#include "decode/free_entries.h"
#include "decode/successive_rounding.h"
#include "decode_problem.h"
#include "walk/blocked_walk.h"

namespace vertexq::bench {

namespace {

FloatMatrix gramOf(const DecodeProblem& problem, unsigned threads) {
  JobControl control;
  GramAccumulator accumulator(problem.columns, GramPrecision::Fast);
  accumulator.add(problem.x.data(), problem.rows, threads, control);
  const Matrix h = accumulator.gram(threads);
  FloatMatrix single(problem.columns, problem.columns);
  std::copy_n(h.data(), problem.columns * problem.columns, single.data());
  return single;
}

enum class Rival { Gptq, Gpfq };

/** Everything from the activations to the codes. */
void decodeLayer(const DecodeProblem& problem, Rival rival, unsigned threads, std::vector<std::int8_t>& codes,
                 FloatMatrix& values) {
  JobControl control;
  const FloatMatrix h = gramOf(problem, threads);
  const Coefficients<float> coefficients =
      rival == Rival::Gptq ? nearestPlaneCoefficients(h, 0.01, DecodeOrder::Natural, threads, control)
                           : gpfqCoefficients(h, DecodeOrder::Natural);
  RoundingTask<float> task;
  task.weights = problem.weights.data();
  task.neurons = problem.neurons;
  task.alphabets = problem.layerAlphabets();
  task.codes = codes.data();
  task.values = values.data();
  successiveRounding(coefficients, task, threads, control);
}

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
  const auto [time, gemm] =
      besideGemm<float>(1024, 5, [&] { decodeLayer(problem, rival, 1, codes, values); });
  // Seconds times this machine's GEMM peak: how many flops of GEMM would have taken as long.
  const double gflops = time * Gemm<float>(1024).flops() / gemm * 1e-9;
  Row(rival == Rival::Gptq ? "gptq" : "gpfq")
      .add("problem", name)
      .add("seconds", time)
      .add("gflopsOfGemm", gflops)
      .add("ofPeers", gflops / peerGflops)
      .add("error", outputError(problem, values));
}

/** The walk in the leading directions of H, then least squares, nearest plane and descent over all entries. */
template <typename Real>
class Pipeline {
 public:
  Pipeline(const DecodeProblem& problem, std::size_t rank)
      : problem_(problem), n_(problem.columns), h_(n_, n_), weights_(n_, problem.neurons), values_(n_, problem.neurons),
        codes_(n_ * problem.neurons), low_(n_), high_(n_), w_(n_) {
    JobControl control;
    GramAccumulator accumulator(n_, GramPrecision::Fast);
    accumulator.add(problem.x.data(), problem.rows, 1, control);
    const Matrix h = damped(accumulator.gram(), 0.003);
    tableau_ = tableauOf(leadingEigenspace(h, rank).part);
    t_ = BasicMatrix<Real>(tableau_.t.rows(), tableau_.t.cols());
    std::copy_n(tableau_.t.data(), t_.rows() * t_.cols(), t_.data());
    std::copy_n(h.data(), n_ * n_, h_.data());
    std::copy_n(problem.weights.data(), n_ * problem.neurons, weights_.data());
    system_ = std::make_unique<FreeEntrySystem<Real>>(h_);
    walk_ = std::make_unique<BlockedWalk<Real>>(tableau_, t_);
    decoder_ = std::make_unique<FreeEntryDecoder<Real>>(*system_, n_);
  }

  void walkAndDecode(std::size_t neuron) {
    const Alphabet& a = problem_.alphabets[neuron];
    for (std::size_t i = 0; i < n_; ++i) {
      w_[i] = problem_.weights(i, neuron);
      const Alphabet::Cell cell = a.cell(w_[i]);
      low_[i] = cell.low;
      high_[i] = cell.high;
    }
    walkTime += timeOnce([&] { walk_->run(w_.data(), low_.data(), high_.data(), control_); });
    free_.clear();
    Real* q = values_.column(neuron);
    std::int8_t* codes = codes_.data() + neuron * n_;
    for (std::size_t i = 0; i < n_; ++i) {
      if (w_[i] != low_[i] && w_[i] != high_[i]) {
        free_.push_back(static_cast<int>(i));
        continue;
      }
      const int code = a.nearest(w_[i]);
      codes[i] = static_cast<std::int8_t>(code);
      q[i] = static_cast<Real>(a.level(code));
    }
    decodeTime += timeOnce([&] {
      decoder_->decode(weights_.column(neuron), q, codes, free_.data(), free_.size(), problem_.layerAlphabets(), neuron);
    });
  }

  void polish(std::size_t neurons) {
    polishTime += timeOnce([&] {
      descend(h_, weights_.data(), neurons, problem_.layerAlphabets(), codes_.data(), values_.data(), 1, control_);
    });
  }

  double walkTime = 0, decodeTime = 0, polishTime = 0;

 private:
  const DecodeProblem& problem_;
  std::size_t n_;
  BasicMatrix<Real> h_, t_, weights_, values_;
  std::vector<std::int8_t> codes_;
  std::vector<double> low_, high_, w_;
  std::vector<int> free_;
  Tableau tableau_;
  std::unique_ptr<FreeEntrySystem<Real>> system_;
  std::unique_ptr<BlockedWalk<Real>> walk_;
  std::unique_ptr<FreeEntryDecoder<Real>> decoder_;
  JobControl control_;
};

template <typename Real>
void benchPipelineOf(const DecodeProblem& problem) {
  const std::size_t n = problem.columns;
  Pipeline<Real> pipeline(problem, n * 3 / 4);
  const auto layer = [&] {
    for (std::size_t neuron = 0; neuron < problem.neurons; ++neuron) pipeline.walkAndDecode(neuron);
    pipeline.polish(problem.neurons);
  };
  layer();
  pipeline.walkTime = pipeline.decodeTime = pipeline.polishTime = 0;
  constexpr int repeats = 5;
  const auto [time, gemm] = besideGemm<Real>(n, repeats, layer);
  const double unit = gemm * static_cast<double>(problem.neurons);
  const double parts = unit * (repeats + 1);  // besideGemm warms up once
  Row("pipeline")
      .add("precision", precisionName<Real>())
      .add("inFeatures", static_cast<double>(n))
      .add("perGemm", time / unit)
      .add("walkPerGemm", pipeline.walkTime / parts)
      .add("decodePerGemm", pipeline.decodeTime / parts)
      .add("polishPerGemm", pipeline.polishTime / parts);
}

}  // namespace

void benchPipeline(const Options& options) {
  for (const std::size_t n : options.quick ? std::vector<std::size_t>{256} : std::vector<std::size_t>{512, 1024, 2048}) {
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
