"""Loads checkpoints in vLLM, on the CPU. A job a line: {"folder", "reference"}; the answer is how far the logits (from the
probabilities of every token at every place) are from those of the reference, relative, or the error in words."""

import json
import os
import sys

os.environ.update(VLLM_ENABLE_V1_MULTIPROCESSING="0", VLLM_CPU_KVCACHE_SPACE="1", VLLM_LOGGING_LEVEL="ERROR")

import torch
from vllm import LLM, SamplingParams
from vllm.distributed import cleanup_dist_env_and_memory

INPUTS = (torch.arange(32) * 13 % 997).tolist()


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
    try:
        settings = SamplingParams(max_tokens=1, prompt_logprobs=-1, detokenize=False)
        (answer,) = llm.generate([{"prompt_token_ids": INPUTS}], settings, use_tqdm=False)
        found = torch.tensor(
            [[place[token].logprob for token in range(1000)] for place in answer.prompt_logprobs[1:]]
        )
        return found - found.mean(1, keepdim=True)
    finally:
        del llm
        cleanup_dist_env_and_memory()


for line in sys.stdin:
    try:
        job = json.loads(line)
        # First what may be refused: an engine takes seconds to start.
        found = logits(job["folder"])
        expected = logits(job["reference"])
        answer = {"error": float((found - expected).norm() / expected.norm())}
    except Exception as error:  # whatever a version does not know
        answer = {"failure": f"{type(error).__name__}: {error}"}
    print(json.dumps({"answer": answer}, separators=(",", ":")), flush=True)
