import test, { type ExecutionContext } from 'ava';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { formatNpy } from '../../containers/npy/format-npy';
import { formatNpz } from '../../containers/npy/make-npz';
import { compareMethods, evaluateModel, quantizeModel } from '../../../lib/index';
import { type ModelInput, prepareCalibrationSet } from '../../../lib/models/calibration-set';
import { withBatchAxes } from '../../../lib/models/data/batch-axes';
import { node, tensor } from '../../../lib/containers/onnx/make';
import type { CalibrationData, DataOptions, Feeds } from '../../../lib/models/types';
import { temporaryFolder } from '../../files/temporary-folder';
import { entry, rawSafetensors } from '../../containers/safetensors/build';
import { files, float, network, random, run } from '../networks';
import * as recurrent from '../recurrent';
import { typescript } from '../../typescript';

const { features } = recurrent;
const input = (name: string, dims: ModelInput['dims'], type = 'float32'): ModelInput => ({
  name,
  type,
  dims,
});

const axesOf = (dims: ModelInput['dims'][], option?: DataOptions['batchAxis']) =>
  withBatchAxes(
    dims.map((own, i) => input('xyzuv'[i]!, own)),
    option,
  ).map(({ batchAxis }) => batchAxis);

test('case bilstm: the batch axis is found by what dimensions are called, or share', (t) => {
  t.deepEqual(axesOf([['s', 'b', 36], ['b']]), [1, 0]);
  t.deepEqual(axesOf([['steps', 'items', 36], ['items']]), [1, 0]);
  t.deepEqual(axesOf([['time', 'batch', 36]]), [1]);
  t.deepEqual(
    axesOf([
      ['batch_size', 'sequence'],
      ['batch_size', 'sequence'],
      ['past', 'batch_size'],
    ]),
    [0, 0, 1],
  );
  t.deepEqual(
    axesOf([
      ['rows', 'tokens'],
      ['rows', 'tokens'],
    ]),
    [0, 0],
  );
  t.deepEqual(
    axesOf([
      ['steps', 'n', 36],
      [2, 'n', 24],
    ]),
    [1, 1],
  );
  t.deepEqual(axesOf([['batch', 512], [2, 'batch', 128], [], [5], [1, 3]]), [0, 1, null, null, null]);
  // Names of exporters that number every dimension, and none at all.
  t.deepEqual(
    axesOf([
      ['unk__1', 3],
      ['unk__2', 3],
    ]),
    [0, 0],
  );
  t.deepEqual(axesOf([[null, null], [2, null, 128], []]), [0, 1, null]);
  t.deepEqual(axesOf([[-1, 3], [0, 5], null]), [0, 0, 0]);
  t.deepEqual(axesOf([['seq_len', null, 40]]), [1]);
  // Sides of images are no samples.
  t.deepEqual(
    axesOf([
      [1, 3, 'h', 'w'],
      [1, 1, 'h', 'w'],
    ]),
    [0, 0],
  );
  t.deepEqual(
    axesOf([
      [1, 'seq', 5],
      [1, 'seq', 7],
    ]),
    [0, 0],
  );
  // All is fixed: what most inputs agree on, then the input of the highest rank.
  t.deepEqual(axesOf([[1, 512], [2, 1, 128], []]), [0, 1, null]);
  t.deepEqual(axesOf([[7, 1, 36], [1]]), [1, 0]);
  t.deepEqual(axesOf([[8, 3, 32, 32], [5]]), [0, null]);
  t.deepEqual(axesOf([[2], [5]]), [null, null]);
  // The option: a name, or axes, from which the others follow.
  t.deepEqual(axesOf([['a', 'b', 3], ['a'], [4]], 'a'), [0, 0, null]);
  t.deepEqual(axesOf([['p', 'q', 3], ['q'], ['p']], { x: 1, z: null }), [1, 0, null]);
});

