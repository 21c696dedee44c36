import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ModelInput, prepareCalibrationSet } from '../../../lib/models/calibration-set';
import {
  fairShare,
  readTexts,
  readWindows,
  type Window,
  type WindowOptions,
} from '../../../lib/models/data/text';
import { loadTokenizer } from '../../../lib/models/data/tokenizer';
import { temporaryFolder } from '../../files/temporary-folder';
import { tokenizerJson, words } from './tokenizer';

// Long texts as windows.

const tokens = (name: string, length: string | number = 'sequence'): ModelInput => ({
  name,
  type: 'int64',
  dims: ['batch', length],
});

/** Words that are a token each, from 4 on. */
const textOf = (ids: readonly number[]) => ids.map((id) => words[id]!).join(' ');
const plainIds = [4, 5, 6, 7, 10, 11] as const;

/** What a language model's tokenizer does: a token before the text, none behind it; with neither, none. */
const begun = (before: boolean) =>
  tokenizerJson({
    post_processor: {
      ...{ type: 'TemplateProcessing', pair: [] },
      single: [
        ...(before ? [{ SpecialToken: { id: '[CLS]', type_id: 0 } }] : []),
        { Sequence: { id: 'A', type_id: 0 } },
      ],
      special_tokens: { '[CLS]': { id: '[CLS]', ids: [2], tokens: ['[CLS]'] } },
    },
  });

function setUp(t: ExecutionContext, json: object, lines: readonly string[] = [], name = 'text.txt') {
  const folder = temporaryFolder(t);
  const [tokenizer, path] = [join(folder, 'tokenizer.json'), join(folder, name)];
  writeFileSync(tokenizer, JSON.stringify(json));
  writeFileSync(path, lines.join('\n'));
  const read = async (options: Partial<WindowOptions>) => {
    const { windows } = await readWindows([path], { tokenizer, ...options });
    return windows.map(({ document, ids }) => [document, ...ids]);
  };
  return { tokenizer, path, read };
}

test('windows are the tokens of a document one after the other, what begins a text before each', async (t) => {
  const documents = fc.array(fc.constantFrom(...plainIds), { minLength: 1, maxLength: 40 });
  for (const [json, begin, end] of [
    [tokenizerJson(), [2], [3]],
    [begun(true), [2], []],
    [begun(false), [], []],
  ] as const) {
    const { tokenizer } = setUp(t, json);
    const encoder = await loadTokenizer(tokenizer, undefined);
    const check = () =>
      fc.assert(
        fc.property(documents, fc.integer({ min: 1 + begin.length, max: 50 }), (ids, length) => {
          const windows = encoder.windows(textOf(ids), length);
          const bodies = windows.map((window) => window.slice(begin.length));
          return (
            bodies.flat().join() === [...ids, ...end].join() &&
            windows.every((window) => window.slice(0, begin.length).join() === begin.join()) &&
            windows.every((window, i) => i === windows.length - 1 || window.length === length) &&
            bodies.every((body) => body.length > 0)
          );
        }),
      );
    t.notThrows(check);
  }
});

