"""Makes test/decoders/goldens.json: logits of small language models by transformers, in float32.

    pip install torch transformers safetensors
    python bench/language/decoder_goldens.py test/decoders/goldens.json

Weights follow from a tensor's name (`values`, and `weightsOf` in test/decoders/tiny.ts), and all are numbers of bfloat16, so that
files need not be kept and any float type holds them.
"""

import json
import math
import sys
import tempfile
import zlib

import numpy as np
import torch
import transformers
from safetensors.numpy import load_file, save_file

LENGTH = 12
COMMON = dict(
    vocab_size=40,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=64,
    bos_token_id=1,
    eos_token_id=2,
    pad_token_id=None,
)
SHORT, LONG = [1.0, 1.1, 1.3, 1.7], [2.0, 3.0, 5.0, 9.0]


def rope(**scaling):
    return {"rope_parameters": {"rope_theta": 5000.0, **scaling}}


CASES = {
    "llama": ("LlamaForCausalLM", {}),
    "llama, biases and a head of another size, tied": (
        "LlamaForCausalLM",
        dict(attention_bias=True, mlp_bias=True, head_dim=12, tie_word_embeddings=True, hidden_act="gelu"),
    ),
    "llama, linear scaling": ("LlamaForCausalLM", rope(rope_type="linear", factor=3.0)),
    "llama, llama3 scaling": (
        "LlamaForCausalLM",
        rope(
            rope_type="llama3",
            factor=8.0,
            low_freq_factor=1.0,
            high_freq_factor=4.0,
            original_max_position_embeddings=16,
        ),
    ),
    "llama, yarn scaling": (
        "LlamaForCausalLM",
        rope(rope_type="yarn", factor=4.0, original_max_position_embeddings=16),
    ),
    "llama, dynamic scaling": ("LlamaForCausalLM", rope(rope_type="dynamic", factor=2.0)),
    "mistral, window": ("MistralForCausalLM", dict(sliding_window=5)),
    "mistral": ("MistralForCausalLM", dict(sliding_window=None, head_dim=16, rms_norm_eps=1e-3)),
    "qwen2": ("Qwen2ForCausalLM", dict(use_sliding_window=False)),
    "qwen2, window from the second block on": (
        "Qwen2ForCausalLM",
        dict(use_sliding_window=True, sliding_window=4, max_window_layers=1, tie_word_embeddings=True),
    ),
    "qwen3": ("Qwen3ForCausalLM", dict(head_dim=16)),
    "qwen3, biases, yarn": (
        "Qwen3ForCausalLM",
        dict(
            head_dim=8,
            attention_bias=True,
            **rope(rope_type="yarn", factor=2.0, original_max_position_embeddings=32, beta_fast=16.0, beta_slow=2.0),
        ),
    ),
    "gemma2": (
        "Gemma2ForCausalLM",
        dict(head_dim=16, query_pre_attn_scalar=24, sliding_window=4, attn_logit_softcapping=3.0, final_logit_softcapping=2.0),
    ),
    "gemma2, no caps": (
        "Gemma2ForCausalLM",
        dict(head_dim=8, query_pre_attn_scalar=8, sliding_window=64, attn_logit_softcapping=None, final_logit_softcapping=None),
    ),
    "gemma3": (
        "Gemma3ForCausalLM",
        dict(
            head_dim=16,
            num_hidden_layers=7,
            query_pre_attn_scalar=20,
            sliding_window=4,
            rope_parameters={
                "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 20000.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 300.0},
            },
        ),
    ),
    "phi3": ("Phi3ForCausalLM", dict(sliding_window=None)),
    "phi3, part of each head rotated, longrope, window": (
        "Phi3ForCausalLM",
        dict(
            num_attention_heads=2,
            sliding_window=6,
            original_max_position_embeddings=32,
            rope_parameters={
                "rope_type": "longrope",
                "rope_theta": 10000.0,
                "short_factor": SHORT,
                "long_factor": LONG,
                "partial_rotary_factor": 0.5,
                "original_max_position_embeddings": 32,
            },
        ),
    ),
    "phi3, longrope beyond the first length": (
        "Phi3ForCausalLM",
        dict(
            sliding_window=None,
            original_max_position_embeddings=8,
            rope_parameters={
                "rope_type": "longrope",
                "rope_theta": 10000.0,
                "short_factor": SHORT,
                "long_factor": LONG,
                "original_max_position_embeddings": 8,
            },
        ),
    ),
    "smollm3": ("SmolLM3ForCausalLM", dict(no_rope_layers=[1, 0, 1])),
    "smollm3, windows, biases": (
        "SmolLM3ForCausalLM",
        dict(
            no_rope_layer_interval=2,
            use_sliding_window=True,
            sliding_window=4,
            attention_bias=True,
            mlp_bias=True,
            tie_word_embeddings=False,
        ),
    ),
    "olmo2": ("Olmo2ForCausalLM", {}),
    "olmo2, biases": ("Olmo2ForCausalLM", dict(attention_bias=True, rms_norm_eps=1e-4, tie_word_embeddings=True)),
    "granite": (
        "GraniteForCausalLM",
        dict(attention_multiplier=0.2, embedding_multiplier=3.0, residual_multiplier=0.4, logits_scaling=2.5),
    ),
    "granite, biases": (
        "GraniteForCausalLM",
        dict(attention_bias=True, mlp_bias=True, attention_multiplier=0.35, tie_word_embeddings=True),
    ),
    "gpt2": ("GPT2LMHeadModel", dict(n_embd=32, n_layer=3, n_head=4, n_positions=16, vocab_size=40)),
    "gpt2, other sizes": (
        "GPT2LMHeadModel",
        dict(
            n_embd=24,
            n_layer=2,
            n_head=2,
            n_positions=16,
            n_inner=40,
            vocab_size=40,
            activation_function="relu",
            layer_norm_epsilon=1e-3,
            tie_word_embeddings=False,
        ),
    ),
    "mixtral": ("MixtralForCausalLM", dict(num_local_experts=4, num_experts_per_tok=2, sliding_window=None)),
    "mixtral, window": (
        "MixtralForCausalLM",
        dict(num_local_experts=5, num_experts_per_tok=3, sliding_window=5, tie_word_embeddings=True),
    ),
    "qwen3 of experts": (
        "Qwen3MoeForCausalLM",
        dict(
            head_dim=16,
            num_experts=6,
            num_experts_per_tok=2,
            moe_intermediate_size=24,
            norm_topk_prob=True,
            mlp_only_layers=[1],
        ),
    ),
    "qwen3 of experts, shares as they are": (
        "Qwen3MoeForCausalLM",
        dict(
            head_dim=8,
            num_experts=4,
            num_experts_per_tok=3,
            moe_intermediate_size=16,
            norm_topk_prob=False,
            decoder_sparse_step=2,
            attention_bias=True,
        ),
    ),
}


