import test from 'ava';
import fc from 'fast-check';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { VertexqError } from '../../../lib/errors';
import { type ModelInput, prepareCalibrationSet } from '../../../lib/models/calibration-set';
import { forEachLine } from '../../../lib/models/data/json-lines';
import { temporaryFolder } from '../../files/temporary-folder';
import { single, two } from '../calibration-data';

const input = (type: string, dims: ModelInput['dims'] = ['batch', null]): ModelInput[] => [
  { name: 'x', type, dims },
];

test('a sample a line, or a batch a line, in either form; equal shapes go together', async (t) => {
  const path = join(temporaryFolder(t), 'data.jsonl');
  const lines = [
    { ids: [1, 2, 3], mask: [1, 1, 1] },
    { ids: [[4, '9007199254740993']], mask: [[1, 0.5]] },
    { ids: { dims: [3], data: [6, 7, 8] }, mask: { dims: [1, 3], data: [0, 0, 1] } },
    { ids: [[10, 11], [12, 13]], mask: [[1, 1], [0, 0]] },
  ]; // prettier-ignore
  writeFileSync(path, `\ufeff${lines.map((line) => JSON.stringify(line)).join('\r\n\n')}`);
  const { fit, samples } = await prepareCalibrationSet(path, { inputs: two, holdout: 0 });
  t.deepEqual(samples, { fit: 5, holdout: 0 });
  t.deepEqual(fit, [
    {
      ids: { data: BigInt64Array.of(1n, 2n, 3n, 6n, 7n, 8n), dims: [2, 3], type: 'int64' },
      mask: { data: Float32Array.of(1, 1, 1, 0, 0, 1), dims: [2, 3], type: 'float32' },
    },
    {
      ids: { data: BigInt64Array.of(4n, 2n ** 53n + 1n, 10n, 11n, 12n, 13n), dims: [3, 2], type: 'int64' },
      mask: { data: Float32Array.of(1, 0.5, 1, 1, 0, 0), dims: [3, 2], type: 'float32' },
    },
  ]);
  const all = await prepareCalibrationSet([path, path], { inputs: two, holdout: 0.2, batchSize: 4 });
  t.deepEqual(all.samples, { fit: 8, holdout: 2 });
  t.true(all.fit.every(({ ids }) => ids!.dims[0]! <= 4));
});

test('every type of numbers, and what does not fit it', async (t) => {
  const path = join(temporaryFolder(t), 'data.jsonl');
  const read = async (type: string, x: unknown) => {
    writeFileSync(path, JSON.stringify({ x }));
    return (await prepareCalibrationSet(path, { inputs: input(type), holdout: 0 })).fit[0]!['x']!.data;
  };
  t.deepEqual(await read('float32', [1, -0.5]), Float32Array.of(1, -0.5));
  t.deepEqual(await read('float64', [0.1]), Float64Array.of(0.1));
  t.deepEqual(await read('float16', [1, -2]), Uint16Array.of(0x3c00, 0xc000));
  t.deepEqual(await read('int32', [-5]), Int32Array.of(-5));
  t.deepEqual(await read('uint8', [255]), Uint8Array.of(255));
  t.deepEqual(await read('uint64', ['18446744073709551615']), BigUint64Array.of(2n ** 64n - 1n));
  t.deepEqual(await read('bool', [true, 0]), Uint8Array.of(1, 0));
  t.deepEqual(await read('string', ['a', 'b']), ['a', 'b']);
  for (const [type, x, message] of [
    ['float32', [1, null], /line 1: the input "x" should have finite numbers, not null, at element 1/],
    ['float32', [1, '2'], /should have finite numbers, not "2"/],
    ['float32', [1e39], /has 1e\+39 at 0, which does not fit float32/],
    ['float32', [[1, 2], 3], /is ragged: 3 is beside an array/],
    ['float32', [[1, 2], [3]], /is ragged: at depth 1 arrays have 2 and 1 elements/],
    ['float32', [1, [2]], /an array beside numbers, at element 1/],
    ['float32', 'some words', /text needs a tokenizer \(the option "tokenizer", or --tokenizer\)/],
    ['float32', [[[1]]], /should have 2 dimensions, \[batch, \?\], not 3/],
    ['float32', 7, /should have 2 dimensions, .* not 0/],
    ['float32', { dims: [2], data: [1] }, /the dims \[2\], so its data should have 2 elements, not 1/],
    [
      'float32',
      { dims: [2 ** 53, 4], data: [1] },
      /"dims" of whole numbers, at most 64, not 9007199254740992/,
    ],
    ['float32', { dims: [2 ** 40, 2 ** 40], data: [1] }, /should have 1\.2\d+e\+24 elements, not 1/],
    ['float32', { dims: [-1], data: [1] }, /"dims" of whole numbers, at most 64, not -1/],
    ['float32', { dims: '2', data: [1] }, /or an object of "dims" and "data", two arrays/],
    ['float32', { shape: [1], data: [1] }, /or an object of "dims" and "data"/],
    ['float32', { dims: new Array(65).fill(1), data: [1] }, /at most 64, not 65/],
    ['int64', [1.5], /whole numbers that fit int64, beyond 2\^53 as strings, not 1\.5, at element 0/],
    ['int64', [2 ** 60], /whole numbers that fit int64/],
    ['int64', ['9223372036854775808'], /not "9223372036854775808"/],
    ['int64', ['1e3'], /not "1e3"/],
    ['uint64', [-1], /whole numbers that fit uint64/],
    ['int8', [128], /whole numbers from -128 to 127, not 128/],
    ['bool', [2], /true and false, not 2/],
    ['string', ['a', 1], /should have strings, not 1/],
    ['bfloat16', [1], /is bfloat16, which JSON has no numbers for/],
    ['unknown', [1], /is no tensor/],
  ] as const) {
    const error = await t.throwsAsync(read(type, x), { message }, `${type} ${JSON.stringify(x)}`);
    t.true(error instanceof VertexqError || error instanceof TypeError);
  }
});

