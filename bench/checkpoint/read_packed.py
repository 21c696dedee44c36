"""Reads quantized checkpoints as others do: `read_packed.py folder...` prints the hash of every weight's values as JSON.

compressed-tensors folders are read by the package of that name (it needs torch), gptq folders by the reader below, which is
written from the format's description with numpy alone. Values are float32, row-major [outFeatures, inFeatures].
"""

import hashlib
import json
import struct
import sys
from pathlib import Path

import numpy as np

NUMPY = {"I32": "<i4", "I64": "<i8", "F16": "<f2", "F32": "<f4", "BF16": "<u2", "U8": "u1"}


def read_safetensors(path):
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        array = np.frombuffer(data[begin:end], dtype=NUMPY[entry["dtype"]]).reshape(entry["shape"])
        tensors[name] = (entry["dtype"], array)
    return tensors


def read_folder(folder):
    tensors = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors.update(read_safetensors(path))
    config = json.loads((folder / "config.json").read_text())["quantization_config"]
    return tensors, config


def compressed_tensors(tensors, config):
    import re

    import torch
    from compressed_tensors.compressors.pack_quantized.base import PackedQuantizationCompressor
    from compressed_tensors.quantization import QuantizationConfig

    def tensor(dtype, array):
        if dtype == "BF16":
            return torch.from_numpy(array.astype(np.int16)).view(torch.bfloat16)
        return torch.from_numpy(array.copy())

    groups = QuantizationConfig.model_validate(config).config_groups.values()
    for name in [name for name in tensors if name.endswith(".weight_packed")]:
        module = name[: -len(".weight_packed")]
        parts = {
            part: tensor(*tensors[f"{module}.{part}"])
            for part in ("weight_packed", "weight_scale", "weight_shape", "weight_zero_point")
            if f"{module}.{part}" in tensors
        }
        # In float32, that the package's own rounding of products to bfloat16 does not hide a difference.
        parts["weight_scale"] = parts["weight_scale"].float()
        named = [g for g in groups if any(t.startswith("re:") and re.match(t[3:], module) for t in g.targets)]
        scheme = (named or [g for g in groups if "Linear" in g.targets])[0]
        yield module, PackedQuantizationCompressor.decompress(parts, scheme)["weight"].numpy()


def fields(words, bits):
    """Numbers of `bits` bits along axis 0, lowest first, across words."""
    octets = np.ascontiguousarray(words.T).view("u1")
    digits = np.unpackbits(octets, axis=1, bitorder="little")
    count = digits.shape[1] // bits
    digits = digits[:, : count * bits].reshape(words.shape[1], count, bits)
    return (digits.astype(np.int64) << np.arange(bits)).sum(axis=2).T


def gptq(tensors, config):
    import re

    for name in [name for name in tensors if name.endswith(".qweight")]:
        module = name[: -len(".qweight")]
        bits = config["bits"]
        for pattern, own in config.get("dynamic", {}).items():
            if pattern.startswith("+:") and re.match(pattern[2:], module):
                bits = own.get("bits", bits)
        part = {p: tensors[f"{module}.{p}"][1] for p in ("qweight", "qzeros", "scales", "g_idx")}
        codes = fields(part["qweight"], bits)
        zeros = fields(np.ascontiguousarray(part["qzeros"].T), bits).T
        if config["checkpoint_format"] == "gptq":
            zeros = zeros + 1
        group = part["g_idx"]
        yield module, ((codes - zeros[group]) * part["scales"].astype(np.float64)[group]).T


def main():
    found = {}
    for folder in map(Path, sys.argv[1:]):
        tensors, config = read_folder(folder)
        reader = gptq if config["quant_method"] == "gptq" else compressed_tensors
        found[folder.name] = {
            module: {
                "shape": list(values.shape),
                "sha256": hashlib.sha256(np.ascontiguousarray(values, dtype="<f4").tobytes()).hexdigest(),
            }
            for module, values in reader(tensors, config)
        }
    json.dump(found, sys.stdout, indent=2)
    print()


main()