def values(name, shape):
    """Whole numbers of 128ths or 256ths that follow from the name: what multiplies a norm lies around 1, what is added is small."""
    count = math.prod(shape)
    seed = np.uint32(zlib.crc32(name.encode()))
    mixed = np.arange(count, dtype=np.uint32) * np.uint32(2654435761) + seed
    mixed = (mixed ^ (mixed >> np.uint32(15))) * np.uint32(2246822519)
    mixed = mixed ^ (mixed >> np.uint32(13))
    if len(shape) == 1 and name.endswith("weight"):
        return ((mixed % np.uint32(127)).astype(np.float32) / 128 + np.float32(65 / 128)).reshape(shape)
    return ((mixed % np.uint32(255)).astype(np.float32) / 256 - np.float32(127 / 256)).reshape(shape)


def golden(name, architecture, options):
    kind = getattr(transformers, architecture)
    given = options if architecture == "GPT2LMHeadModel" else {**COMMON, **options}
    config = kind.config_class(**given)
    config.architectures = [architecture]
    config._attn_implementation = "eager"
    with tempfile.TemporaryDirectory() as folder:
        kind(config).save_pretrained(folder)
        file = f"{folder}/model.safetensors"
        shapes = {key: list(value.shape) for key, value in load_file(file).items()}
        save_file({key: values(key, shape) for key, shape in shapes.items()}, file, metadata={"format": "pt"})
        model, found = kind.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
        )
        assert not any(found[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), found
        with open(f"{folder}/config.json") as stream:
            written = json.load(stream)
    ids = [[(7 * i * i + 3 * i + 5 * row) % 40 for i in range(LENGTH)] for row in range(2)]
    with torch.no_grad():
        logits = model.eval()(torch.tensor(ids), use_cache=False).logits
    print(f"{name}: {logits.abs().max():.3g}", file=sys.stderr)
    return {
        "name": name,
        "config": written,
        "tensors": shapes,
        "ids": ids,
        "logits": [[[float(f"{x:.6g}") for x in token] for token in row] for row in logits.tolist()],
    }


if __name__ == "__main__":
    made = [golden(name, *case) for name, case in CASES.items()]
    with open(sys.argv[1], "w") as stream:
        json.dump({"transformers": transformers.__version__, "torch": torch.__version__.split("+")[0], "cases": made}, stream, separators=(",", ":"))
        stream.write("\n")
