// Codes of a few bits, side by side.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vertexq {

/** How a code becomes a field: its lowest bits. */
struct Field {
  int bits;              // 1 to 8
  int offset = 0;        // added to the code
  bool doubled = false;  // 2·code + 1 in place of the code: the zero-free level between two integers
};

inline std::size_t bytesFor(std::size_t count, int bits) { return (count * static_cast<std::size_t>(bits) + 7) / 8; }

/** 32-bit words that hold `count` codes of `bits` bits. */
inline std::size_t wordsFor(std::size_t count, int bits) { return (count * static_cast<std::size_t>(bits) + 31) / 32; }

/**
 * Field i at bit i·bits of the little-endian bytes, lowest bit first; one may cross from one byte to the next. Writes
 * bytesFor(count, bits) of them, what is left of the last one 0. `to` may lie anywhere.
 */
void packFields(const std::int8_t* codes, std::size_t count, const Field& field, void* to);

/** The codes that packFields made such fields of: those of `bits` bits and a sign, less what `doubled` adds. Reads bytesFor(count, bits) bytes. */
void unpackFields(const void* from, std::size_t count, const Field& field, std::int8_t* codes);

/** packFields, in whole words. */
void packCodes(const std::int8_t* codes, std::size_t count, int bits, int offset, void* words);

}  // namespace vertexq
