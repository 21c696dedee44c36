"""Loads checkpoints in GPTQModel. A job a line: {"folder", "reference"}; the answer is how far the logits are from those of the
reference, relative, or the error in words."""

import json
import sys

import torch
from gptqmodel import BACKEND, GPTQModel
from transformers import AutoModelForCausalLM

INPUTS = torch.arange(64).reshape(2, 32) * 13 % 997


def logits(model):
    with torch.no_grad():
        return model(INPUTS).logits.float()


for line in sys.stdin:
    try:
        job = json.loads(line)
        reference = AutoModelForCausalLM.from_pretrained(
            job["reference"], dtype=torch.bfloat16, local_files_only=True
        ).eval()
        model = GPTQModel.load(job["folder"], backend=BACKEND.TORCH, device="cpu", dtype=torch.bfloat16)
        expected = logits(reference)
        answer = {"error": float((logits(model) - expected).norm() / expected.norm())}
    except Exception as error:  # whatever a version does not know
        answer = {"failure": f"{type(error).__name__}: {error}"}
    print(json.dumps({"answer": answer}, separators=(",", ":")), flush=True)
