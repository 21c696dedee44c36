import test, { type ExecutionContext } from 'ava';
import { execFile } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { quantizeModel } from '../../lib/index';
import { prepareCalibrationSet } from '../../lib/models/calibration-set';
import { aliveValues } from '../../lib/models/forward/alive-values';
import { findLayers } from '../../lib/models/layers/find-layers';
import { openModel } from '../../lib/models/open-model';
import { node, tensor } from '../../lib/containers/onnx/make';
import { formatNpy } from '../containers/npy/format-npy';
import { feed, files, float, network, random, type Parts } from './networks';
import { typescript } from '../typescript';

// Networks whose inputs are small and whose values between layers are not: batches are cut by what is there at once.

const child = join(__dirname, 'children', 'peak-memory.ts');
const whole = (name: string, ...values: number[]) =>
  tensor(name, [values.length], BigInt64Array.from(values, BigInt));
const weight = (name: string, rows: number, columns: number) =>
  tensor(name, [rows, columns], random(rows * columns, name.charCodeAt(0)));

/** By sample: what its input has, and nodes from x to k, which has 16 features. What lives at once for one of them is 32 MiB. */
const widening: Record<string, { dims: number[]; parts: Parts }> = {
  'a value that is spread out': {
    dims: [16],
    parts: {
      nodes: [
        node('MatMul', ['x', 'a'], ['h']),
        node('Unsqueeze', ['h', 'one'], ['u']),
        node('Expand', ['u', 'shape'], ['wide']),
        node('Tanh', ['wide'], ['t']),
        node('ReduceMean', ['t'], ['k'], { attributes: { axes: [1n], keepdims: 0n } }),
        node('MatMul', ['k', 'b'], ['y']),
      ],
      constants: [weight('a', 16, 16), weight('b', 16, 16), whole('one', 1), whole('shape', 1, 2 ** 18, 1)],
      inputs: [float('x', ['batch', 16])],
    },
  },
  'each position beside each other one': {
    dims: [2048, 1],
    parts: {
      nodes: [
        node('MatMul', ['x', 'a'], ['h']),
        node('Transpose', ['h'], ['turned'], { attributes: { perm: [0n, 2n, 1n] } }),
        node('MatMul', ['h', 'turned'], ['scores']),
        node('Softmax', ['scores'], ['shares'], { attributes: { axis: -1n } }),
        node('MatMul', ['shares', 'h'], ['k']),
        node('MatMul', ['k', 'b'], ['y']),
      ],
      constants: [weight('a', 1, 16), weight('b', 16, 16)],
      inputs: [float('x', ['batch', 2048, 1])],
    },
  },
  'an image that is made larger': {
    dims: [1, 8, 8],
    parts: {
      nodes: [
        node('Conv', ['x', 'a'], ['h']),
        node('Resize', ['h', '', 'scales'], ['wide'], { attributes: { mode: 'nearest' } }),
        node('Relu', ['wide'], ['r']),
        node('GlobalAveragePool', ['r'], ['pooled']),
        node('Flatten', ['pooled'], ['k']),
        node('MatMul', ['k', 'b'], ['y']),
      ],
      constants: [
        tensor('a', [16, 1, 1, 1], random(16, 1)),
        weight('b', 16, 16),
        tensor('scales', [4], Float32Array.of(1, 1, 64, 64)),
      ],
      inputs: [float('x', ['batch', 1, 8, 8])],
    },
  },
};

/** The network's file and one of data for it. */
function setUp(t: ExecutionContext, { dims, parts }: (typeof widening)[string], samples: number) {
  const { input, output } = files(t, network(parts));
  const calibration = join(dirname(input), 'data.npy');
  const { data } = feed([samples, ...dims], 3)['x']!;
  writeFileSync(calibration, formatNpy({ data: data as Float32Array, dims: [samples, ...dims] }));
  return { input, output, calibration };
}

