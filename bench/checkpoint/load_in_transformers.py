"""Does transformers load what `vertexq quantize --format compressed-tensors` writes, and compute with the weights we mean?

A small Llama with random weights is quantized at 4 bits; the model that transformers loads must give the very logits of the float
model whose weights are (code - zero point) * scale, unpacked here. Needs torch, transformers, accelerate and compressed-tensors:

    npm run build && python bench/checkpoint/load_in_transformers.py
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import compressed_tensors
import torch
import transformers
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

BITS = 4
VERTEXQ = Path(__file__).parents[2] / "dist" / "cli" / "main.js"


def make_model(folder):
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=1000,
        max_position_embeddings=128,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()


def unpack(words, count):
    """Signed codes along the last dimension, the lowest bits of a word first."""
    codes = (words[..., None] >> torch.arange(0, 32, BITS)) & (2**BITS - 1)
    return codes.flatten(-2)[..., :count] - 2 ** (BITS - 1)


def with_our_weights(float_folder, quantized_folder):
    model, replaced = load(float_folder), 0
    tensors = load_file(quantized_folder / "model.safetensors")
    for name, weight in model.named_parameters():
        layer = name.removesuffix(".weight")
        if f"{layer}.weight_packed" not in tensors:
            continue
        rows, columns = weight.shape
        scale = tensors[f"{layer}.weight_scale"].float()[..., None]
        codes = unpack(tensors[f"{layer}.weight_packed"], columns).view(rows, scale.shape[1], -1)
        zero_point = tensors.get(f"{layer}.weight_zero_point")
        if zero_point is not None:
            codes = codes - unpack(zero_point.T, rows).T[..., None]
        weight.data = (codes * scale).view(rows, columns)
        replaced += 1
    return model, replaced


def main():
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, ", end="")
    print(f"compressed-tensors {compressed_tensors.__version__}")
    inputs = torch.randint(0, 1000, (2, 32), generator=torch.Generator().manual_seed(1))
    same = True
    with tempfile.TemporaryDirectory() as temporary, torch.no_grad():
        source = Path(temporary) / "float"
        make_model(source)
        for grid in ("integer", "asymmetric"):
            for group_size in ("64", "channel"):
                output = Path(temporary) / f"{grid}-{group_size}"
                command = ["node", VERTEXQ, "quantize", source, "-o", output, "--format", "compressed-tensors"]
                options = ["--bits", str(BITS), "--grid", grid, "--group-size", group_size]
                subprocess.run([*command, *options], check=True, capture_output=True)
                ours, replaced = with_our_weights(source, output)
                try:
                    equal = torch.equal(load(output)(inputs).logits, ours(inputs).logits)
                    result = "equal logits" if equal else "OTHER LOGITS"
                except Exception as error:  # whatever a version does not know
                    equal, result = False, f"{type(error).__name__}: {error}"
                same = same and equal and replaced > 0
                print(f"{grid}, {group_size}: {replaced} weights, {result}")
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