test('case bilstm: options that contradict the network or themselves', async (t) => {
  const refused = (dims: ModelInput['dims'][], option: unknown, message: RegExp) =>
    t.throws(() => axesOf(dims, option as DataOptions['batchAxis']), { instanceOf: RangeError, message });
  refused([['s', 'b', 36]], 'batch', /"batch", and no input has a dimension of that name: .* x\[s, b, 36\]/);
  refused([['n', 'n']], 'n', /input x\[n, n\] has twice: say which axis/);
  refused([['n', 3]], { w: 0 }, /names the input "w", which the network has not: .*Its inputs are x\[n, 3\]/);
  refused([['n', 3]], { x: 2 }, /says axis 2 of x\[n, 3\]: expected one from 0 to 1/);
  refused([[]], { x: 0 }, /expected null, as it has no axes/);
  refused(
    [
      [4, 3],
      [5, 4],
    ],
    { x: 0, y: 0 },
    /axis 0 of "x", of fixed length 4, and axis 0 of "y", of 5/,
  );

  const inputs = [input('x', ['s', 'b', 2]), input('m', ['b'])];
  const x = { data: new Float32Array(12), dims: [3, 2, 2] };
  const m = { data: new Float32Array(3), dims: [3] };
  const rejected = (data: CalibrationData, options: object, expected: object) =>
    t.throwsAsync(prepareCalibrationSet(data, { inputs, ...options }), expected);
  await rejected({ x, m }, {}, { code: 'ERR_VERTEXQ_CALIBRATION', message: /batch axis.*"x" has 2, "m" 3 \(dimension 1 and first dimension\).*--batch-axis/ }); // prettier-ignore
  await rejected({ x: { data: new Float32Array(0), dims: [3, 0, 2] }, m: { data: new Float32Array(0), dims: [0] } }, {}, { message: /has no samples: the dimension 1 of "x" is 0/ }); // prettier-ignore
  await rejected(
    { x: { data: new Float32Array(0), dims: [0, 0, 3, 2] }, m },
    {},
    { message: /has no samples/ },
  );
  for (const batchAxis of [7, '', [], true, null])
    await rejected({ x, m }, { batchAxis }, { instanceOf: TypeError, message: /"batchAxis" option to be the name/ }); // prettier-ignore
  await rejected({ x, m }, { batchAxis: { x: -1 } }, { instanceOf: RangeError, message: /batchAxis\.x/ });
  await rejected({ x, m }, { batchAxis: { x: 1.5 } }, { message: /batchAxis\.x/ });
  const fixed = [input('y', [2]), input('z', [5])];
  await t.throwsAsync(prepareCalibrationSet({ y: { data: new Float32Array(20), dims: [20] }, z: { data: new Float32Array(5), dims: [5] } }, { inputs: fixed }), { message: /"y" should have the dims \[2\], not \[20\].*all share this input.*--batch-axis/ }); // prettier-ignore
});

/** Samples of one feed apart, each as it would be fed alone. */
function apart(feed: Feeds, axes: Record<string, number>): Feeds[] {
  const count = feed['x']!.dims[axes['x']!]!;
  return Array.from({ length: count }, (_, i) =>
    Object.fromEntries(
      Object.entries(feed).map(([name, tensor]) => {
        const axis = axes[name];
        if (axis === undefined) return [name, tensor];
        const data = tensor.data as Float32Array;
        const inner = tensor.dims.slice(axis + 1).reduce((a, b) => a * b, 1);
        const picked = data.filter((_value, at) => Math.floor(at / inner) % count === i);
        return [name, { ...tensor, data: picked, dims: tensor.dims.map((dim, k) => (k === axis ? 1 : dim)) }];
      }),
    ),
  );
}

/** The same samples in every kind of data. */
function kinds(t: ExecutionContext, feed: Feeds, axes: Record<string, number>): [string, CalibrationData][] {
  const folder = temporaryFolder(t);
  const write = (name: string, bytes: Uint8Array | string) => {
    writeFileSync(join(folder, name), bytes);
    return join(folder, name);
  };
  const singles = apart(feed, axes);
  const arrays = (feeds: Feeds) => new Map(Object.entries(feeds) as [string, never][]);
  // In front of what the network takes, a dimension of its own.
  const stacked = Object.fromEntries(
    Object.entries(feed).map(([name, { dims, type }]) => {
      if (axes[name] === undefined) return [name, feed[name]!];
      const parts = singles.map((single) => Array.from(single[name]!.data as Float32Array));
      const Elements = feed[name]!.data.constructor as Float32ArrayConstructor;
      const own = dims.map((dim, k) => (k === axes[name] ? 1 : dim));
      return [name, { data: Elements.from(parts.flat()), dims: [parts.length, ...own], type }];
    }),
  ) as Feeds;
  const dtypes: Record<string, string> = { float32: 'F32', int32: 'I32' };
  let at = 0;
  const entries = Object.entries(feed).map(([name, { data, dims, type }]) => {
    const length = (data as Float32Array).byteLength;
    return [name, entry(dtypes[type!]!, [...dims], (at += length) - length, at)] as const;
  });
  const bytes = Buffer.concat(
    Object.values(feed).map(({ data }) => new Uint8Array((data as Float32Array).slice().buffer)),
  );
  const line = (single: Feeds) =>
    JSON.stringify(
      Object.fromEntries(
        Object.entries(single).map(([name, { data, dims }]) => [
          name,
          { dims, data: Array.from(data as Float32Array) },
        ]),
      ),
    );
  return [
    ['a feed', feed],
    ['feeds', singles],
    ['npz', write('a.npz', formatNpz(arrays(feed)))],
    ['stacked npz', write('b.npz', formatNpz(arrays(stacked)))],
    ['jsonl', write('c.jsonl', singles.map(line).join('\n'))],
    ['safetensors', write('d.safetensors', rawSafetensors(Object.fromEntries(entries), bytes))],
    ...(Object.keys(feed).length === 1
      ? ([['npy', write('e.npy', formatNpy(feed['x'] as never))]] as [string, CalibrationData][])
      : []),
  ];
}

