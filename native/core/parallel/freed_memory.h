// Memory that is free, and the process still holds.
#pragma once

#include <cstddef>

namespace vertexq {

/**
 * Gives back to the system what malloc keeps of freed memory. glibc's raises the size from which a block is given back at once to that of the
 * largest ones freed, up to 32 MiB: matrices of many sizes, of ours and of onnxruntime's, then leave holes in which the next do not fit. Nothing
 * where malloc is another's.
 */
void giveBackFreedMemory();

/**
 * Has malloc keep this many freed bytes for the next that asks, for the whole of the process and until told otherwise; giveBackFreedMemory gives
 * them back, too. A network's run frees what it took for each batch, and the next one wants it again: from the system each page comes cleared, on a
 * page fault of its own, a sixth of the time that a language model's forward takes. Nothing where malloc is another's.
 */
void keepFreedMemory(std::size_t bytes);

}  // namespace vertexq
