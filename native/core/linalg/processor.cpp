#include "linalg/processor.h"

#include "linalg/simd.h"

#if VERTEXQ_X86
#include <cpuid.h>
#endif

namespace vertexq::linalg {

#if VERTEXQ_X86

namespace {

bool bit(unsigned value, int index) { return ((value >> index) & 1) != 0; }

/** Which registers the operating system saves when it switches threads. */
unsigned savedRegisters() {
  unsigned low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

}  // namespace

Processor processor() {
  constexpr unsigned kAvxState = 0x06, kAvx512State = 0xe6;
  Processor has;
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return has;
  const bool fma = bit(c, 12), saves = bit(c, 27), avx = bit(c, 28);
  if (!saves || !avx || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return has;
  const unsigned saved = savedRegisters();
  if ((saved & kAvxState) != kAvxState) return has;
  has.fma = fma;
  has.avx2 = bit(b, 5);
  if ((saved & kAvx512State) != kAvx512State) return has;
  has.avx512f = bit(b, 16);
  has.avx512dq = bit(b, 17);
  has.avx512cd = bit(b, 28);
  has.avx512bw = bit(b, 30);
  has.avx512vl = bit(b, 31);
  return has;
}

#else

Processor processor() { return {}; }

#endif

}  // namespace vertexq::linalg
