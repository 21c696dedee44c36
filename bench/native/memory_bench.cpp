// Peak memory of one task, run in a process of its own (`bench_native memory <task>`).
#include <sys/resource.h>

#include <stdexcept>

#include "bench.h"
#include "calibration/gram.h"
#include "layer.h"
#include "walk_problem.h"

namespace vertexq::bench {

namespace {

/** Peak resident memory so far, in MiB. */
double peakMemory() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
#if defined(__APPLE__)
  return static_cast<double>(usage.ru_maxrss) / (1024.0 * 1024.0);
#else
  return static_cast<double>(usage.ru_maxrss) / 1024.0;
#endif
}

/** Batches of 1,024 rows, made as they are needed. */
void accumulate(std::size_t n, std::size_t rows) {
  JobControl control;
  FloatMatrix batch = randomMatrix<float>(n, 1024, 30);
  const double before = peakMemory();
  GramAccumulator accumulator(n, GramPrecision::Fast);
  for (std::size_t done = 0; done < rows; done += 1024) accumulator.add(batch.data(), 1024, 2, control);
  const Matrix h = accumulator.gram();
  Row("memory")
      .add("task", "Gram matrix")
      .add("inFeatures", static_cast<double>(n))
      .add("rows", static_cast<double>(rows))
      .add("megabytes", peakMemory() - before)
      .add("perMatrix", (peakMemory() - before) * 1048576 / (8.0 * static_cast<double>(n * n)));
}

void walk(std::size_t n, std::size_t neurons, unsigned threads) {
  JobControl control;
  const Matrix x = randomMatrix<double>(n / 2, n, 31);
  const Matrix weights = randomMatrix<double>(n, neurons, 32);
  const double before = peakMemory();
  const Walked walked = walkLayer({weights.data(), neurons, n}, x, {Grid::Asymmetric, 8, n}, ScalePrecision::Float64,
                                  Box::Cell, {}, threads, control);
  Row("memory")
      .add("task", "walkLayer")
      .add("inFeatures", static_cast<double>(n))
      .add("neurons", static_cast<double>(neurons))
      .add("threads", threads)
      .add("megabytes", peakMemory() - before)
      .add("perMatrix", (peakMemory() - before) * 1048576 / (8.0 * static_cast<double>(n * n)));
}

}  // namespace

void benchMemory(const std::string& task) {
  if (task == "gram-8192") return accumulate(2048, 8192);
  if (task == "gram-65536") return accumulate(2048, 65536);
  if (task == "walk-64-1") return walk(1024, 64, 1);
  if (task == "walk-256-1") return walk(1024, 256, 1);
  if (task == "walk-256-2") return walk(1024, 256, 2);
  throw std::invalid_argument("unknown memory task " + task);
}

}  // namespace vertexq::bench
