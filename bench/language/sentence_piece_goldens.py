"""Makes test/models/data/sentence-piece-goldens.json: small SentencePiece models, and the tokens that the sentencepiece library makes of texts.

    pip install sentencepiece
    python bench/language/sentence_piece_goldens.py test/models/data/sentence-piece-goldens.json
"""

import base64
import io
import json
import sys

import sentencepiece as spm

WORDS = """the quick brown fox jumps over the lazy dog while seven small models learn to write letters and numbers such as 1234 and 98
rounding weights to fewer bits loses little where errors make up for each other; über Straßen gehen viele Leute, naïve café""".split()
TEXT = [" ".join(WORDS[(i * 7 + k * (i % 5 + 1)) % len(WORDS)] for k in range(9)) for i in range(400)]

PROBES = [
    "the quick brown fox",
    " leading and  double  spaces ",
    "unknown: 漢字, 😀 and \x00 bytes\n\nnew lines\tand tabs",
    "über 1234 naïve",
    "",
    " ",
    "▁ itself",
]

KINDS = {
    "prefix": dict(add_dummy_prefix=True),
    "plain": dict(add_dummy_prefix=False, user_defined_symbols=["<turn>", "\n\n", "▁▁"], pad_id=3, unk_id=0, bos_id=2, eos_id=1),
    "unigram": dict(model_type="unigram", vocab_size=320),
    "spaces": dict(remove_extra_whitespaces=True),
    "no-bytes": dict(byte_fallback=False, vocab_size=100),
}

COMMON = dict(
    vocab_size=380, model_type="bpe", byte_fallback=True, remove_extra_whitespaces=False, normalization_rule_name="identity",
    character_coverage=1.0, minloglevel=2,
)


def main() -> None:
    found = {}
    for name, own in KINDS.items():
        file = io.BytesIO()
        spm.SentencePieceTrainer.train(sentence_iterator=iter(TEXT), model_writer=file, **{**COMMON, **own})
        entry = {"model": base64.b64encode(file.getvalue()).decode()}
        if name in ("prefix", "plain"):
            processor = spm.SentencePieceProcessor(model_proto=file.getvalue())
            # User-defined pieces of spaces are looked for before spaces are replaced: not in a text that has their mark itself.
            probes = PROBES if name == "prefix" else PROBES[:-1] + ["<turn>user\n\nfour    spaces<turn>"]
            entry["texts"] = [{"text": text, "ids": processor.encode(text)} for text in probes]
            entry["ids"] = {"bos": processor.bos_id(), "eos": processor.eos_id(), "unk": processor.unk_id(), "pad": processor.pad_id()}
        found[name] = entry
    with open(sys.argv[1], "w") as file:
        json.dump(found, file, indent=1, ensure_ascii=False)
        file.write("\n")


main()
