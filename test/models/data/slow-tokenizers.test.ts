import test, { type ExecutionContext } from 'ava';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readTexts } from '../../../lib/models/data/text';
import { prepareCalibrationSet, type ModelInput } from '../../../lib/models/calibration-set';
import { heapWithin } from '../../../lib/workers/heap';
import { temporaryFolder } from '../../files/temporary-folder';
import { tokenizerJson, words } from './tokenizer';
import { typescript } from '../../typescript';

// Tokenizers that would stop the process which uses them.

const inputs: ModelInput[] = [{ name: 'input_ids', type: 'int64', dims: ['batch', 'sequence'] }];
const stuck = { Regex: '(a+)+$' };
const stuckText = `${'a'.repeat(64)}b`;
const replace = (pattern: object, content: string) => ({ type: 'Replace', pattern, content });

function setUp(t: ExecutionContext, changes: object, text: string) {
  const folder = temporaryFolder(t);
  const [tokenizer, path] = [join(folder, 'tokenizer.json'), join(folder, 'text.txt')];
  writeFileSync(tokenizer, JSON.stringify(tokenizerJson(changes)));
  writeFileSync(path, text);
  const read = (limits?: { seconds: number; heap: number }, signal?: AbortSignal) =>
    readTexts([path], inputs, { tokenizer }, signal, limits);
  return { folder, tokenizer, path, read };
}

/** Runs `action`, and the longest that the main thread's timers waited meanwhile, in ms. */
async function longestWait(action: () => Promise<unknown>): Promise<number> {
  let longest = 0;
  let last = performance.now();
  const timer = setInterval(() => {
    longest = Math.max(longest, performance.now() - last);
    last = performance.now();
  }, 5);
  await action().finally(() => clearInterval(timer));
  return longest;
}

const limits = { seconds: 1, heap: 512 };
const unigram = {
  normalizer: null,
  pre_tokenizer: null,
  post_processor: null,
  added_tokens: [],
  model: {
    type: 'Unigram',
    unk_id: 0,
    vocab: [['<unk>', 0], ...Array.from({ length: 200 }, (_, i) => ['a'.repeat(i + 1), -i - 1])],
  },
};
const slow: Record<string, { changes: object; text: string }> = {
  'Split by (a+)+$': {
    changes: { pre_tokenizer: { type: 'Split', pattern: stuck, behavior: 'Isolated', invert: false } },
    text: stuckText,
  },
  'Replace of (a+)+$': { changes: { normalizer: replace(stuck, '') }, text: stuckText },
  'Replace in the pre-tokenizer': { changes: { pre_tokenizer: replace(stuck, '') }, text: stuckText },
  'lookbehind that backtracks': {
    changes: { normalizer: replace({ Regex: 'c(?<=^(a|a)*c)' }, '') },
    text: `b${'a'.repeat(64)}c`,
  },
  'Unigram on a line of 50,000 characters': { changes: unigram, text: 'a'.repeat(50_000) },
  'WordPiece without a longest word': {
    changes: {
      model: { ...(tokenizerJson() as { model: object }).model, max_input_chars_per_word: 2 ** 53 - 1 },
    },
    text: `a${'b'.repeat(50_000)}`,
  },
};

for (const [name, { changes, text }] of Object.entries(slow))
  test.serial(`trust 10: ${name}: the line is named, the main thread free`, async (t) => {
    const { path, tokenizer, read } = setUp(t, changes, `a\n\n${text}\na\n`);
    // On a machine with other work the thread may have to wait for a core, but not each time.
    const waits: number[] = [];
    do
      waits.push(
        await longestWait(() =>
          t.throwsAsync(read(limits), {
            code: 'ERR_VERTEXQ_TIME',
            message: `${path}, line 3: the tokenizer ${tokenizer} takes longer than 1 seconds: shorten the text, or look for what makes it slow or long`,
          }),
        ),
      );
    while (waits.at(-1)! >= 500 && waits.length < 10);
    t.true(waits.at(-1)! < 500, `the main thread was away for ${waits.join(', ')} ms`);
  });

test.serial('trust 10: an abort ends a stuck tokenizer within a second', async (t) => {
  const { read } = setUp(t, slow['Split by (a+)+$']!.changes, stuckText);
  for (const delay of [0, 30, 700]) {
    const controller = new AbortController();
    const reason = new Error('enough');
    const reading = t.throwsAsync(read(undefined, controller.signal), { is: reason });
    await new Promise((resolve) => setTimeout(resolve, delay));
    const from = performance.now();
    controller.abort(reason);
    await reading;
    t.true(performance.now() - from < 500);
  }
});

const doublings = (times: number) => Array.from({ length: times }, () => replace({ String: 'a' }, 'aa'));

test.serial('trust 10: 24 doublings of a text are refused by their size', async (t) => {
  for (const changes of [
    { normalizer: { type: 'Sequence', normalizers: doublings(24) } },
    { normalizer: { type: 'Sequence', normalizers: [{ type: 'Sequence', normalizers: doublings(24) }] } },
    { pre_tokenizer: { type: 'Sequence', pretokenizers: doublings(24) } },
    { normalizer: replace({ Regex: '' }, 'b'.repeat(2 ** 20)) },
  ]) {
    const { tokenizer, read } = setUp(t, changes, 'a c a');
    const error = await t.throwsAsync(read(), { code: 'ERR_VERTEXQ_TOKENIZER' });
    t.is(
      error.message,
      `${tokenizer} fails at the text "a c a": its step "Replace" makes more than ${64 * 5 + 65536} characters of it`,
    );
  }
  const { read } = setUp(t, { normalizer: { type: 'Sequence', normalizers: doublings(8) } }, 'a');
  t.is((await read()).pieces.length, 1);
});

