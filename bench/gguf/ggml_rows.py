"""What ggml's own quantizer (libgguf) makes of a layer: python ggml_rows.py FOLDER OUT IN TYPE…

Reads weight.f32 and importance.f32 there (mean squares of the inputs); writes TYPE.plain.f32 and TYPE.imatrix.f32, the values of its blocks."""

import sys
from pathlib import Path

import libgguf
import numpy as np
from gguf.constants import GGMLQuantizationType

folder, rows, cols = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
weight = np.fromfile(folder / "weight.f32", "<f4").reshape(rows, cols)
importance = np.fromfile(folder / "importance.f32", "<f4")
for name in sys.argv[4:]:
    kind = int(GGMLQuantizationType[name])
    for suffix, matrix in (("plain", None), ("imatrix", importance)):
        blocks = libgguf.quantize_rows(weight, kind, imatrix=matrix)
        libgguf.dequantize_rows(blocks, kind).astype("<f4").tofile(folder / f"{name}.{suffix}.f32")
