"""Loads checkpoints in transformers. A job a line: {"folder", "reference", "dtype"}; the answer is how far the logits are from those of the
reference, relative, or the error in words. {"folder", "ids", "logits"}: from those given, of their range."""

import json
import sys

import torch
from transformers import AutoModelForCausalLM

INPUTS = torch.arange(64).reshape(2, 32) * 13 % 997


def logits(folder, dtype, inputs=INPUTS):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True).eval()
    with torch.no_grad():
        return model(inputs).logits.float()


for line in sys.stdin:
    try:
        job = json.loads(line)
        dtype = getattr(torch, job.get("dtype", "float32"))
        if "ids" in job:
            found = logits(job["folder"], dtype, torch.tensor(job["ids"]))
            expected = torch.tensor(job["logits"]).reshape(found.shape)
            answer = {"error": float((found - expected).abs().max() / (expected.max() - expected.min()))}
        else:
            expected = logits(job["reference"], dtype)
            answer = {"error": float((logits(job["folder"], dtype) - expected).norm() / expected.norm())}
    except Exception as error:  # whatever a version does not know
        answer = {"failure": f"{type(error).__name__}: {error}"}
    print(json.dumps({"answer": answer}, separators=(",", ":")), flush=True)
