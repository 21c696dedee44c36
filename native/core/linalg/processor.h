// What the processor and its operating system offer.
#pragma once

namespace vertexq::linalg {

/** Instruction sets that our kernels or OpenBLAS's are compiled for. All false elsewhere than on x86. */
struct Processor {
  bool avx2 = false, fma = false;
  bool avx512f = false, avx512cd = false, avx512bw = false, avx512dq = false, avx512vl = false;
};

/**
 * From CPUID and XGETBV (Intel's Software Developer's Manual, volume 1, 14.3 and 15.2). Not __builtin_cpu_supports: what it calls is
 * an empty function in the runtime of some compilers.
 */
Processor processor();

}  // namespace vertexq::linalg
