import test, { type ExecutionContext } from 'ava';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { VertexqError } from '../../../lib/errors';
import {
  type ModelInput,
  prepareCalibrationSet,
  type CalibrationSetOptions,
} from '../../../lib/models/calibration-set';
import { temporaryFolder } from '../../files/temporary-folder';
import { tokenizerJson } from './tokenizer';

const tokens = (name: string, type = 'int64', length: string | number = 'sequence'): ModelInput => ({
  name,
  type,
  dims: ['batch', length],
});
const bert = [tokens('input_ids'), tokens('attention_mask'), tokens('token_type_ids')];

function setUp(
  t: ExecutionContext,
  text: string,
  json: object | string = tokenizerJson(),
  name = 'text.txt',
) {
  const folder = temporaryFolder(t);
  const [tokenizer, path] = [join(folder, 'tokenizer.json'), join(folder, name)];
  writeFileSync(tokenizer, typeof json === 'string' ? json : JSON.stringify(json));
  writeFileSync(path, text);
  const prepare = (inputs: ModelInput[], options: Partial<CalibrationSetOptions> = {}) =>
    prepareCalibrationSet(path, { inputs, tokenizer, holdout: 0, ...options });
  return { folder, tokenizer, path, prepare };
}

const numbers = (data: unknown) => Array.from(data as BigInt64Array, Number);

test('texts in the order of their length, padded within a batch', async (t) => {
  const { prepare } = setUp(t, 'the cat\n\na b c d\nA\r\n abc \n');
  const { fit, samples } = await prepare(bert, { batchSize: 2 });
  t.deepEqual(samples, { fit: 4, holdout: 0 });
  t.deepEqual(
    fit.map((feeds) => Object.fromEntries(Object.entries(feeds).map(([name, { data, dims }]) => [name, [dims, numbers(data)]]))),
    [
      {
        input_ids: [[2, 4], [2, 4, 3, 0, 2, 10, 11, 3]],
        attention_mask: [[2, 4], [1, 1, 1, 0, 1, 1, 1, 1]],
        token_type_ids: [[2, 4], [0, 0, 0, 0, 0, 0, 0, 0]],
      },
      {
        input_ids: [[2, 6], [2, 4, 8, 9, 3, 0, 2, 4, 5, 6, 7, 3]],
        attention_mask: [[2, 6], [1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1]],
        token_type_ids: [[2, 6], new Array(12).fill(0)],
      },
    ],
  ); // prettier-ignore
  t.is(fit[0]!['input_ids']!.type, 'int64');
  const again = await prepare(bert, { batchSize: 2 });
  t.deepEqual(again.fit, fit);
});

test('held out are texts of every length', async (t) => {
  const lengths = Array.from({ length: 100 }, (_, i) => 1 + ((i * 37) % 50));
  const { prepare } = setUp(t, lengths.map((length) => 'a '.repeat(length)).join('\n'));
  const { fit, holdout, samples } = await prepare(bert, { holdout: 0.1 });
  t.deepEqual(samples, { fit: 90, holdout: 10 });
  const longest = holdout.flatMap(({ attention_mask: mask }) => {
    const [rows, width] = mask!.dims as [number, number];
    return Array.from({ length: rows }, (_, row) => numbers(mask!.data).slice(row * width, (row + 1) * width).reduce((a, b) => a + b) - 2); // prettier-ignore
  });
  t.deepEqual(longest, [3, 8, 13, 18, 23, 28, 33, 38, 43, 48]);
  t.true(fit.length <= 3);
});

