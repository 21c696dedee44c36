#include "linalg/simd.h"

#include <algorithm>
#include <cstdlib>

#include "linalg/processor.h"

namespace vertexq::linalg {

namespace {

InstructionSet widest() {
  const Processor has = processor();
  if (has.avx512f && has.avx512vl && has.avx512dq && has.avx512bw) return InstructionSet::Avx512;
  return has.avx2 && has.fma ? InstructionSet::Avx2 : InstructionSet::Portable;
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
