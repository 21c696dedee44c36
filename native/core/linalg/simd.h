// Kernels compiled for several instruction sets, chosen when the program runs.
#pragma once

#include <string>

/**
 * A kernel is a plain loop in an always-inlined template, with one thin function per instruction set around it:
 *
 *     template <typename Real> VERTEXQ_INLINE void scaleBody(std::size_t n, Real a, Real* x) { ... }
 *     VERTEXQ_AVX512 void scaleAvx512(std::size_t n, double a, double* x) { scaleBody(n, a, x); }
 *
 * and a caller that takes forInstructionSet() of them. The compiler vectorises the body anew for each. Never -march=native: what
 * is built here runs on other machines.
 */
#if (defined(__x86_64__) || defined(__i386__)) && (defined(__GNUC__) || defined(__clang__))
#define VERTEXQ_X86 1
#define VERTEXQ_AVX2 __attribute__((target("avx2,fma")))
#if defined(__clang__)
#define VERTEXQ_AVX512 __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")))
#else
#define VERTEXQ_AVX512 __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma,prefer-vector-width=512")))
#endif
#else
#define VERTEXQ_X86 0
#define VERTEXQ_AVX2
#define VERTEXQ_AVX512
#endif

/** Before a loop: four turns at a time. */
#if defined(__clang__)
#define VERTEXQ_UNROLL _Pragma("unroll 4")
#elif defined(__GNUC__)
#define VERTEXQ_UNROLL _Pragma("GCC unroll 4")
#else
#define VERTEXQ_UNROLL
#endif

/** Asks for the cache line at an address, soon to be read. */
#if defined(__GNUC__) || defined(__clang__)
#define VERTEXQ_FETCH(address) __builtin_prefetch(address, 0, 2)
#else
#define VERTEXQ_FETCH(address) (void)(address)
#endif

#if defined(__GNUC__) || defined(__clang__)
#define VERTEXQ_INLINE inline __attribute__((always_inline))
#define VERTEXQ_RESTRICT __restrict__
#elif defined(_MSC_VER)
#define VERTEXQ_INLINE __forceinline
#define VERTEXQ_RESTRICT __restrict
#else
#define VERTEXQ_INLINE inline
#define VERTEXQ_RESTRICT
#endif

namespace vertexq::linalg {

enum class InstructionSet { Portable, Avx2, Avx512 };

/**
 * The widest set that this CPU and its operating system offer. VERTEXQ_SIMD=portable or avx2 in the environment, read once,
 * asks for less: tests run every path with it.
 */
InstructionSet instructionSet();

std::string instructionSetName(InstructionSet set);

/** Of a kernel's functions the one for instructionSet(). */
template <typename Kernel>
Kernel* forInstructionSet(Kernel* avx512, Kernel* avx2, Kernel* portable) {
  switch (instructionSet()) {
    case InstructionSet::Avx512:
      return avx512;
    case InstructionSet::Avx2:
      return avx2;
    case InstructionSet::Portable:
      break;
  }
  return portable;
}

}  // namespace vertexq::linalg
