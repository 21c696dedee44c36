// Peak memory of one task, run in a process of its own (`bench_native memory <task>`).
#include <fstream>
#include <stdexcept>
#include <string>

#include "bench.h"
#include "calibration/gram.h"
#include "layer.h"
#include "walk_problem.h"

namespace vertexq::bench {

namespace {

/** MiB from a line of /proc/self/status, such as "VmHWM:"; 0 where there is none. */
double status(const std::string& name) {
  std::ifstream file("/proc/self/status");
  for (std::string word; file >> word;)
    if (word == name) {
      double kilobytes = 0;
      file >> kilobytes;
      return kilobytes / 1024;
    }
  return 0;
}

/** Resident memory from here on: what is there now, and the most there has been since. Linux alone can tell. */
class PeakMemory {
 public:
  PeakMemory() {
    std::ofstream("/proc/self/clear_refs") << "5";
    before_ = status("VmRSS:");
  }
  double growth() const { return status("VmHWM:") - before_; }

 private:
  double before_;
};

void report(Row& row, std::size_t n, const PeakMemory& memory) {
  row.add("megabytes", memory.growth());
  row.add("perMatrix", memory.growth() * 1048576 / (8.0 * static_cast<double>(n * n)));
}

/** Batches of 1,024 rows, made as they are needed. */
void accumulate(std::size_t n, std::size_t rows) {
  JobControl control;
  FloatMatrix batch = randomMatrix<float>(n, 1024, 30);
  const PeakMemory memory;
  GramAccumulator accumulator(n, GramPrecision::Fast);
  for (std::size_t done = 0; done < rows; done += 1024) accumulator.add(batch.data(), 1024, 2, control);
  const Matrix h = accumulator.gram();
  Row row("memory");
  row.add("task", "Gram matrix").add("inFeatures", static_cast<double>(n)).add("rows", static_cast<double>(rows));
  report(row, n, memory);
}

void walk(std::size_t n, std::size_t neurons, unsigned threads) {
  JobControl control;
  const Matrix x = randomMatrix<double>(n / 2, n, 31);
  const Matrix weights = randomMatrix<double>(n, neurons, 32);
  const PeakMemory memory;
  const Walked walked = walkLayer({weights.data(), neurons, n}, x, {Grid::Asymmetric, 8, n, ScalePrecision::Float64},
                                  Box::Cell, {}, threads, control);
  Row row("memory");
  row.add("task", "walkLayer").add("inFeatures", static_cast<double>(n));
  row.add("neurons", static_cast<double>(neurons)).add("threads", threads);
  report(row, n, memory);
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
