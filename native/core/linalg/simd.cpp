#include "linalg/simd.h"

#include <algorithm>
#include <cstdlib>

namespace vertexq::linalg {

namespace {

InstructionSet widest() {
#if VERTEXQ_X86
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw"))
    return InstructionSet::Avx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return InstructionSet::Avx2;
#endif
  return InstructionSet::Portable;
}

InstructionSet chosen() {
  const char* wish = std::getenv("VERTEXQ_SIMD");
  const std::string name = wish ? wish : "";
  if (name == "portable") return InstructionSet::Portable;
  if (name == "avx2") return std::min(widest(), InstructionSet::Avx2);
  return widest();
}

}  // namespace

InstructionSet instructionSet() {
  static const InstructionSet set = chosen();
  return set;
}

std::string instructionSetName(InstructionSet set) {
  switch (set) {
    case InstructionSet::Avx512:
      return "avx512";
    case InstructionSet::Avx2:
      return "avx2";
    case InstructionSet::Portable:
      break;
  }
  return "portable";
}

}  // namespace vertexq::linalg