test('of more windows than asked for, each document has as many as any other that has them', (t) => {
  const counts = fc.array(fc.integer({ min: 0, max: 12 }), { minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(counts, fc.integer({ min: 1, max: 100 }), (list, most) => {
      const windows = list.flatMap((count, document) =>
        Array.from({ length: count }, (_, i): Window => ({ document, ids: Float64Array.of(i) })),
      );
      const taken = fairShare(windows, most);
      const of = list.map((_, document) => taken.filter((window) => window.document === document).length);
      t.is(taken.length, Math.min(most, windows.length));
      t.deepEqual(fairShare(windows, most), taken);
      // In order, and none twice.
      t.deepEqual(windows.filter((window) => taken.includes(window)), taken); // prettier-ignore
      const largest = Math.max(...of);
      for (const [i, got] of of.entries()) t.true(got === list[i] || got >= largest - 1, `${of} of ${list}`);
    }),
  );
});

const lines = ['a b c d a', '', 'the cat', 'd', 'b b b b b b b'];

test('windows of a file: documents, samples, lengths', async (t) => {
  const { read } = setUp(t, begun(true), lines);
  const all = [
    [0, 2, 4, 5, 6],
    [0, 2, 7, 4],
    [1, 2, 10, 11],
    [2, 2, 7],
    [3, 2, 5, 5, 5],
    [3, 2, 5, 5, 5],
    [3, 2, 5],
  ];
  t.deepEqual(await read({ sequenceLength: 4 }), all);
  t.deepEqual(await read({ sequenceLength: 4, samples: 7 }), all);
  t.deepEqual(await read({ sequenceLength: 4, samples: 5 }), [all[0], all[1], all[2], all[3], all[5]]);
});

test('of more documents than samples, one window of each that is taken; windows of a token', async (t) => {
  const { read } = setUp(t, begun(true), lines);
  t.deepEqual(await read({ sequenceLength: 4, samples: 2 }), [[0, 2, 4, 5, 6], [1, 2, 7]]); // prettier-ignore
  t.deepEqual(await read({ samples: 1, maxLength: 2 }), [[0, 2, 10]]);
  await t.throwsAsync(read({ sequenceLength: 1 }), {
    instanceOf: RangeError,
    message: /length of 1 tokens \(the option "sequenceLength", .* leaves nothing of a text/,
  });
  const bare = setUp(t, begun(false), lines.slice(2));
  t.deepEqual((await bare.read({ sequenceLength: 1 })).slice(0, 3), [[0, 10], [0, 11], [1, 7]]); // prettier-ignore
});

test('windows are run without padding, and whole ones where the network fixes their length', async (t) => {
  const { path, tokenizer } = setUp(t, begun(true), ['a b c d a', 'the cat', 'd']);
  const fed = async (length?: number, options = {}) => {
    const inputs = [tokens('input_ids', length), tokens('attention_mask', length)];
    const set = await prepareCalibrationSet(path, { inputs, tokenizer, holdout: 0, sequenceLength: 4, ...options }); // prettier-ignore
    t.true(set.fit.every(({ attention_mask: mask }) => (mask!.data as BigInt64Array).every((one) => one === 1n))); // prettier-ignore
    return { ...set, dims: set.fit.map(({ input_ids: ids }) => ids!.dims) };
  };
  t.deepEqual((await fed()).dims, [[1, 2], [2, 3], [1, 4]]); // prettier-ignore
  const { dims, warnings } = await fed(4);
  t.deepEqual(dims, [[1, 4]]);
  t.deepEqual(warnings, [`${path}: 3 of 4 windows are shorter than the 4 tokens that the network takes, and left out [WARN_VERTEXQ_DATA_LEFT_OUT]`]); // prettier-ignore
  await t.throwsAsync(fed(8, { sequenceLength: 8 }), { message: /3 of 3 windows are shorter than the 8/ });
  await t.throwsAsync(fed(8), { instanceOf: RangeError, message: /takes 8 tokens at once: .* make it 8, not 4/ }); // prettier-ignore
  await t.throwsAsync(fed(undefined, { maxLength: 3 }), {
    instanceOf: RangeError,
    message: /"sequenceLength" and "maxLength" exclude each other/,
  });
});

test('lengths and numbers of samples that are none are refused; for other data they have no effect', async (t) => {
  const { path, tokenizer } = setUp(t, begun(true), ['a']);
  const inputs = [tokens('input_ids')];
  for (const options of [{ sequenceLength: 0 }, { sequenceLength: 1e9 }, { samples: 0 }, { samples: 1.5 }])
    await t.throwsAsync(prepareCalibrationSet(path, { inputs, tokenizer, ...options }), {
      instanceOf: RangeError,
      message: new RegExp(Object.keys(options)[0]!),
    });
  const ids = { input_ids: { data: BigInt64Array.of(1n, 2n), dims: [1, 2] } };
  const { warnings } = await prepareCalibrationSet([ids], {
    inputs,
    sequenceLength: 1,
    samples: 1,
    holdout: 0,
  });
  t.deepEqual(warnings, [
    'The option "sequenceLength" has no effect: calibration holds no text [WARN_VERTEXQ_NO_EFFECT]',
    'The option "samples" has no effect: calibration holds no text [WARN_VERTEXQ_NO_EFFECT]',
  ]);
});

test('a long document is cut at the length of a window, and its text is read whole', async (t) => {
  const { path, tokenizer } = setUp(t, tokenizerJson(), ['the cat '.repeat(20_000)]);
  const { pieces } = await readTexts([path], [tokens('input_ids')], { tokenizer, sequenceLength: 512 });
  t.is(pieces.length, Math.ceil(40_001 / 511));
  t.is(pieces.reduce((sum, { tensors }) => sum + tensors.get('input_ids')!.dims[1]!, 0), 40_001 + pieces.length); // prettier-ignore
});
