// Tensors in another order of dimensions, against a walk element by element.
#include "tensors/permute.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <random>

using namespace vertexq;

namespace {

std::vector<unsigned char> walked(std::size_t bytes, const std::vector<unsigned char>& from,
                                  const std::vector<std::size_t>& dims, const std::vector<std::size_t>& order) {
  std::vector<unsigned char> to(from.size());
  std::vector<std::size_t> strides(dims.size()), at(dims.size());
  std::size_t stride = 1;
  for (std::size_t i = dims.size(); i-- > 0; stride *= dims[i]) strides[i] = stride;
  for (std::size_t element = 0; element * bytes < from.size(); ++element) {
    std::size_t rest = element, source = 0;
    for (std::size_t i = order.size(); i-- > 0; rest /= dims[order[i]])
      source += rest % dims[order[i]] * strides[order[i]];
    std::copy_n(from.begin() + static_cast<std::ptrdiff_t>(source * bytes), bytes,
                to.begin() + static_cast<std::ptrdiff_t>(element * bytes));
  }
  return to;
}

void compare(std::size_t bytes, const std::vector<std::size_t>& dims, const std::vector<std::size_t>& order,
             std::mt19937_64& random) {
  std::size_t count = bytes;
  for (const std::size_t dim : dims) count *= dim;
  std::vector<unsigned char> from(count);
  for (unsigned char& byte : from) byte = static_cast<unsigned char>(random());
  const std::vector<unsigned char> expected = walked(bytes, from, dims, order);
  for (const unsigned threads : {1u, 3u}) {
    std::vector<unsigned char> shifted(count + 1), to(count + 2, 0xaa);
    std::copy(from.begin(), from.end(), shifted.begin() + 1);
    const Permutation permutation(bytes, dims, order);
    const std::size_t half = permutation.pieces() / 2;
    permutation.run(shifted.data() + 1, to.data() + 1, half, permutation.pieces() + 5, threads, JobControl());
    permutation.run(shifted.data() + 1, to.data() + 1, 0, half, threads, JobControl());
    CHECK(std::equal(expected.begin(), expected.end(), to.begin() + 1));
    CHECK(to.front() == 0xaa);
    CHECK(to.back() == 0xaa);
  }
}

TEST_CASE("random tensors of up to six dimensions") {
  std::mt19937_64 random(5);
  for (int round = 0; round < 400; ++round) {
    std::vector<std::size_t> dims(random() % 7), order(dims.size());
    // Some of size 1, few of size 0.
    for (std::size_t& dim : dims) dim = random() % 40 == 0 ? 0 : random() % 4 == 0 ? 1 : 1 + random() % 9;
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), random);
    compare(std::size_t{1} << random() % 4, dims, order, random);
  }
}

TEST_CASE("matrices around the sizes of squares and tasks, and stacks of them") {
  std::mt19937_64 random(6);
  for (const std::size_t bytes : {1u, 2u, 4u, 8u})
    for (const std::size_t rows : {1u, 7u, 8u, 16u, 63u, 64u, 65u, 128u, 300u, 513u})
      for (const std::size_t cols : {1u, 3u, 8u, 17u, 64u, 129u, 512u}) {
        compare(bytes, {rows, cols}, {1, 0}, random);
        if (rows * cols < 20000) compare(bytes, {3, rows, cols}, {0, 2, 1}, random);
        if (rows * cols < 20000) compare(bytes, {rows, 5, cols}, {2, 1, 0}, random);
      }
}

TEST_CASE("a task that is cancelled stops") {
  std::vector<float> from(1000 * 1000), to(from.size());
  JobControl control;
  control.cancel();
  CHECK_THROWS_AS(Permutation(4, {1000, 1000}, {1, 0}).run(from.data(), to.data(), 0, 1000, 2, control), Cancelled);
}

}  // namespace
