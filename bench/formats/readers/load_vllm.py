"""Loads checkpoints in vLLM, on the CPU. A job a line: {"folder", "reference"}; the answer is how far the logits (from the
probabilities of every token at every place) are from those of the reference, relative, or the error in words."""

import json
import os
import pickle
import sys

os.environ.update(VLLM_ENABLE_V1_MULTIPROCESSING="0", VLLM_CPU_KVCACHE_SPACE="1", VLLM_LOGGING_LEVEL="ERROR")

import torch
from vllm import LLM, SamplingParams
import vllm._custom_ops as ops

INPUTS = [i * 13 % 997 for i in range(32)]


def product(input, q_weight, scales, zeros, bias, pack_factor, isa_hint):
    """In the place of a product that vLLM has for AVX-512 alone. Of the weights as vLLM has laid them out after loading:
    16 outputs a block, of each block all inputs, of each input its outputs, eight to an integer, the first one lowest."""
    size, outputs = input.shape[-1], scales.shape[1]
    nibbles = lambda packed: (packed.unsqueeze(-1) >> (4 * torch.arange(8, dtype=torch.int32))) & 15
    values = nibbles(q_weight).reshape(outputs // 16, size, 16).permute(1, 0, 2).reshape(size, outputs)
    offsets = nibbles(zeros).reshape(scales.shape) if zeros is not None else torch.full(scales.shape, 8)
    spread = lambda groups: groups.repeat_interleave(size // scales.shape[0], 0)
    found = input.float() @ ((values - spread(offsets)) * spread(scales.float()))
    return (found + bias.float() if bias is not None else found).to(input.dtype)


if not hasattr(torch.ops._C, "cpu_gemm_wna16"):
    ops.cpu_gemm_wna16 = product


def logits(folder):
    llm = LLM(
        folder,
        skip_tokenizer_init=True,
        enforce_eager=True,
        dtype="bfloat16",
        max_model_len=64,
        max_num_seqs=1,
        max_logprobs=-1,
    )
    settings = SamplingParams(max_tokens=1, prompt_logprobs=-1, detokenize=False)
    (answer,) = llm.generate([{"prompt_token_ids": INPUTS}], settings, use_tqdm=False)
    found = torch.tensor([[place[token].logprob for token in range(1000)] for place in answer.prompt_logprobs[1:]])
    return (found - found.mean(1, keepdim=True)).tolist()


def alone(folder):
    """In a process of its own: what an engine leaves behind that failed to start stands in the way of the next one."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reads)
        try:
            found = logits(folder)
        except BaseException as error:  # whatever a version does not know
            found = f"{type(error).__name__}: {error}"
        with os.fdopen(writes, "wb") as pipe:
            pickle.dump(found, pipe)
        os._exit(0)
    os.close(writes)
    with os.fdopen(reads, "rb") as pipe:
        written = pipe.read()
    status = os.waitpid(child, 0)[1]
    return pickle.loads(written) if written else f"the process ended with status {status}"


for line in sys.stdin:
    job = json.loads(line)
    # First what may be refused: an engine takes seconds to start.
    found = alone(job["folder"])
    expected = alone(job["reference"]) if not isinstance(found, str) else None
    failure = next((text for text in (found, expected) if isinstance(text, str)), None)
    if failure is None:
        found, expected = torch.tensor(found), torch.tensor(expected)
        answer = {"error": float((found - expected).norm() / expected.norm())}
    else:
        answer = {"failure": failure}
    print(json.dumps({"answer": answer}, separators=(",", ":")), flush=True)
