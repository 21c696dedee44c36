// What the parts of the native benchmark share: clocks, medians, peaks, and rows of JSON.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <initializer_list>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "linalg/matrix.h"
#include "linalg/real_blas.h"

namespace vertexq::bench {

inline double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

inline double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

template <typename Task>
double timeOnce(Task task) {
  const double start = seconds();
  task();
  return seconds() - start;
}

/** Median seconds of `repeats` runs, after one that warms the caches up. */
template <typename Task>
double medianTime(int repeats, Task task) {
  task();
  std::vector<double> times;
  for (int i = 0; i < repeats; ++i) times.push_back(timeOnce(task));
  return median(times);
}

template <typename Real>
const char* precisionName() {
  return sizeof(Real) == sizeof(double) ? "float64" : "float32";
}

template <typename Real>
BasicMatrix<Real> randomMatrix(std::size_t rows, std::size_t cols, unsigned seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal;
  BasicMatrix<Real> m(rows, cols);
  for (std::size_t i = 0; i < rows * cols; ++i) m.data()[i] = static_cast<Real>(normal(random));
  return m;
}

/** Seconds of C = A B, all n × n, on one thread. */
template <typename Real>
class Gemm {
 public:
  explicit Gemm(std::size_t n) : n_(n), a_(randomMatrix<Real>(n, n, 1)), b_(randomMatrix<Real>(n, n, 2)), c_(n, n) {}

  double flops() const { return 2.0 * static_cast<double>(n_) * static_cast<double>(n_) * static_cast<double>(n_); }
  void run() {
    linalg::gemm(linalg::kPlain, linalg::kPlain, n_, n_, n_, Real(1), a_.data(), n_, b_.data(), n_, Real(0), c_.data(),
                 n_);
  }

 private:
  std::size_t n_;
  BasicMatrix<Real> a_, b_, c_;
};

/**
 * Median seconds of `task` and of a GEMM, run in turns so that a slow spell of the machine meets both. The GEMM is the
 * unit in which results are given.
 */
template <typename Real, typename Task>
std::pair<double, double> besideGemm(std::size_t n, int repeats, Task task) {
  Gemm<Real> gemm(n);
  gemm.run();
  task();
  std::vector<double> tasks, gemms;
  for (int i = 0; i < repeats; ++i) {
    gemms.push_back(timeOnce([&] { gemm.run(); }));
    tasks.push_back(timeOnce(task));
  }
  return {median(tasks), median(gemms)};
}

/** One line of the result: {"bench": ..., key: value, ...}. */
class Row {
 public:
  explicit Row(const std::string& bench) : text_("{\"bench\":\"" + bench + "\"") {}
  Row& add(const char* key, const std::string& value) {
    text_ += std::string(",\"") + key + "\":\"" + value + "\"";
    return *this;
  }
  Row& add(const char* key, double value) {
    char buffer[64];
    std::snprintf(buffer, sizeof buffer, "%.6g", value);
    text_ += std::string(",\"") + key + "\":" + buffer;
    return *this;
  }
  ~Row() {
    std::printf("%s}\n", text_.c_str());
    std::fflush(stdout);
  }
  Row(const Row&) = delete;
  Row& operator=(const Row&) = delete;

 private:
  std::string text_;
};

/** How much to run: `quick` is for trying the benchmark itself. */
struct Options {
  bool quick = false;
  unsigned threads = 2;
};

void benchPeaks(const Options& options);
void benchWalk(const Options& options);
void benchPipeline(const Options& options);
void benchDecoders(const Options& options);
void benchGram(const Options& options);
void benchCholesky(const Options& options);
void benchGramCheck(const Options& options);
void benchThreads(const Options& options);
void benchMemory(const std::string& task);

}  // namespace vertexq::bench