test('positions, 32-bit ids, fixed lengths, no mask', async (t) => {
  const { prepare } = setUp(t, 'a b c\na\nb\n');
  const positions = await prepare([
    tokens('input_ids', 'int32'),
    tokens('attention_mask'),
    tokens('position_ids', 'int32'),
  ]);
  t.deepEqual(positions.fit[0]!['position_ids'], {
    data: Int32Array.of(0, 1, 2, 0, 0, 0, 1, 2, 0, 0, 0, 1, 2, 3, 4),
    dims: [3, 5],
    type: 'int32',
  });
  const fixed = await prepare([tokens('input_ids', 'int64', 4), tokens('attention_mask', 'int64', 4)]);
  t.deepEqual(numbers(fixed.fit[0]!['input_ids']!.data), [2, 4, 3, 0, 2, 5, 3, 0, 2, 4, 5, 3]);
  // Filling up would be taken for text.
  const bare = await prepare([tokens('input_ids')]);
  t.deepEqual(bare.fit.map(({ input_ids: ids }) => ids!.dims), [[2, 3], [1, 5]]); // prettier-ignore
});

test('truncation keeps what begins and ends a text', async (t) => {
  const text = `${'the '.repeat(3)}${'cat '.repeat(700)}`;
  const { prepare, folder, tokenizer } = setUp(t, text);
  const idsOf = async (options: Partial<CalibrationSetOptions> = {}) =>
    numbers((await prepare(bert, options)).fit[0]!['input_ids']!.data);
  t.deepEqual(await idsOf({ maxLength: 6 }), [2, 10, 10, 10, 11, 3]);
  t.is((await idsOf()).length, 512);
  t.is((await idsOf({ maxLength: 1000 })).length, 705);
  await t.throwsAsync(idsOf({ maxLength: 2 }), {
    instanceOf: RangeError,
    message: /length of 2 tokens .* adds 2 of its own/,
  });
  writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify({ model_max_length: 128 }));
  t.is((await idsOf()).length, 128);
  writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify({ model_max_length: 1e30 }));
  t.is((await idsOf({ tokenizer: folder })).length, 512);
  writeFileSync(
    tokenizer,
    JSON.stringify(
      tokenizerJson({
        truncation: { direction: 'Left', max_length: 5, strategy: 'LongestFirst', stride: 0 },
      }),
    ),
  );
  t.deepEqual(await idsOf(), [2, 11, 11, 11, 3]);
  // A long line takes no longer than what is left of it.
  const { prepare: prepareLong } = setUp(t, 'the cat '.repeat(1_000_000));
  t.is(numbers((await prepareLong(bert)).fit[0]!['input_ids']!.data).length, 512);
});

test('texts in JSON lines', async (t) => {
  const lines = '{"text": "a b", "id": 7}\n"the cat"\n';
  const { prepare, path } = setUp(t, lines, tokenizerJson(), 'text.jsonl');
  const { fit } = await prepare(bert);
  t.deepEqual(numbers(fit[0]!['input_ids']!.data), [2, 4, 5, 3, 2, 10, 11, 3]);
  writeFileSync(path, '{"body": "a"}\n');
  t.is((await prepare(bert, { textField: 'body' })).samples.fit, 1);
  await t.throwsAsync(prepare(bert), { message: /text\.jsonl, line 1: expected a text, or an object with the field "text" .* not fields "body"/ }); // prettier-ignore
  for (const [line, message] of [
    ['{"text": 5}', /line 1: the field "text" should be a text, not 5/],
    ['7', /line 1: expected a text, .* not 7/],
    ['{"text": "a"', /line 1: is no JSON/],
    ['{"__proto__": "a"}', /not fields "__proto__"/],
  ] as const) {
    writeFileSync(path, line);
    await t.throwsAsync(prepare(bert), { instanceOf: VertexqError, message });
  }
});

