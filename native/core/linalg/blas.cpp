#include "linalg/blas.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <mutex>
#include <new>

#include "linalg/openblas.h"
#include "linalg/processor.h"

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#endif

// Declared here because a plain cblas.h (netlib's) may be found first and has none of these.
extern "C" {
void openblas_set_num_threads(int threads);
char* openblas_get_config(void);
char* openblas_get_corename(void);
#if defined(__linux__)
// Its own allocator of buffers, which no header of it declares, and a build of it could hide.
__attribute__((weak)) void* blas_memory_alloc(int procpos);
__attribute__((weak)) void blas_memory_free(void* buffer);
// What its own constructor calls to choose kernels, in builds that hold several sets.
__attribute__((weak)) void gotoblas_dynamic_init(void);
__attribute__((weak)) void gotoblas_dynamic_quit(void);
#endif
}

namespace vertexq {

#if defined(__linux__)
namespace {

/** What the largest of OpenBLAS's builds take for a buffer, and a little more. */
constexpr std::size_t kMostBufferBytes = (std::size_t{256} << 20) + (std::size_t{1} << 20);
/** Its table has 128 buffers at least; where there are so many threads memory is not scarce. */
constexpr std::size_t kMostReserved = 40;

/** Bytes of addresses that the process has. */
std::size_t addressBytes() {
  std::size_t pages = 0;
  if (std::FILE* file = std::fopen("/proc/self/statm", "r")) {
    if (std::fscanf(file, "%zu", &pages) != 1) pages = 0;
    std::fclose(file);
  }
  return pages * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

bool hasRoomFor(std::size_t bytes) {
  void* room = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (room == MAP_FAILED) return false;
  munmap(room, bytes);
  return true;
}

/** Bytes of one buffer, learnt from a call that takes the first. 0 where there is no room for it. */
std::size_t learnBufferBytes() {
  if (!hasRoomFor(kMostBufferBytes)) return 0;
  constexpr int kSize = 64;
  std::array<double, kSize * kSize> a{}, b{};
  const std::size_t before = addressBytes();
  cblas_dsyrk(CblasColMajor, CblasLower, CblasNoTrans, kSize, kSize, 1, a.data(), kSize, 0, b.data(), kSize);
  const std::size_t after = addressBytes(), taken = after > before ? after - before : 0;
  return taken >= (std::size_t{1} << 20) ? taken : kMostBufferBytes;
}

/** Where the allocator is hidden: whether there is room for as many buffers as callers, even if few have been taken so far. */
bool hasRoomForBuffers(std::size_t callers) {
  static std::size_t bufferBytes = 0;
  if (bufferBytes == 0) bufferBytes = learnBufferBytes();
  return bufferBytes > 0 && hasRoomFor((std::min(callers, kMostReserved) - 1) * bufferBytes + (std::size_t{1} << 20));
}

/** Whether OpenBLAS has so many buffers, in the end. To be called by one thread at a time. */
bool reserveBuffers(std::size_t callers) {
  static std::size_t reserved = 0, bufferBytes = kMostBufferBytes;
  if (blas_memory_alloc == nullptr || blas_memory_free == nullptr) return hasRoomForBuffers(callers);
  callers = std::min(callers, kMostReserved);
  if (reserved >= callers) return true;
  std::array<void*, kMostReserved> held;
  std::size_t count = 0;
  // Held all at once, so that each is another one.
  while (count < callers && (count < reserved || hasRoomFor(bufferBytes))) {
    const std::size_t before = addressBytes();
    held[count++] = blas_memory_alloc(0);
    const std::size_t after = addressBytes(), taken = after > before ? after - before : 0;
    // Two are asked for where one is taken: other threads may take memory meanwhile.
    if (before > 0 && taken >= (std::size_t{1} << 20)) bufferBytes = std::min(bufferBytes, 2 * taken);
  }
  for (std::size_t i = 0; i < count; ++i) blas_memory_free(held[i]);
  reserved = std::max(reserved, count);
  return reserved >= callers;
}

}  // namespace
#else
namespace {
bool reserveBuffers(std::size_t) { return true; }
}  // namespace
#endif

namespace {

/** What OpenBLAS takes for x86 processors that it does not know. */
constexpr const char* kOldestKernels = "Prescott";

std::mutex callersMutex;
std::size_t callers = 0;

}  // namespace

bool admitBlasCaller() {
  const std::lock_guard<std::mutex> lock(callersMutex);
  if (!reserveBuffers(callers + 1)) return false;
  ++callers;
  return true;
}

void dismissBlasCaller() {
  const std::lock_guard<std::mutex> lock(callersMutex);
  --callers;
}

void requireBlasBuffer() {
  static thread_local bool admitted = false;
  if (!admitted && !(admitted = admitBlasCaller())) throw std::bad_alloc();
}

#if defined(__linux__) && defined(__x86_64__)
namespace {

/**
 * OpenBLAS knows processors by their models, and on one that is younger than itself takes the kernels of a Prescott of 2004, which are
 * several times slower and whose dsymv reads beyond its operands. It chooses when it is loaded, from the environment too, but that of a
 * Worker is not the process's: so it is asked to choose once more, and told what.
 */
void chooseKernels() {
  constexpr const char* kVariable = "OPENBLAS_CORETYPE";
  if (gotoblas_dynamic_init == nullptr || gotoblas_dynamic_quit == nullptr || std::getenv(kVariable) != nullptr) return;
  const linalg::Processor has = linalg::processor();
  if (blasCoreName() != kOldestKernels || !has.avx2 || !has.fma) return;
  const bool wide = has.avx512f && has.avx512cd && has.avx512bw && has.avx512dq && has.avx512vl;
  for (const char* core : {"SkylakeX", "Haswell"}) {
    // A build may lack either.
    if ((!wide && std::string(core) == "SkylakeX") || setenv(kVariable, core, 1) != 0) continue;
    gotoblas_dynamic_quit();
    gotoblas_dynamic_init();
    unsetenv(kVariable);
    if (blasCoreName() != kOldestKernels) return;
  }
}

}  // namespace
#else
namespace {
void chooseKernels() {}
}  // namespace
#endif

void setUpBlas() {
  static std::once_flag once;
  std::call_once(once, chooseKernels);
  openblas_set_num_threads(1);
}

std::string blasConfig() { return openblas_get_config(); }

std::string blasCoreName() { return openblas_get_corename(); }

}  // namespace vertexq
