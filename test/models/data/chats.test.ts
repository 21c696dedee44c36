import test, { type ExecutionContext } from 'ava';
import { readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { quantizeCheckpoint } from '../../../lib/index';
import { prepareCalibrationSet } from '../../../lib/models/calibration-set';
import { loadChatTemplate } from '../../../lib/models/data/chat-template';
import { readWindows, type WindowOptions } from '../../../lib/models/data/text';
import { encodeTexts } from '../../../lib/models/data/text-task';
import { cases, weightsIn, writeModel } from '../../decoders/tiny';
import { temporaryFolder } from '../../files/temporary-folder';
import { tokenizerJson } from './tokenizer';

// JSON lines that are transcripts of chats, or token ids.

const roles = `{{ bos_token }}{% for message in messages %}{{ message['role'] }} {{ message.content }}{{ eos_token }}
{% endfor %}{% if add_generation_prompt %}the cat{% endif %}`;
const chat = (...contents: unknown[]) => ({
  messages: contents.map((content, i) => ({ role: i % 2 === 0 ? 'a' : 'b', content })),
});

interface Setting {
  lines: readonly unknown[];
  jinja?: string;
  config?: object;
  tokenizer?: boolean;
}

function setUp(t: ExecutionContext, { lines, jinja, config, tokenizer: hasOne = true }: Setting) {
  const folder = temporaryFolder(t);
  const [tokenizer, path] = [join(folder, 'tokenizer.json'), join(folder, 'chats.jsonl')];
  if (hasOne) writeFileSync(tokenizer, JSON.stringify(tokenizerJson()));
  if (config) writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify(config));
  if (jinja !== undefined) writeFileSync(join(folder, 'chat_template.jinja'), jinja);
  writeFileSync(
    path,
    lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))).join('\n'),
  );
  const read = async (options: Partial<WindowOptions> = {}, limits = { seconds: 30, heap: 512 }) => {
    const given = { ...(hasOne ? { tokenizer } : {}), sequenceLength: 100, ...options };
    const { windows } = await readWindows([path], given, undefined, limits);
    return windows.map(({ document, ids }) => [document, ...ids]);
  };
  // What the process of the texts does, in this one.
  const here = async (vocabulary = Infinity) => {
    const task = { paths: [path], tokenizer: hasOne ? tokenizer : undefined, sequenceLength: 100 };
    const all = { maxLength: undefined, most: Infinity, samples: Infinity, textField: 'text', vocabulary };
    const none = () => {};
    await encodeTexts({ ...task, ...all, skipBroken: false }, { enter: none, part: none, warn: none });
  };
  return { folder, tokenizer, path, read, here };
}

const tokens = { bos_token: '[CLS]', eos_token: { content: '[SEP]' } };
const [the, cat, cls, sep, a, b, c] = [10, 11, 2, 3, 4, 5, 6];

test('transcripts become the text of the folder’s template, whose first token begins each window', async (t) => {
  const lines = [chat('the cat', 'c'), { text: 'the cat' }, chat('c')];
  const first = [cls, a, the, cat, sep, b, c, sep];
  const set = setUp(t, { lines, jinja: roles, config: tokens });
  t.deepEqual(await set.read(), [
    [0, ...first],
    [1, cls, the, cat, sep],
    [2, cls, a, c, sep],
  ]);
  t.deepEqual(await set.read({ sequenceLength: 5, samples: 3 }), [
    [0, cls, a, the, cat, sep],
    [1, cls, the, cat, sep],
    [2, cls, a, c, sep],
  ]);
  t.deepEqual((await set.read({ sequenceLength: 5 }))[1], [0, cls, b, c, sep]);
  writeFileSync(set.path, JSON.stringify(chat('the cat', 'c')));
  // The template says what begins and ends a text; the tokenizer adds nothing.
  t.deepEqual(await set.read({ sequenceLength: undefined as never, maxLength: 6 }), [
    [0, ...first.slice(0, 6)],
  ]);
});