const networks = [
  { title: 'case bilstm: x [steps, items, n] and lengths [items]', model: recurrent.bidirectional(), make: recurrent.withLengths, axes: { x: 1, lengths: 0 } }, // prettier-ignore
  { title: 'case bilstm: states [layers, batch, n] in and out, a scalar, a fixed vector', model: recurrent.stateful(), make: recurrent.withStates, axes: { x: 1, h: 1, c: 1 } }, // prettier-ignore
  { title: 'case time_major: one input [time, batch, n]', model: recurrent.timeMajor(), make: recurrent.sequences, axes: { x: 1 } }, // prettier-ignore
] as const;

for (const { title, model, make, axes } of networks)
  test(`${title}: calibrated and evaluated in every kind of data`, async (t) => {
    const { input: file, output } = files(t, model);
    const results: unknown[] = [];
    for (const [kind, data] of kinds(t, make(7, 40, 5), axes)) {
      const options = { calibration: data, bits: 4, method: 'gptq', groupSize: 'channel', batchSize: 8, threads: 1 } as const; // prettier-ignore
      const report = await quantizeModel(file, output, options);
      // 36 of 40 samples of 7 steps are fitted to, in the layers that see each step.
      t.is(report.layers.find(({ name }) => name === 'lstm/W')!.samples, 36 * 7, kind);
      t.deepEqual(report.warnings, [], kind);
      const evaluation = await evaluateModel(file, output, { data, batchSize: 8, runs: 1 });
      t.is(evaluation.samples, 40, kind);
      const byName = ({ name, rows, error }: (typeof evaluation.outputs)[number]) => ({ name, rows, error: error!.toPrecision(3) }); // prettier-ignore
      if (kind !== 'feeds') results.push(evaluation.outputs.map(byName));
      if (kind !== 'npz') continue;
      const { runs, samples } = await compareMethods(file, {
        calibration: data,
        methods: ['msq', 'gptq'],
        bits: [4],
      });
      t.deepEqual(samples, { calibration: 36, holdout: 4 });
      t.true(runs.every((one) => one.output!.error > 0 && one.output!.error < 1));
    }
    for (const result of results) t.deepEqual(result, results[0]);
  });

test('case time_major: a sample stays a sample, whatever its length', async (t) => {
  const inputs = [input('x', ['time', 'batch', features])];
  const feed = recurrent.sequences(7, 40, 9);
  for (const [kind, data] of kinds(t, feed, { x: 1 })) {
    if (kind === 'feeds') continue;
    const { fit, samples } = await prepareCalibrationSet(data, { inputs, holdout: 0, batchSize: 16 });
    t.deepEqual(fit.map(({ x }) => x!.dims), [[7, 16, features], [7, 16, features], [7, 8, features]], kind); // prettier-ignore
    t.is(samples.fit, 40, kind);
    const first = (fit[1]!['x']!.data as Float32Array).subarray(0, features);
    t.deepEqual(first, (feed['x']!.data as Float32Array).subarray(16 * features, 17 * features), kind);
  }
  const folder = temporaryFolder(t);
  const path = join(folder, 'x.jsonl');
  const line = (steps: number) =>
    JSON.stringify({ x: { dims: [steps, 1, features], data: Array.from(random(steps * features, steps)) } });
  writeFileSync(path, [7, 3, 7, 3, 7].map(line).join('\n'));
  const { fit } = await prepareCalibrationSet(path, { inputs, holdout: 0 });
  t.deepEqual(fit.map(({ x }) => x!.dims), [[7, 3, features], [3, 2, features]]); // prettier-ignore
  // A line without the axis of the samples is one of them.
  writeFileSync(
    path,
    JSON.stringify({ x: [random(features, 1), random(features, 2)].map((row) => Array.from(row)) }),
  );
  const bare = await prepareCalibrationSet(path, { inputs });
  t.deepEqual(bare.fit[0]!['x']!.dims, [2, 1, features]);
});

