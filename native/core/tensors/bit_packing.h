// Codes of a few bits, side by side.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vertexq {

/** 32-bit words that hold `count` codes of `bits` bits. */
inline std::size_t wordsFor(std::size_t count, int bits) { return (count * static_cast<std::size_t>(bits) + 31) / 32; }

/**
 * Code i plus `offset`, which lies in [0, 2^bits), at bit i·bits of the little-endian words, lowest bit first; a code may cross
 * from one word to the next. What is left of the last word is 0. bits: 1 to 8. `words` may lie anywhere.
 */
void packCodes(const std::int8_t* codes, std::size_t count, int bits, int offset, void* words);

}  // namespace vertexq