test('the template is that of chat_template.jinja, or of tokenizer_config.json, a text or by name', async (t) => {
  const { folder, tokenizer } = setUp(t, { lines: [] });
  const line = { ...chat('x'), tools: [{ name: 'f' }] };
  const rendered = async (config: object, withTools = false) => {
    writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify(config));
    return (await loadChatTemplate(tokenizer, 'here'))(withTools ? line : chat('x'), 'here');
  };
  const named = [{ name: 'tool_use', template: 'T{{ tools[0].name }}' }, { name: 'default', template: 'D' }]; // prettier-ignore
  t.is(await rendered({ ...tokens, chat_template: roles }), '[CLS]a x[SEP]\n');
  t.is(await rendered({ chat_template: named }), 'D');
  t.is(await rendered({ chat_template: named }, true), 'Tf');
  t.is(await rendered({ chat_template: [named[0]] }, true), 'Tf');
  // Not that of today: the same data is to give the same bytes.
  t.is(await rendered({ chat_template: '{{ strftime_now("%d %b %Y") }}' }), '01 Jan 2026');
  writeFileSync(join(folder, 'chat_template.jinja'), 'J');
  t.is(await rendered({ chat_template: named }), 'J');
});

test('transcripts that no template takes are told by file and line', async (t) => {
  for (const [setting, message, code] of [
    [{ lines: ['', chat('c')] }, /line 2: has "messages", which need a chat template, and .* has none: neither chat_template\.jinja nor/, 'CALIBRATION'], // prettier-ignore
    [{ lines: [chat('c')], config: { chat_template: [{ name: 'x', template: '' }, { name: 'y', template: '' }] } }, /has only those called "x", "y"/, 'CALIBRATION'], // prettier-ignore
    [{ lines: [chat('c')], config: { chat_template: 7 } }, /"chat_template" should be a text, or a list .* not 7/, 'TOKENIZER'], // prettier-ignore
    [{ lines: [chat('c')], jinja: '{% for x in %}' }, /chat_template\.jinja cannot be used: /, 'TOKENIZER'],
    [{ lines: [chat('c'), chat('d')], jinja: '{% if messages[0].content == "d" %}{{ raise_exception("Roles must alternate") }}{% endif %}a' }, /line 2: .*chat_template\.jinja does not take it: Roles must alternate/, 'CALIBRATION'], // prettier-ignore
    [
      { lines: [{ messages: 'a' }], jinja: roles },
      /line 1: "messages" should be a list .* not "a"/,
      'CALIBRATION',
    ],
    [{ lines: [{ messages: [] }], jinja: roles }, /not empty/, 'CALIBRATION'],
    [{ lines: [{ messages: ['a'] }], jinja: roles }, /and that at 0 is "a"/, 'CALIBRATION'],
    [{ lines: [{ messages: [{ content: 'a' }] }], jinja: roles }, /"role" of message 0 should be a text, not undefined/, 'CALIBRATION'], // prettier-ignore
    [
      { lines: [chat('a', 5)], jinja: roles },
      /"content" of message 1 should be a text, not 5/,
      'CALIBRATION',
    ],
    [{ lines: ['{"messages": ['], jinja: roles }, /line 1: is no JSON/, 'CALIBRATION'],
    [{ lines: [chat('a')], jinja: roles, tokenizer: false }, /line 1: is text, which needs a tokenizer/, 'CALIBRATION'], // prettier-ignore
    [{ lines: [] }, /chats\.jsonl: has no text/, 'CALIBRATION'],
  ] as [Setting, RegExp, string][]) {
    const { read, here } = setUp(t, setting);
    // Two lines, and none: as they come from its process.
    const error = await t.throwsAsync(setting.lines.length === 1 ? here() : read(), { message });
    t.is((error as { code?: string }).code, `ERR_VERTEXQ_${code}`);
  }
});

