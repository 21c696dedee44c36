"""Gradients of small language models by PyTorch, for bench/gradients/index.ts.

    python bench/gradients/gradients.py < questions.json > answers.json

Each question has the `folder` of a model, `ids` [batch][sequence] and `weighting`, a number for each logit; its answer, for each linear
layer by its name, the gradient of the sum of logits times their numbers with regard to what the layer gives.
"""

import json
import sys

import torch
import transformers

# What JavaScript writes as 2 and is a float.
FLOATS = (
    *("softcapping", "multiplier", "scaling", "theta", "factor", "eps", "epsilon", "base_freq"),
    *("noise", "coef", "dropout", "pdrop", "range"),
)


def with_floats(value, key=""):
    if isinstance(value, dict):
        return {name: with_floats(own, name) for name, own in value.items()}
    return float(value) if type(value) is int and key.endswith(FLOATS) else value


def answer(question):
    path = question["folder"] + "/config.json"
    with open(path) as file:
        config = with_floats(json.load(file))
    with open(path, "w") as file:
        json.dump(config, file)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        question["folder"], dtype=torch.float64, attn_implementation="eager", experts_implementation="eager"
    )
    kept = {}

    def keep(name):
        def hook(_, __, output):
            output.retain_grad()
            kept[name] = output

        return hook

    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) or type(module).__name__ == "Conv1D":
            module.register_forward_hook(keep(name))
    logits = model(torch.tensor(question["ids"]), use_cache=False).logits
    (logits * torch.tensor(question["weighting"]).reshape(logits.shape)).sum().backward()
    return {name: output.grad.flatten().tolist() for name, output in kept.items()}


json.dump([answer(question) for question in json.load(sys.stdin)], sys.stdout)