test('lines that are no samples: the file and the line are named', async (t) => {
  const path = join(temporaryFolder(t), 'data.jsonl');
  const refuses = async (content: string | Uint8Array, message: RegExp) => {
    writeFileSync(path, content);
    await t.throwsAsync(prepareCalibrationSet(path, { inputs: single }), {
      instanceOf: VertexqError,
      message,
    });
  };
  const good = '{"x": [1, 2, 3]}\n';
  await refuses(
    `${good}{"x": [1, 2, NaN]}\n`,
    /data\.jsonl, line 2: is no JSON: .* Each line should be an object/,
  );
  await refuses(`${good}\n{"x": [1, 2`, /data\.jsonl, line 3: is no JSON/);
  await refuses(`${good}[1, 2, 3]`, /line 2: should be an object, \{"input name": tensor\}, not an array/);
  await refuses(`${good}null`, /line 2: should be an object/);
  await refuses(`${good}{"y": [1, 2, 3]}`, /line 2: the network has no input "y": did you mean "x"/);
  await refuses(`{"__proto__": [1]}`, /line 1: the network has no input "__proto__"/);
  await refuses(`${good}{}`, /line 2: no data for the input "x"/);
  await refuses(`${good}{"x": [1, 2, 3, 4]}`, /line 2: .*dimension 1 is fixed/);
  await refuses(Buffer.from([...Buffer.from(good), 0xff, 0xfe]), /line 2: is no UTF-8 text/);
  await refuses('\n \n', /data\.jsonl: has no samples: every line is blank/);
  await refuses('', /has no samples/);
  await refuses(`{"x": ${'['.repeat(100_000)}${']'.repeat(100_000)}}`, /has more than 64 dimensions/);
  await t.throwsAsync(prepareCalibrationSet(join(path, 'none.jsonl'), { inputs: single }), {
    message: /cannot be read/,
  });
  mkdirSync(`${path}.jsonl`);
  await t.throwsAsync(prepareCalibrationSet(`${path}.jsonl`, { inputs: single }), {
    message: /but a folder/,
  });
});

test('lines are those of the file, wherever its pieces end', async (t) => {
  const path = join(temporaryFolder(t), 'lines.txt');
  const long = 'é'.repeat(400_000);
  const lines = ['a', long, 'b', `${long}c`, 'd', long, 'e'];
  writeFileSync(path, lines.join('\n'));
  const found: string[] = [];
  await forEachLine(path, (line, where) => {
    found.push(line);
    t.is(where, `${path}, line ${found.length}`);
  });
  t.true(found.length === lines.length && found.every((line, i) => line === lines[i]));
  const controller = new AbortController();
  controller.abort('enough');
  t.is(await forEachLine(path, () => {}, controller.signal).catch((reason: unknown) => reason), 'enough');
});

test('whatever a line holds: a sample, or an error that names it', async (t) => {
  const path = join(temporaryFolder(t), 'data.jsonl');
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(
        fc.json({ maxDepth: 4 }),
        fc.string(),
        fc.jsonValue({ maxDepth: 3 }).map((x) => JSON.stringify({ x })),
      ),
      async (line) => {
        writeFileSync(path, `{"x": [1, 2, 3]}\n${line.replace(/\n/g, ' ')}`);
        try {
          await prepareCalibrationSet(path, { inputs: single });
        } catch (error) {
          if (!(error instanceof VertexqError) || !/data\.jsonl, line 2/.test(error.message)) throw error;
        }
      },
    ),
    { numRuns: 300 },
  );
  t.pass();
});