test('networks that text does not fill', async (t) => {
  const { prepare } = setUp(t, 'a');
  for (const [inputs, message] of [
    [
      [...bert, tokens('pixel_values', 'float32')],
      /Text fills the inputs input_ids, .* and the network has "pixel_values"/,
    ],
    [[tokens('ids'), tokens('mask')], /the network has "ids", "mask": give tensors by input name/],
    [[tokens('attention_mask')], /the network has no input_ids/],
    [[tokens('input_ids', 'string')], /the network's "input_ids" is string\[batch, sequence\]/],
    [[{ name: 'input_ids', type: 'int64', dims: ['n'] }], /two dimensions, .*int64\[n\]/],
    [[tokens('input_ids', 'int64', 4), tokens('attention_mask', 'int64', 5)], /different fixed lengths/],
  ] as [ModelInput[], RegExp][])
    await t.throwsAsync(prepare(inputs), { instanceOf: VertexqError, message });
});

test('tokenizers that are missing or broken, and text without one', async (t) => {
  const { prepare, path, folder, tokenizer } = setUp(t, 'a');
  await t.throwsAsync(prepareCalibrationSet(path, { inputs: bert }), {
    instanceOf: RangeError,
    message: /text\.txt" is text, which needs a tokenizer: .*--tokenizer/,
  });
  await t.throwsAsync(prepare(bert, { tokenizer: join(folder, 'none.json') }), {
    message: /none\.json cannot be read: ENOENT/,
  });
  mkdirSync(join(folder, 'empty'));
  await t.throwsAsync(prepare(bert, { tokenizer: join(folder, 'empty') }), {
    message: /empty.tokenizer\.json cannot be read/,
  });
  const { model } = tokenizerJson() as { model: object };
  for (const [content, message] of [
    ['{"model": ', /tokenizer\.json is no JSON/],
    ['[1, 2]', /tokenizer\.json should hold an object, not an array/],
    ['{}', /tokenizer\.json is no tokenizer: it has no "model"/],
    ['{"model": 5}', /it has no "model"/],
    [Buffer.from([0x7b, 0xff]), /is no UTF-8 text/],
    [
      JSON.stringify(tokenizerJson({ model: { ...model, type: 'NoSuch', vocab: null } })),
      /tokenizer\.json (cannot be used|fails at)/,
    ],
    [
      JSON.stringify(tokenizerJson({ model: { type: 'WordPiece', vocab: {} } })),
      /tokenizer\.json (cannot be used|fails at|gives no token id)/,
    ],
    [
      JSON.stringify(tokenizerJson({ pre_tokenizer: { type: 'Split', pattern: { Regex: '(' } } })),
      /tokenizer\.json (cannot be used|fails at)/,
    ],
  ] as [string | Buffer, RegExp][]) {
    writeFileSync(tokenizer, content);
    const error = await t.throwsAsync(prepare(bert), { instanceOf: VertexqError, message });
    t.is(error.code, 'ERR_VERTEXQ_TOKENIZER');
  }
  writeFileSync(tokenizer, JSON.stringify(tokenizerJson()));
  writeFileSync(join(folder, 'tokenizer_config.json'), '{');
  await t.throwsAsync(prepare(bert), { message: /tokenizer_config\.json is no JSON/ });
  writeFileSync(join(folder, 'tokenizer_config.json'), '{}');
  writeFileSync(path, ' \n\n');
  await t.throwsAsync(prepare(bert), { message: /text\.txt: has no text/ });
  writeFileSync(path, 'a');
  writeFileSync(join(folder, 'x.npy'), '');
  await t.throwsAsync(prepareCalibrationSet([path, join(folder, 'x.npy')], { inputs: bert, tokenizer }), {
    message: /text\.txt" holds text and .*x\.npy" tensors: give data of one kind/,
  });
});

test('a tokenizer for what is no text has no effect, and that is told', async (t) => {
  const { tokenizer } = setUp(t, '');
  const ids = { data: BigInt64Array.of(1n, 2n), dims: [1, 2] };
  const inputs = [tokens('input_ids')];
  const { warnings } = await prepareCalibrationSet([{ input_ids: ids }], {
    inputs,
    tokenizer,
    image: {},
    holdout: 0,
  });
  t.deepEqual(warnings, [
    'The option "tokenizer" has no effect: calibration holds no text [WARN_VERTEXQ_NO_EFFECT]',
    'The option "image" has no effect: calibration holds no images [WARN_VERTEXQ_NO_EFFECT]',
  ]);
});