test.serial('trust 10: memory without end ends the process of the tokenizer alone', async (t) => {
  // Added tokens are normalized as the tokenizer is loaded.
  const grown = { added_tokens: [{ id: 0, content: 'aaaa', special: false, normalized: true }] };
  for (const changes of [
    { ...grown, normalizer: { type: 'Sequence', normalizers: doublings(26) } },
    {
      ...grown,
      normalizer: { type: 'Sequence', normalizers: [...doublings(24), { type: 'BertNormalizer' }] },
    },
  ]) {
    const { read } = setUp(t, changes, 'a');
    const error = await t.throwsAsync(read({ seconds: 30, heap: 64 }));
    t.regex(String((error as NodeJS.ErrnoException).code), /^ERR_VERTEXQ_(MEMORY|TOKENIZER)$/);
  }
});

(process.platform === 'linux' ? test.serial : test.skip)(
  'trust 10: the heap of a worker goes by the memory that there is, and is said',
  (t) => {
    t.is(heapWithin(4096, 2 ** 40), 4096);
    t.is(heapWithin(4096, 2 ** 30), 768);
    t.is(heapWithin(4096, 0), 64);
    const path = join(temporaryFolder(t), 'x.jsonl');
    writeFileSync(path, `{"input_ids": [${'[],'.repeat(2 ** 24)}[]]}`);
    const script = `
      const { execFileSync } = require('node:child_process');
      const { prepareCalibrationSet } = require('./lib/models/calibration-set.ts');
      const used = 1024 * Number(/VmData:\\s+(\\d+)/.exec(require('node:fs').readFileSync('/proc/self/status', 'latin1'))[1]);
      execFileSync('prlimit', ['--pid', String(process.pid), '--data=' + (used + 6e8)]);
      prepareCalibrationSet(${JSON.stringify(path)}, { inputs: ${JSON.stringify(inputs)} })
        .then(() => console.log('done'), (error) => console.log(error.code, error.message));`;
    const { stdout, stderr } = spawnSync(process.execPath, [typescript, '-e', script], {
      ...{ cwd: join(__dirname, '..', '..', '..'), encoding: 'utf8', timeout: 60_000 },
    });
    const heap = /^ERR_VERTEXQ_MEMORY .* takes more than (\d+) MiB of memory/.exec(stdout)?.[1];
    t.true(Number(heap) >= 64 && Number(heap) < 460, stdout + stderr);
  },
);

test.serial('trust 18: what the tokenizers library says is a warning, not on the console', async (t) => {
  const { path, tokenizer } = setUp(t, { normalizer: replace({ Odd: 'a' }, '') }, 'a\nb\n');
  const said: unknown[] = [];
  const before = console.warn;
  console.warn = (...values: unknown[]) => void said.push(values);
  const { warnings } = await prepareCalibrationSet(path, { inputs, tokenizer, holdout: 0 }).finally(() => {
    console.warn = before;
  });
  t.deepEqual(said, []);
  t.deepEqual(warnings, [
    `The tokenizer ${tokenizer}: Unknown pattern type: { Odd: 'a' } [WARN_VERTEXQ_TOKENIZER]`,
  ]);
});

test.serial('a process of a stuck tokenizer ends with the one that started it', async (t) => {
  if (process.platform !== 'linux') {
    t.pass();
    return;
  }
  const { path, tokenizer } = setUp(t, slow['Replace of (a+)+$']!.changes, stuckText);
  const script = `
    const { readTexts } = require('./lib/models/data/text.ts');
    void readTexts([${JSON.stringify(path)}], ${JSON.stringify(inputs)}, { tokenizer: ${JSON.stringify(tokenizer)} });`;
  const child = spawn(process.execPath, [typescript, '-e', script], {
    cwd: join(__dirname, '..', '..', '..'),
  });
  const started = () => childrenOf(child.pid!);
  while (started().length === 0) await new Promise((resolve) => setTimeout(resolve, 50));
  await new Promise((resolve) => setTimeout(resolve, 500));
  const pids = started();
  t.true(pids.length > 0);
  child.kill('SIGKILL');
  await once(child, 'close');
  for (const begin = performance.now(); pids.some(isAlive);) {
    t.true(performance.now() - begin < 2000, 'it lives on');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
});

function statOf(pid: number | string): { state: string; parent: number } | null {
  try {
    const [state, parent] = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]!.split(' ');
    return { state: state!, parent: Number(parent) };
  } catch {
    return null;
  }
}

function childrenOf(pid: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && statOf(name)?.parent === pid)
    .map(Number);
}

const isAlive = (pid: number) => !['Z', undefined].includes(statOf(pid)?.state);

test.serial(
  'thousands of texts come in the order of their length, those as long in that of the file',
  async (t) => {
    const lengths = Array.from({ length: 5000 }, (_, i) => 1 + ((i * 37) % 50));
    const text = lengths.map((length, i) => `${words[4 + (i % 4)]} `.repeat(length)).join('\n');
    const { read } = setUp(t, {}, text);
    const { pieces } = await read();
    const expected = lengths
      .map((length, i) => [2, ...new Array<number>(length).fill(4 + (i % 4)), 3])
      .sort((a, b) => a.length - b.length);
    t.deepEqual(
      pieces.map(({ tensors }) => Array.from(tensors.get('input_ids')!.data as BigInt64Array, Number)),
      expected,
    );
  },
);
