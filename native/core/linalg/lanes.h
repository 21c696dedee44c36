// A few vector operations written once for every width.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "linalg/simd.h"

// The convention of a call with vector arguments never matters here: every function that has one is inlined.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi"
#endif

namespace vertexq::linalg {

/**
 * Lanes<Real, Bytes>::type is a vector of Bytes / sizeof(Real) numbers, by the compiler's vector extension, which GCC and
 * Clang lower to any instruction set; elsewhere, and for Bytes = sizeof(Real), it is one number.
 */
template <typename Real, std::size_t Bytes>
struct Lanes {
#if defined(__GNUC__) || defined(__clang__)
  using type __attribute__((vector_size(Bytes))) = Real;
#else
  using type = Real;
#endif
  static constexpr std::size_t count = sizeof(type) / sizeof(Real);
};

template <typename V, typename Real>
VERTEXQ_INLINE V load(const Real* from) {
  V v;
  std::memcpy(&v, from, sizeof(V));
  return v;
}

template <typename V, typename Real>
VERTEXQ_INLINE void store(Real* to, const V& v) {
  std::memcpy(to, &v, sizeof(V));
}

template <typename V, typename Real>
VERTEXQ_INLINE V broadcast(Real value) {
  return V{} + value;
}

#if defined(__GNUC__) || defined(__clang__)

/** Numbers of half the size as those of a vector of as many. */
template <typename D, typename V>
VERTEXQ_INLINE D widened(const V& v) {
  return __builtin_convertvector(v, D);
}

/** And back. */
template <typename V, typename D>
VERTEXQ_INLINE V narrowed(const D& v) {
  return __builtin_convertvector(v, V);
}

/** The bits of a vector, as integers of its lanes' size. */
template <typename V>
using Bits = decltype(V{} < V{});

template <typename V>
VERTEXQ_INLINE Bits<V> bitsOf(const V& v) {
  return Bits<V>(v);
}

template <typename V>
VERTEXQ_INLINE V ofBits(const Bits<V>& bits) {
  return V(bits);
}

/** Whether any bit is set. */
template <typename V>
VERTEXQ_INLINE bool isAny(const Bits<V>& bits) {
  constexpr std::size_t n = sizeof(V) / sizeof(std::int64_t);
  std::int64_t each[n];
  store(each, bits);
  for (std::size_t width = n / 2; width > 0; width /= 2)
    for (std::size_t i = 0; i < width; ++i) each[i] |= each[i + width];
  return each[0] != 0;
}

/** The sign bits alone. */
template <typename V>
VERTEXQ_INLINE Bits<V> signBits() {
  return Bits<V>(-V{});
}

template <typename V>
VERTEXQ_INLINE V magnitude(const V& v) {
  return V(Bits<V>(v) & ~signBits<V>());
}

/** v, its sign changed where z is negative. */
template <typename V>
VERTEXQ_INLINE V signedBy(const V& v, const V& z) {
  return V(Bits<V>(v) ^ (Bits<V>(z) & signBits<V>()));
}

#else

template <typename D, typename V>
VERTEXQ_INLINE D widened(const V& v) {
  return v;
}

template <typename V, typename D>
VERTEXQ_INLINE V narrowed(const D& v) {
  return static_cast<V>(v);
}

template <typename V>
using Bits = std::conditional_t<sizeof(V) == 8, std::int64_t, std::int32_t>;

template <typename V>
VERTEXQ_INLINE Bits<V> bitsOf(const V& v) {
  Bits<V> bits;
  std::memcpy(&bits, &v, sizeof bits);
  return bits;
}

template <typename V>
VERTEXQ_INLINE V ofBits(const Bits<V>& bits) {
  V v;
  std::memcpy(&v, &bits, sizeof v);
  return v;
}

template <typename V>
VERTEXQ_INLINE bool isAny(const Bits<V>& bits) {
  return bits != 0;
}

template <typename V>
VERTEXQ_INLINE V magnitude(const V& v) {
  return std::abs(v);
}

template <typename V>
VERTEXQ_INLINE V signedBy(const V& v, const V& z) {
  return std::signbit(z) ? -v : v;
}

#endif

}  // namespace vertexq::linalg
