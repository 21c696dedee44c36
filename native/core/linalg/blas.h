// What this library asks of OpenBLAS as a whole.
#pragma once

#include <string>

namespace vertexq {

/**
 * Pins OpenBLAS to one thread. The parallelism is ours (thread_pool.h): OpenBLAS's own workers deadlock a fork that
 * happens while they run, and their number would change the bits of a product.
 */
void pinBlasToOneThread();

/** OpenBLAS's build configuration, e.g. "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH ...". */
std::string blasConfig();

/** The kernel set chosen for this CPU, e.g. "SkylakeX". Results are reproducible for equal config and core name. */
std::string blasCoreName();

}  // namespace vertexq
