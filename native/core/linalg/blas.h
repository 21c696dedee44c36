// What this library asks of OpenBLAS as a whole.
#pragma once

#include <string>

namespace vertexq {

/**
 * Pins OpenBLAS to one thread. The parallelism is ours (thread_pool.h): OpenBLAS's own workers deadlock a fork that
 * happens while they run, and their number would change the bits of a product.
 *
 * The first call of a process gives it the kernels for AVX2 or AVX-512 where it knows the processor too little to have taken any but
 * its oldest ones, unless OPENBLAS_CORETYPE says which to take. To be called before any other thread uses it.
 */
void setUpBlas();

/**
 * Counts one more thread that calls BLAS and makes sure that OpenBLAS has a buffer for each of them. It asks the system for one when a
 * call finds none free, and where there is no memory for it asks again, for ever: so they are asked for here, where there is
 * room for them. False, and not counted, where there is not. Buffers are kept, and take memory only where they are written to.
 */
bool admitBlasCaller();
/** Counts one less. */
void dismissBlasCaller();

/** To be called where a job that calls BLAS begins: admits its thread, once. Throws std::bad_alloc where there is no room. */
void requireBlasBuffer();

/** OpenBLAS's build configuration, e.g. "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH ...". */
std::string blasConfig();

/** The kernel set chosen for this CPU, e.g. "SkylakeX". Results are reproducible for equal config and core name. */
std::string blasCoreName();

}  // namespace vertexq
