// Memory that is free, and the process still holds.
#pragma once

namespace vertexq {

/**
 * Gives back to the system what malloc keeps of freed memory. glibc's raises the size from which a block is given back at once to that of the
 * largest ones freed, up to 32 MiB: matrices of many sizes, of ours and of onnxruntime's, then leave holes in which the next do not fit. Nothing
 * where malloc is another's.
 */
void giveBackFreedMemory();

}  // namespace vertexq
