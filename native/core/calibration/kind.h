// What is kept of calibration data.
#pragma once

namespace vertexq {

/** Enough for one family of methods (method/methods.h). */
enum class RowsKind {
  Rows,   // R with RᵀR = X̃ᵀX̃
  Gram,   // X̃ᵀX̃
  Pairs,  // X̃ᵀX̃, X̃ᵀX and XᵀX: for error correction
};

}  // namespace vertexq
