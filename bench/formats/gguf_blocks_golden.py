"""Blocks of random bytes of every type that weights become, and what the gguf package (PyPI, 0.19.0) and ggml itself (libgguf) read in
them: python gguf_blocks_golden.py > test/encodings/gguf/golden.json. With a number: compares the two on so many blocks a type."""

import json
import sys

import libgguf
import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

# Where a block has halves: random bits would be infinite or no numbers now and then.
HALVES = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2],
    "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0], "IQ4_XS": [0],
}  # fmt: skip


def blocks(name, count, random):
    _, size = GGML_QUANT_SIZES[GGMLQuantizationType[name]]
    rows = random.integers(0, 256, (count, size), dtype=np.uint8)
    for at in HALVES[name]:
        halves = random.normal(0, 0.02, count).astype(np.float16)
        halves[0] = 3e-6
        rows[:, at : at + 2] = halves.view(np.uint8).reshape(count, 2)
    return rows


def values(name, rows):
    kind = GGMLQuantizationType[name]
    ours = dequantize(rows, kind).astype("<f4")
    native = libgguf.dequantize_rows(rows, int(kind)).astype("<f4").reshape(ours.shape)
    assert np.array_equal(ours, native), name
    return ours


if __name__ == "__main__":
    random = np.random.default_rng(20)
    if len(sys.argv) > 1:
        for name in HALVES:
            values(name, blocks(name, int(sys.argv[1]), random))
            print(name, "agrees")
    else:
        cases = {}
        for name in HALVES:
            rows = blocks(name, 2, random)
            cases[name] = {"bytes": rows.tobytes().hex(), "floats": values(name, rows).tobytes().hex()}
        print(json.dumps(cases))
