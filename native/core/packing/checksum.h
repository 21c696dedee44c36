// A checksum that keeps up with memory: tells damaged or missing bytes, not a forger.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vertexq {

/** XXH64 of the bytes with seed 0 (Y. Collet's specification). About 10 GB/s. */
std::uint64_t checksum(const void* bytes, std::size_t count);

}  // namespace vertexq