test('case bilstm: inputs without a batch axis that differ are not fed together', async (t) => {
  const inputs = [input('x', ['batch', 2]), input('v', [3])];
  const line = (v: number) => ({
    x: { data: Float32Array.of(v, v), dims: [1, 2] },
    v: { data: Float32Array.of(0, 0, v), dims: [3] },
  });
  const folder = temporaryFolder(t);
  const path = join(folder, 'a.jsonl');
  const text = [1, 2, 1, 2].map((v) => JSON.stringify({ x: [v, v], v: [0, 0, v] }));
  writeFileSync(path, text.join('\n'));
  const { fit } = await prepareCalibrationSet(path, { inputs, holdout: 0 });
  t.deepEqual(
    fit.map(({ x, v }) => [x!.dims[0], (v!.data as Float32Array)[2]]),
    [[2, 1], [2, 2]], // prettier-ignore
  );
  const feeds = await prepareCalibrationSet([line(1), line(2)], { inputs, holdout: 0 });
  t.is(feeds.fit.length, 2);
  // Nothing is a sample's own: each feed is one.
  const fixed = [input('y', [2]), input('z', [3])];
  const make = (v: number) => ({ y: { data: Float32Array.of(v, v), dims: [2] }, z: line(v).v });
  const whole = await prepareCalibrationSet([1, 2, 3].map(make), { inputs: fixed, holdout: 0 });
  t.deepEqual(whole.samples, { fit: 3, holdout: 0 });
  const stack = { y: { data: random(20, 1), dims: [10, 2] }, z: { data: random(30, 2), dims: [10, 3] } };
  const stacked = await prepareCalibrationSet(stack, { inputs: fixed });
  t.deepEqual(stacked.samples, { fit: 9, holdout: 1 });
  t.deepEqual(stacked.fit[1]!['z'], { data: stack.z.data.subarray(3, 6), dims: [3], type: 'float32' });
});

test('case time_major: outputs are compared sample by sample, whatever axis they lie along', async (t) => {
  const model = network({
    nodes: [
      node('MatMul', ['x', 'w'], ['p']),
      node('Transpose', ['p'], ['y'], { attributes: { perm: [1n, 0n] } }),
      node('ReduceSum', ['p', 'axis'], ['s'], { attributes: { keepdims: 0n } }),
    ],
    constants: [tensor('w', [16, 5], random(80, 1)), tensor('axis', [1], BigInt64Array.of(1n))],
    inputs: [float('x', ['batch', 16])],
    outputs: [float('y', [5, 'batch']), float('s', ['batch'])],
  });
  const { input: file, output } = files(t, model);
  await quantizeModel(file, output, { bits: 2, method: 'msq', groupSize: 'channel' });
  const data = { x: { data: random(16 * 30, 2), dims: [30, 16], type: 'float32' } };
  const [float32, quantized] = [(await run(file, data))['y']!, (await run(output, data))['y']!];
  const column = (values: Float32Array, j: number) => values.filter((_, at) => at % 30 === j);
  const best = (values: Float32Array) => values.indexOf(Math.max(...values));
  const agreeing = Array.from({ length: 30 }, (_, j) => best(column(float32, j)) === best(column(quantized, j))).filter(Boolean).length; // prettier-ignore
  for (const batchSize of [30, 7]) {
    const [y, s] = (await evaluateModel(file, output, { data, batchSize, runs: 0 })).outputs;
    t.is(y!.rows, 30);
    t.is(y!.agreement, agreeing / 30);
    t.deepEqual([s!.rows, s!.agreement], [30, null]);
  }
});

test('case bilstm: --batch-axis on the command line', (t) => {
  const { input: file, output } = files(t, recurrent.bidirectional());
  const data = kinds(t, recurrent.withLengths(7, 20, 3), { x: 1, lengths: 0 }).find(([kind]) => kind === 'npz')![1] as string; // prettier-ignore
  const cli = (...args: string[]) => {
    const command = [typescript, join('lib', 'cli', 'main.ts'), ...args];
    const { status, stderr, stdout } = spawnSync(process.execPath, command, {
      encoding: 'utf8',
      timeout: 60_000,
    });
    return { status, text: stderr + stdout };
  };
  const quantize = ['quantize', file, '-o', output, '--overwrite', '--calibration', data];
  for (const flags of [[], ['--batch-axis', 'items'], ['--batch-axis', 'x=1', '--batch-axis', 'lengths=0']]) {
    const { status, text } = cli(...quantize, ...flags);
    t.is(status, 0, text);
  }
  const evaluated = cli(
    'eval',
    file,
    output,
    '--data',
    data,
    '--runs',
    '0',
    '--batch-axis',
    'items',
    '--json',
  );
  t.is(evaluated.status, 0, evaluated.text);
  const unknown = cli(...quantize, '--batch-axis', 'batch');
  t.is(unknown.status, 2, unknown.text);
  t.regex(unknown.text, /no input has a dimension of that name/);
  t.is(cli(...quantize, '--batch-axis', 'items', '--batch-axis', 'x=1').status, 2);
});
