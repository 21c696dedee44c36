"""Makes test/models/data/chat-goldens.json: the token ids that transformers' apply_chat_template gives for transcripts.

    pip install transformers jinja2
    python bench/language/chat_goldens.py test/models/data/chat-goldens.json

"smollm2" is the template of SmolLM2-Instruct (Apache-2.0). The others are written for this test, in the style of others that are in use: what
of Jinja these need is in them. The tokenizer is a byte-level one with few merges.
"""

import json
import sys

import tokenizers
import transformers
from transformers import PreTrainedTokenizerFast

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<s>", "</s>", "[INST]", "[/INST]", "<start_of_turn>", "<end_of_turn>",
           "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]  # fmt: skip
PLAIN = ["<tool_call>", "</tool_call>"]
MERGES = ["t h", "th e", "Ġ the", "i n", "Ġ a", "e r", "o n", "a n", "u s", "us er", "Ċ Ċ", "s y", "sy s"]

SMOLLM2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n"
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n"
    "' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

# As models with tools have it: a namespace that remembers, turns of tools put together, JSON.
TOOLS = """
{%- macro told(message) %}
    {{- '<|im_start|>' + message.role + '\\n' + (message.content or '') + '<|im_end|>\\n' }}
{%- endmacro %}
{%- set state = namespace(calls=0, last=none) %}
{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}
        {{- messages[0].content + '\\n\\n' }}
    {%- endif %}
    {{- '# Tools' }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- '<|im_end|>\\n' }}
{%- elif messages[0].role != 'system' %}
    {{- '<|im_start|>system\\nBe brief.<|im_end|>\\n' }}
{%- else %}
    {{- told(messages[0]) }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'user' or (message.role == 'assistant' and not message.tool_calls) %}
        {{- told(message) }}
    {%- elif message.role == 'assistant' %}
        {{- '<|im_start|>assistant' }}
        {%- if message.content %}
            {{- '\\n' + message.content }}
        {%- endif %}
        {%- for call in message.tool_calls %}
            {%- set own = call.function if call.function is defined else call %}
            {%- set state.calls = state.calls + 1 %}
            {{- '\\n<tool_call>\\n{"name": "' }}
            {{- own.name }}
            {{- '", "arguments": ' }}
            {{- own.arguments | tojson }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == 'tool' %}
        {%- if loop.index0 == 0 or messages[loop.index0 - 1].role != 'tool' %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n[' ~ state.calls ~ '] ' + message.content | trim }}
        {%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

# Turns that must take turns; what the system says goes into the first of the user's.
TURNS = """{%- if messages[0]["role"] == "system" -%}
    {%- set system = messages[0]["content"] | trim -%}
    {%- set rest = messages[1:] -%}
{%- else -%}
    {%- set rest = messages -%}
{%- endif -%}
{{- bos_token }}
{%- for message in rest %}
    {%- if (message["role"] == "user") != (loop.index0 % 2 == 0) %}
        {{- raise_exception("roles should take turns") }}
    {%- endif %}
    {%- if message["role"] == "user" %}
        {%- if loop.first and system is defined %}
            {{- "[INST] " + system + "\\n\\n" + message["content"] + " [/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + " [/INST]" }}
        {%- endif %}
    {%- else %}
        {{- " " + message["content"].strip() + eos_token }}
    {%- endif %}
{%- endfor %}
"""

# Contents in parts, and a role by another name.
PARTS = """{{ bos_token }}
{%- for message in messages -%}
    {%- set role = 'model' if message['role'] == 'assistant' else message['role'] -%}
    {{ '<start_of_turn>' + role + '\\n' }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}
            {%- if item['type'] == 'text' -%}
                {{ item['text'] | trim }}
            {%- endif -%}
        {%- endfor -%}
    {%- else -%}
        {{ raise_exception('a content of another kind') }}
    {%- endif -%}
    {{ '<end_of_turn>\\n' }}
{%- endfor -%}
"""

# Blocks whose tags have lines of their own, what the model has said marked for training, filters.
HEADERS = """{{ bos_token }}
{% for message in messages %}
    {% if message.role == 'assistant' %}
        {% generation %}
<|start_header_id|>{{ message.role | upper }}<|end_header_id|>

{{ message.content | replace('\\r', '') }}<|eot_id|>
        {% endgeneration %}
    {% else %}
<|start_header_id|>{{ message.role | capitalize }}<|end_header_id|>

{{ message['content'] }}<|eot_id|>
    {% endif %}
{% endfor %}
"""

PLAIN_CHAT = [
    {"role": "user", "content": "Which is the largest planet?"},
    {"role": "assistant", "content": "Jupiter.\n\nIt has 95 moons — “Ganymede” among them 🪐"},
    {"role": "user", "content": "  And the smallest?\t"},
    {"role": "assistant", "content": " Mercury \n"},
]
SYSTEM_CHAT = [{"role": "system", "content": "Answer in the fewest words. "}, *PLAIN_CHAT]
TYPED = [
    {"role": "user", "content": "What does <|im_end|> mean, and {{ this }}, {% that %} or </s>?"},
    {"role": "assistant", "content": "日本語: 終わり"},
]
PARTED = [
    {"role": "user", "content": [{"type": "text", "text": " one "}, {"type": "image"}, {"type": "text", "text": "two"}]},
    {"role": "assistant", "content": "three"},
]
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tells of the weather, in °C & “words” <now>",
        "parameters": {
            "type": "object",
            "properties": {"place": {"type": "string"}, "days": {"type": "integer", "default": 1.5, "enum": []}},
            "required": ["place"],
        },
    },
}
CALLS = [
    {"role": "user", "content": "How warm is it in Zürich and in Oslo?"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"type": "function", "function": {"name": "weather", "arguments": {"place": "Zürich", "days": 1}}},
            {"type": "function", "function": {"name": "weather", "arguments": {"place": "Oslo", "other": None, "is": True}}},
        ],
    },
    {"role": "tool", "content": ' {"degrees": 12.5} '},
    {"role": "tool", "content": "-3"},
    {"role": "assistant", "content": "12.5 and −3."},
]

CASES = [
    ("smollm2", SMOLLM2, [(PLAIN_CHAT, None), (SYSTEM_CHAT, None), (TYPED, None)]),
    ("tools", TOOLS, [(PLAIN_CHAT, None), (SYSTEM_CHAT, None), (CALLS, [TOOL]), ([SYSTEM_CHAT[0], *CALLS], [TOOL, TOOL])]),
    ("turns", TURNS, [(PLAIN_CHAT, None), (SYSTEM_CHAT, None), (TYPED, None)]),
    ("parts", PARTS, [(PLAIN_CHAT, None), (PARTED, None)]),
    ("headers", HEADERS, [(PLAIN_CHAT, None), (SYSTEM_CHAT, None)]),
]


def byte_characters():
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in kept]
    return [chr(byte) for byte in kept] + [chr(256 + i) for i in range(len(others))]


def tokenizer_json():
    tokens = byte_characters()
    tokens += [merge.replace(" ", "") for merge in MERGES]
    added = [
        {"id": len(tokens) + i, "content": content, "special": i < len(SPECIAL), "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
        for i, content in enumerate(SPECIAL + PLAIN)
    ]
    vocabulary = {token: i for i, token in enumerate(tokens)} | {token["content"]: token["id"] for token in added}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": byte_level | {"trim_offsets": False},
        "decoder": byte_level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                  "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, "vocab": vocabulary, "merges": MERGES},
    }  # fmt: skip


def main(path):
    fields = tokenizer_json()
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<|endoftext|>"}
    cases = []
    for name, template, transcripts in CASES:
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=tokenizers.Tokenizer.from_str(json.dumps(fields)), chat_template=template, **special
        )
        made = []
        for messages, tools in transcripts:
            given = dict(tools=tools, add_generation_prompt=False)
            text = tokenizer.apply_chat_template(messages, tokenize=False, **given)
            ids = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False, **given)
            line = {"messages": messages} | ({"tools": tools} if tools else {})
            made.append({"line": line, "text": text, "ids": ids})
        cases.append({"name": name, "template": template, "transcripts": made})
    result = {"transformers": transformers.__version__, "special": special, "tokenizer": fields, "cases": cases}
    with open(path, "w", encoding="utf8") as file:
        json.dump(result, file, ensure_ascii=False, separators=(",", ":"))
        file.write("\n")


main(*sys.argv[1:])
