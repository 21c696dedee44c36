// What is freed goes back to the system, though blocks that are still used lie between.
#include "parallel/freed_memory.h"

#include <doctest/doctest.h>

#include <cstring>
#include <memory>
#include <vector>

// Sanitizers have a malloc of their own.
#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#include <unistd.h>

#include <cstdio>

namespace {

/** Bytes of this process that are in memory. */
std::size_t residentBytes() {
  std::size_t all = 0, resident = 0;
  std::FILE* file = std::fopen("/proc/self/statm", "r");
  if (!file) return 0;
  if (std::fscanf(file, "%zu %zu", &all, &resident) != 2) resident = 0;
  std::fclose(file);
  return resident * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace

TEST_CASE("freed memory between blocks in use goes back to the system") {
  constexpr std::size_t kSize = 100'000, kCount = 1000, kKept = 100;
  std::vector<std::unique_ptr<char[]>> blocks;
  for (std::size_t i = 0; i < kCount; ++i) {
    blocks.push_back(std::make_unique<char[]>(kSize));
    std::memset(blocks.back().get(), static_cast<int>(i % 100), kSize);
  }
  for (std::size_t i = 0; i < kCount; ++i)
    if (i % kKept != kKept - 1) blocks[i].reset();
  const std::size_t before = residentBytes();
  if (before == 0) return;  // the system does not tell
  vertexq::giveBackFreedMemory();
  CHECK(residentBytes() + kSize * kCount / 2 < before);
  for (std::size_t i = kKept - 1; i < kCount; i += kKept) CHECK(blocks[i][kSize - 1] == static_cast<char>(i % 100));
}
#else
TEST_CASE("freed memory is left to another malloc") { vertexq::giveBackFreedMemory(); }
#endif
