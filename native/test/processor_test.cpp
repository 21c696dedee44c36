// What CPUID tells, next to what the compiler's runtime makes of it.
#include "linalg/processor.h"

#include <doctest/doctest.h>

#include "linalg/simd.h"

using namespace vertexq::linalg;

// Clang's builtin is what processor() is there to do without.
#if VERTEXQ_X86 && !defined(__clang__)
TEST_CASE("the instruction sets are those that the compiler's runtime finds") {
  __builtin_cpu_init();
  const Processor has = processor();
  CHECK(has.avx2 == (__builtin_cpu_supports("avx2") != 0));
  CHECK(has.fma == (__builtin_cpu_supports("fma") != 0));
  CHECK(has.avx512f == (__builtin_cpu_supports("avx512f") != 0));
  CHECK(has.avx512cd == (__builtin_cpu_supports("avx512cd") != 0));
  CHECK(has.avx512bw == (__builtin_cpu_supports("avx512bw") != 0));
  CHECK(has.avx512dq == (__builtin_cpu_supports("avx512dq") != 0));
  CHECK(has.avx512vl == (__builtin_cpu_supports("avx512vl") != 0));
}
#endif

TEST_CASE("AVX-512 comes with AVX2") {
  const Processor has = processor();
  CHECK((!has.avx512f || has.avx2));
}