for (const [what, given] of Object.entries(widening))
  test(`case wide_values: ${what}: memory is that of a few samples`, async (t) => {
    const { input, output, calibration } = setUp(t, given, 40);
    const options = { calibration, method: 'gptq', holdout: 0, threads: 1 };
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [typescript, child, 'quantizeModel', input, output, JSON.stringify(options)],
      { timeout: 240_000 },
    );
    const peak = Number(stdout) / 2 ** 20;
    t.true(existsSync(output));
    // 32 samples at once take over 1 GiB, beside what the process itself takes.
    t.log(`${Math.round(peak)} MiB`);
    t.true(peak > 50 && peak < 750, `${peak} MiB`);
  });

test('case wide_values: how many samples are run together does not depend on memory, and "batchSize" goes before', async (t) => {
  const given = widening['an image that is made larger']!;
  const { input, output, calibration } = setUp(t, given, 9);
  const runs = async (options: object) => {
    let total = 0;
    await quantizeModel(input, output, {
      ...{ calibration, method: 'gptq', holdout: 0, threads: 1 },
      ...options,
      onProgress: (progress) => {
        if (progress.stage === 'capture') total = progress.total;
      },
    });
    return total;
  };
  // 128 MiB hold four samples.
  t.is(await runs({}), 3);
  t.is(await runs({ memory: 0 }), 3);
  t.is(await runs({ batchSize: 9 }), 1);
  t.is(await runs({ batchSize: 2 }), 5);
});

test('the most that is there at once is told before batches are cut, without what is gone by then', async (t) => {
  for (const [what, bytes, at] of [
    ['a value that is spread out', 2 * 4 * 16 * 2 ** 18, 't'],
    ['each position beside each other one', 2 * 4 * 2048 ** 2 + 4 * 16 * 2048, 'shares'],
    ['an image that is made larger', 2 * 4 * 16 * 512 ** 2, 'r'],
  ] as const) {
    const { dims, parts } = widening[what]!;
    const { input } = files(t, network(parts));
    const opened = await openModel(input);
    const { layers } = findLayers(opened.graph);
    const found = await aliveValues(opened, layers, feed([1, ...dims], 1), undefined);
    t.is(found.at, at);
    // Beside such values there are a few small ones.
    t.true(found.bytes >= bytes && found.bytes < 1.02 * bytes, `${what}: ${found.bytes}`);
    const aborted = AbortSignal.abort(new Error('enough'));
    await t.throwsAsync(aliveValues(opened, layers, feed([1, ...dims], 1), aborted), { message: 'enough' });
    // A network that does not run says so when its turn comes.
    t.is((await aliveValues(opened, layers, feed([3], 1), undefined)).bytes, 0);
  }
});

test('a sample that alone is over the budget is run alone, and refused only where there is no memory for it', async (t) => {
  const inputs = [{ name: 'x', type: 'float32' as const, dims: ['batch', 16] }];
  const asked: number[] = [];
  const sizes = async (bytes: number, options: object = {}, data: unknown = feed([40, 16], 1)) => {
    const alive = (feeds: Record<string, { dims: readonly number[] }>) => {
      asked.push(feeds['x']!.dims[0]!);
      return Promise.resolve({ bytes, at: 'h' });
    };
    const { fit } = await prepareCalibrationSet(data as never, { inputs, alive, holdout: 0, ...options });
    return fit.map(({ x }) => x!.dims[0]);
  };
  t.deepEqual(await sizes(2 ** 20), [32, 8]);
  t.deepEqual(await sizes(2 ** 23), [16, 16, 8]);
  t.deepEqual(await sizes(2 ** 27 + 1), Array(40).fill(1));
  t.deepEqual(await sizes(0), [32, 8]);
  t.deepEqual(asked, [1, 1, 1, 1]);
  // Whoever says what is run together is not asked.
  t.deepEqual(await sizes(2 ** 60, { batchSize: 20 }), [20, 20]);
  t.deepEqual(await sizes(2 ** 60, {}, [feed([30, 16], 1)]), [30]);
  t.is(asked.length, 4);
  const error = await t.throwsAsync(sizes(2 ** 60), { code: 'ERR_VERTEXQ_MEMORY' });
  t.regex(error.message, /one sample of calibration, up to "h", needs about .* room for .*maxLength/);
});