test('a template without end, or that grows without end, ends by the limits, and is named', async (t) => {
  const endless = '{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}';
  const { read } = setUp(t, { lines: [chat('a')], jinja: endless });
  await t.throwsAsync(read({}, { seconds: 1, heap: 2048 }), {
    code: 'ERR_VERTEXQ_TIME',
    message: /chats\.jsonl, line 1: the chat template beside .*tokenizer\.json takes longer than 1 seconds/,
  });
  for (const [start, code] of [
    ["'a'", /ERR_VERTEXQ_(CALIBRATION|MEMORY)/],
    ['[1, 2]', /ERR_VERTEXQ_MEMORY/],
  ] as const) {
    const jinja = `{% set ns = namespace(x=${start}) %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x }}`;
    const growing = setUp(t, { lines: [chat('a')], jinja });
    const error = await t.throwsAsync(growing.read({}, { seconds: 60, heap: 96 }));
    t.regex(String((error as { code?: string }).code), code, error.message);
  }
});

test('token ids are windows as they are, without a tokenizer', async (t) => {
  const { path, read, here } = setUp(t, {
    lines: [[7, 8, 9, 1, 2], { input_ids: [5] }, []],
    tokenizer: false,
  });
  const windows = [
    [0, 7, 8],
    [0, 9, 1],
    [0, 2],
    [1, 5],
  ];
  t.deepEqual(await read({ sequenceLength: 2 }), windows);
  t.deepEqual(await read({ sequenceLength: undefined as never, maxLength: 3 }), [[0, 7, 8, 9], [1, 5]]); // prettier-ignore
  const inputs = ['input_ids', 'attention_mask'].map((name) => ({ name, type: 'int64', dims: ['b', 'n'] }));
  await t.throwsAsync(read({ vocabulary: 9 }), { message: /from 0 to 8, not 9, at 2/ });
  const { fit } = await prepareCalibrationSet(path, { inputs, sequenceLength: 2, holdout: 0 });
  t.deepEqual(fit.map(({ attention_mask: mask }) => mask!.dims), [[2, 1], [2, 2]]); // prettier-ignore
  for (const [line, message] of [
    ['[1, 40]', /chats\.jsonl, line 1: expected token ids, whole numbers from 0 to 39, not 40, at 1/],
    ['[1.5]', /not 1\.5, at 0/],
    ['[-1]', /not -1, at 0/],
    ['[[1]]', /not an array, at 0/],
    ['["1"]', /not "1", at 0/],
    ['{"input_ids": 5}', /in an array, not 5/],
  ] as const) {
    writeFileSync(path, line);
    await t.throwsAsync(here(40), { message });
  }
});

test('a checkpoint is fitted to transcripts and to token ids of JSON lines', async (t) => {
  const { folder, path } = setUp(t, {
    lines: [...Array.from({ length: 6 }, (_, i) => chat('the cat a b', 'c d '.repeat(i + 1))), [1, 2, 3, 4], { input_ids: [5, 6, 7] }], // prettier-ignore
    jinja: roles,
    config: tokens,
  });
  const golden = cases.find(({ name }) => name === 'llama')!;
  writeModel(folder, golden.config, weightsIn(golden), 'BF16');
  const output = join(temporaryFolder(t), 'out');
  const options = { calibration: path, method: 'gptq', bits: 4, groupSize: 16, holdout: 0 } as const;
  const { calibration } = await quantizeCheckpoint(folder, output, options);
  t.is(calibration!.fit.documents, 8);
  writeFileSync(path, '[1, 2]\n[1, 2, 40]\n');
  const other = join(temporaryFolder(t), 'out');
  await t.throwsAsync(quantizeCheckpoint(folder, other, options), {
    message: /chats\.jsonl, line 2: expected token ids, whole numbers from 0 to 39, not 40, at 2/,
  });
  t.deepEqual(readdirSync(dirname(other)), []);
});
