#include "parallel/freed_memory.h"

#include <algorithm>
#include <climits>
#include <cstdlib>
#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace vertexq {

void giveBackFreedMemory() {
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
}

void keepFreedMemory(std::size_t bytes) {
#if defined(__GLIBC__)
  // Told one of them, glibc no longer fits the other to what is freed; this is the largest that it would come to.
  constexpr int kLargestKept = 32 << 20;
  mallopt(M_MMAP_THRESHOLD, kLargestKept);
  mallopt(M_TRIM_THRESHOLD, static_cast<int>(std::min<std::size_t>(bytes, INT_MAX)));
#else
  (void)bytes;
#endif
}

}  // namespace vertexq
