// bench_native [--quick] [--threads n] [peaks|walk|pipeline|decoders|gram|cholesky|threads|gram-check ...] | memory <task>
// Prints a line of JSON for each measurement. bench/native/index.ts builds and runs it, and makes tables and a plot of them.
#include <cstdlib>
#include <cstring>
#include <exception>
#include <functional>
#include <thread>

#include "bench.h"
#include "linalg/blas.h"
#include "linalg/simd.h"

using namespace vertexq;

int main(int argc, char** argv) {
  setUpBlas();
  bench::Options options;
  options.threads = std::max(2u, std::thread::hardware_concurrency());
  const std::map<std::string, std::function<void(const bench::Options&)>> parts = {
      {"peaks", bench::benchPeaks},       {"walk", bench::benchWalk},           {"pipeline", bench::benchPipeline},
      {"decoders", bench::benchDecoders}, {"gram", bench::benchGram},           {"cholesky", bench::benchCholesky},
      {"threads", bench::benchThreads},   {"gram-check", bench::benchGramCheck}};
  std::vector<std::string> wanted;
  try {
    for (int i = 1; i < argc; ++i) {
      const std::string argument = argv[i];
      if (argument == "memory" && i + 1 < argc) {
        bench::benchMemory(argv[i + 1]);
        return 0;
      }
      if (argument == "--quick") {
        options.quick = true;
      } else if (argument == "--threads" && i + 1 < argc) {
        options.threads = static_cast<unsigned>(std::max(2, std::atoi(argv[++i])));
      } else if (parts.count(argument)) {
        wanted.push_back(argument);
      } else {
        std::fprintf(stderr, "unknown argument %s\n", argument.c_str());
        return 2;
      }
    }
    bench::Row("machine")
        .add("blas", blasConfig())
        .add("core", blasCoreName())
        .add("simd", linalg::instructionSetName(linalg::instructionSet()))
        .add("cores", std::thread::hardware_concurrency());
    if (wanted.empty()) wanted = {"peaks", "walk", "pipeline", "decoders", "gram", "cholesky", "threads"};
    for (const std::string& part : wanted) parts.at(part)(options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_native: %s\n", error.what());
    return 1;
  }
}
