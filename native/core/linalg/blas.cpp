#include "linalg/blas.h"

// Declared here because a plain cblas.h (netlib's) may be found first and has none of these.
extern "C" {
void openblas_set_num_threads(int threads);
char* openblas_get_config(void);
char* openblas_get_corename(void);
}

namespace vertexq {

void pinBlasToOneThread() { openblas_set_num_threads(1); }

std::string blasConfig() { return openblas_get_config(); }

std::string blasCoreName() { return openblas_get_corename(); }

}  // namespace vertexq
