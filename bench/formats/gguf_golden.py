"""Blocks of random bytes, and what the gguf package (PyPI, 0.19.0) reads in them: python gguf_golden.py > test/containers/gguf/golden.json"""

import json

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

# Where a block has halves: random bits would be infinite or no numbers now and then.
HALVES = {
    "F32": [], "F16": [0], "BF16": [], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q6_K": [208],
}  # fmt: skip

random = np.random.default_rng(18)
cases = {}
for name, places in HALVES.items():
    kind = GGMLQuantizationType[name]
    _, size = GGML_QUANT_SIZES[kind]
    count = 3 if size > 4 else 64
    rows = random.integers(0, 256, (count, size), dtype=np.uint8)
    for at in places:
        halves = random.normal(0, 0.02, count).astype(np.float16)
        halves[0] = 3e-6
        rows[:, at : at + 2] = halves.view(np.uint8).reshape(count, 2)
    if name in ("F32", "BF16"):
        values = random.normal(0, 1, count).astype(np.float32).view(np.uint8).reshape(count, 4)
        rows = np.ascontiguousarray(values if name == "F32" else values[:, 2:])
    cases[name] = {"bytes": rows.tobytes().hex(), "floats": dequantize(rows, kind).astype("<f4").tobytes().hex()}
print(json.dumps(cases))
