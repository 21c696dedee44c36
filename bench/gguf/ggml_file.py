"""A GGUF file as ggml's own quantizer (libgguf) makes it: python ggml_file.py FLOAT QUANTIZED IMATRIX OUT

The types are those of QUANTIZED, of which OUT is a copy with other blocks; the numbers those of FLOAT; IMATRIX is an importance matrix (.dat)."""

import shutil
import struct
import sys

import libgguf
import numpy as np
from gguf import GGUFReader
from gguf.constants import GGMLQuantizationType as Type
from gguf.quants import dequantize


def importance(path):
    """The sums of squares of each tensor's inputs: count; of each the name, how often it was called, the numbers."""
    data, at, entries = open(path, "rb").read(), 4, {}
    for _ in range(struct.unpack_from("<i", data)[0]):
        (length,) = struct.unpack_from("<i", data, at)
        name = data[at + 4 : at + 4 + length].decode()
        _, count = struct.unpack_from("<ii", data, at + 4 + length)
        at += 12 + length
        entries[name] = np.frombuffer(data, "<f4", count, at)
        at += 4 * count
    return entries


source, made, matrix, out = sys.argv[1:]
shutil.copyfile(made, out)
weights = {tensor.name: tensor for tensor in GGUFReader(source).tensors}
counts = importance(matrix)
with open(out, "r+b") as file:
    for tensor in GGUFReader(made).tensors:
        kind = Type(tensor.tensor_type)
        if kind in (Type.F32, Type.F16, Type.BF16):
            continue
        given = weights[tensor.name]
        rows = dequantize(given.data, given.tensor_type).astype("<f4").reshape(-1, int(given.shape[0]))
        blocks = libgguf.quantize_rows(np.ascontiguousarray(rows), int(kind), imatrix=counts.get(tensor.name))
        blocks = np.ascontiguousarray(blocks)
        assert blocks.nbytes == tensor.n_bytes, tensor.name
        file.seek(int(tensor.data_offset))
        file.write(blocks.tobytes())
