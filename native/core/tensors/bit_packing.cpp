#include "tensors/bit_packing.h"

#include <cstring>

namespace vertexq {

namespace {

constexpr std::uint64_t kEveryByte = 0x0101010101010101u;

/** Eight codes, a byte each, into 8·bits bits: pairs, then pairs of pairs, then both halves move together. */
template <int bits>
std::uint64_t together(std::uint64_t bytes) {
  constexpr std::uint64_t one = ((std::uint64_t{1} << bits) - 1) * 0x0001000100010001u;
  constexpr std::uint64_t two = ((std::uint64_t{1} << 2 * bits) - 1) * 0x0000000100000001u;
  constexpr std::uint64_t four = (std::uint64_t{1} << 4 * bits) - 1;
  const std::uint64_t pairs = (bytes & one) | (bytes & one << 8) >> (8 - bits);
  const std::uint64_t quads = (pairs & two) | (pairs & two << 16) >> (16 - 2 * bits);
  return (quads & four) | (quads & four << 32) >> (32 - 4 * bits);
}

/** Bytes are added without a carry between them: their low seven bits, then the top one. */
std::uint64_t sum(std::uint64_t a, std::uint64_t b) {
  constexpr std::uint64_t low = 0x7f * kEveryByte;
  return ((a & low) + (b & low)) ^ ((a ^ b) & ~low);
}

template <int bits>
void pack(const std::int8_t* codes, std::size_t count, const Field& field, unsigned char* to) {
  const std::uint64_t shift = static_cast<std::uint8_t>(field.offset) * kEveryByte;
  const auto eight = [&](std::size_t i, std::size_t length) {
    std::uint64_t bytes = 0;
    std::memcpy(&bytes, codes + i, length);
    if (field.doubled) bytes = (bytes << 1 & 0xfe * kEveryByte) | kEveryByte;
    bytes = sum(bytes, shift);
    return length == 8 ? bytes : bytes & ((std::uint64_t{1} << 8 * length) - 1);
  };
  std::size_t i = 0;
  for (; i + 8 <= count; i += 8, to += bits) {
    const std::uint64_t packed = together<bits>(eight(i, 8));
    std::memcpy(to, &packed, bits);
  }
  if (i == count) return;
  const std::uint64_t packed = together<bits>(eight(i, count - i));
  std::memcpy(to, &packed, bytesFor(count - i, bits));
}

/** The inverse of together. */
template <int bits>
std::uint64_t apart(std::uint64_t packed) {
  constexpr std::uint64_t one = ((std::uint64_t{1} << bits) - 1) * 0x0001000100010001u;
  constexpr std::uint64_t two = ((std::uint64_t{1} << 2 * bits) - 1) * 0x0000000100000001u;
  constexpr std::uint64_t four = (std::uint64_t{1} << 4 * bits) - 1;
  const std::uint64_t quads = (packed & four) | (packed >> 4 * bits & four) << 32;
  const std::uint64_t pairs = (quads & two) | (quads & two << 2 * bits) << (16 - 2 * bits);
  return (pairs & one) | (pairs & one << bits) << (8 - bits);
}

template <int bits>
void unpack(const unsigned char* from, std::size_t count, const Field& field, std::int8_t* codes) {
  constexpr std::uint64_t mask = ((1u << bits) - 1) * kEveryByte, sign = (1u << (bits - 1)) * kEveryByte;
  const std::uint64_t shift = static_cast<std::uint8_t>(-field.offset) * kEveryByte;
  const auto eight = [&](std::size_t length) {
    std::uint64_t packed = 0;
    std::memcpy(&packed, from, length);
    // The lowest bits of a code, with its sign in all bits above them.
    std::uint64_t bytes = sum((sum(apart<bits>(packed), shift) & mask) ^ sign, (256 - (1u << (bits - 1))) * kEveryByte);
    if (field.doubled) bytes = (bytes >> 1 & 0x7f * kEveryByte) | (bytes & 0x80 * kEveryByte);
    return bytes;
  };
  std::size_t i = 0;
  for (; i + 8 <= count; i += 8, from += bits) {
    const std::uint64_t bytes = eight(bits);
    std::memcpy(codes + i, &bytes, 8);
  }
  if (i == count) return;
  const std::uint64_t bytes = eight(bytesFor(count - i, bits));
  std::memcpy(codes + i, &bytes, count - i);
}

using Unpack = void(const unsigned char*, std::size_t, const Field&, std::int8_t*);
constexpr Unpack* kUnpacks[] = {unpack<1>, unpack<2>, unpack<3>, unpack<4>, unpack<5>, unpack<6>, unpack<7>, unpack<8>};

using Pack = void(const std::int8_t*, std::size_t, const Field&, unsigned char*);
constexpr Pack* kPacks[] = {pack<1>, pack<2>, pack<3>, pack<4>, pack<5>, pack<6>, pack<7>, pack<8>};

}  // namespace

void packFields(const std::int8_t* codes, std::size_t count, const Field& field, void* to) {
  kPacks[field.bits - 1](codes, count, field, static_cast<unsigned char*>(to));
}

void unpackFields(const void* from, std::size_t count, const Field& field, std::int8_t* codes) {
  kUnpacks[field.bits - 1](static_cast<const unsigned char*>(from), count, field, codes);
}

void packCodes(const std::int8_t* codes, std::size_t count, int bits, int offset, void* words) {
  const std::size_t bytes = 4 * wordsFor(count, bits);
  if (bytes > 0) std::memset(static_cast<unsigned char*>(words) + bytes - 4, 0, 4);
  packFields(codes, count, {bits, offset}, words);
}

}  // namespace vertexq
