// As much of a test framework as these tests need: failed checks are printed and counted.
#pragma once

#include <cstdio>
#include <random>

inline int& failures() {
  static int count = 0;
  return count;
}

#define CHECK(condition)                                                           \
  do {                                                                             \
    if (!(condition)) {                                                            \
      std::fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
      ++failures();                                                                \
    }                                                                              \
  } while (false)

/** Checks a <= b and prints both when not. */
#define CHECK_AT_MOST(a, b)                                                                                   \
  do {                                                                                                        \
    const double left_ = (a), right_ = (b);                                                                   \
    if (!(left_ <= right_)) {                                                                                 \
      std::fprintf(stderr, "%s:%d: failed: %s = %g <= %s = %g\n", __FILE__, __LINE__, #a, left_, #b, right_); \
      ++failures();                                                                                           \
    }                                                                                                         \
  } while (false)

template <typename Exception, typename Call>
bool throws(Call call) {
  try {
    call();
  } catch (const Exception&) {
    return true;
  }
  return false;
}

inline int report() { return failures() == 0 ? 0 : 1; }
