// The main function of every test program: BLAS set up as in the addon.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include "linalg/blas.h"

int main(int argc, char** argv) {
  vertexq::setUpBlas();
  return doctest::Context(argc, argv).run();
}
