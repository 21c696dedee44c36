import test, { type ExecutionContext } from 'ava';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { type ModelOptions, quantizeModel } from '../../../lib/index';
import { node, tensor } from '../../../lib/containers/onnx/make';
import { ValueStore } from '../../../lib/models/forward/value-store';
import { Workspace } from '../../../lib/runs/workspace';
import { feed, files, float, folder, network, random } from '../networks';

// What lives between two stages: in memory up to a budget, beyond it in files that go with their values.

function storeIn(t: ExecutionContext, budget: number) {
  const path = folder(t);
  const workspace = new Workspace(join(path, 'out.onnx'));
  t.teardown(() => workspace.end());
  const spilled = () => {
    const [own] = readdirSync(path);
    return own === undefined
      ? []
      : readdirSync(join(path, own)).map((name) => statSync(join(path, own, name)).size);
  };
  return { path, workspace, store: new ValueStore(workspace, budget), spilled };
}

const numbers = (count: number, seed = 1) => ({
  data: random(count, seed),
  dims: [count],
  type: 'float32',
});

test('files of a workspace without names are read and written, and nothing of them is seen', async (t) => {
  const path = folder(t);
  const own = join(path, 'own');
  const workspace = new Workspace(own, own, true);
  const store = new ValueStore(workspace, 0);
  const [a, b] = [numbers(60, 1), numbers(40, 2)] as const;
  await store.put('seen', 'a', 0, a);
  await store.put('seen', 'b', 0, b);
  if (process.platform !== 'win32') t.deepEqual(readdirSync(own), []);
  t.deepEqual((await store.get('seen', 'a', 0)).data, a.data);
  t.deepEqual((await store.get('seen', 'b', 0)).data, b.data);
  await store.drop('a');
  await workspace.end();
  t.false(existsSync(own));
});

test('values stay in memory up to the budget, and go to a file each beyond it', async (t) => {
  const { store, spilled } = storeIn(t, 4 * 100);
  const [a, b, c] = [numbers(60, 1), numbers(40, 2), numbers(1, 3)] as const;
  await store.put('seen', 'a', 0, a);
  await store.put('seen', 'b', 0, b);
  t.deepEqual(spilled(), []);
  t.is(await store.get('seen', 'a', 0), a);
  await store.put('float', 'a', 0, c);
  await store.put('float', 'a', 1, b);
  t.deepEqual(spilled(), [4 * 41]);
  t.deepEqual(await store.get('float', 'a', 0), c);
  t.deepEqual(await store.get('float', 'a', 1), b);
  // The place of what is dropped is free for others.
  await store.drop('a');
  t.deepEqual(spilled(), []);
  await t.throwsAsync(store.get('seen', 'a', 0));
  await t.throwsAsync(store.get('float', 'a', 1));
  t.is(await store.get('seen', 'b', 0), b);
  await store.put('seen', 'd', 0, a);
  t.deepEqual(spilled(), []);
  await store.put('seen', 'd', 1, c);
  t.deepEqual(spilled(), [4]);
});

test('values of every type come back from a file as they were', async (t) => {
  const { store } = storeIn(t, 0);
  const values = [
    { data: BigInt64Array.of(-1n, 2n ** 62n), dims: [2, 1], type: 'int64' },
    { data: Uint8Array.of(1, 0, 1), dims: [3], type: 'bool' },
    { data: Uint16Array.of(0x3c00), dims: [], type: 'float16' },
    { data: Float64Array.of(Math.PI, NaN, -0), dims: [3], type: 'float64' },
    { data: new Float32Array(0), dims: [4, 0], type: 'float32' },
    { data: ['a', ''], dims: [2], type: 'string' },
    // Part of a larger buffer.
    { data: Float32Array.of(1, 2, 3).subarray(1, 2), dims: [1], type: 'float32' },
  ];
  for (const [batch, value] of values.entries()) await store.put('seen', 'a/b\0…', batch, value);
  for (const [batch, value] of values.entries()) t.deepEqual(await store.get('seen', 'a/b\0…', batch), value);
});

/** Six layers one behind the other, the first value used by the fourth too. */
const deep = network({
  nodes: [0, 1, 2, 3, 4, 5].flatMap((i) => [
    node('MatMul', [i === 0 ? 'x' : `b${i - 1}`, `w${i}`], [`a${i}`], { name: `layer${i}` }),
    i === 2 ? node('Add', ['a2', 'b0'], ['b2']) : node('Tanh', [`a${i}`], [i === 5 ? 'y' : `b${i}`]),
  ]),
  constants: [0, 1, 2, 3, 4, 5].map((i) => tensor(`w${i}`, [32, 32], random(1024, i + 1))),
  inputs: [float('x', ['batch', 32])],
});

const common: ModelOptions = {
  calibration: [feed([50, 32], 1), feed([70, 32], 2)],
  holdout: 0,
  effort: 0,
  memory: 0,
};

/** The files of values beside an output that is being made. */
function waiting(output: string): string[] {
  const work = `${output}.vertexq`;
  return readdirSync(work, { recursive: true, encoding: 'utf8' }).filter((name) =>
    basename(name).startsWith('values'),
  );
}

test('files of values go as soon as no later layer needs them', async (t) => {
  const { input, output } = files(t, deep);
  const counts = new Map<string, number>();
  await quantizeModel(input, output, {
    ...common,
    onProgress: ({ stage, layer }) => {
      if (stage === 'quantize') counts.set(layer!, waiting(output).length);
    },
  });
  // Of both networks each: what the next stage begins with, and what the sum takes.
  t.deepEqual(
    [...counts].map(([, count]) => count),
    [0, 2, 4, 2, 2, 0],
  );
  t.deepEqual(readdirSync(dirname(output)).sort(), ['in.onnx', 'out.onnx']);
});

test('no values are left after an error, an abort or an exception in the middle', async (t) => {
  for (const fail of [
    () => {
      throw new Error('a bad day');
    },
    (controller: AbortController) => controller.abort(new Error('a bad day')),
  ])
    for (const stage of ['capture', 'quantize']) {
      const { input, output } = files(t, deep);
      const controller = new AbortController();
      let seen = false;
      await t.throwsAsync(
        quantizeModel(input, output, {
          ...common,
          signal: controller.signal,
          onProgress: (progress) => {
            if (progress.stage !== stage || progress.layer !== 'layer3') return;
            seen ||= waiting(output).length > 0;
            fail(controller);
          },
        }),
        { message: 'a bad day' },
      );
      t.true(seen);
      t.deepEqual(readdirSync(dirname(output)), ['in.onnx', 'out.onnx.vertexq']);
      // Layers that are fitted stay, no values.
      t.deepEqual(readdirSync(`${output}.vertexq`).sort(), [
        'journal',
        'layers.part',
        'lock',
        'manifest.json',
      ]);
    }
  // A batch that cannot be used.
  const { input, output } = files(t, deep);
  const calibration = [
    feed([50, 32], 1),
    { x: { ...feed([1, 32], 1)['x']!, data: new Float32Array(32).fill(NaN) } },
  ];
  await t.throwsAsync(quantizeModel(input, output, { ...common, calibration }), {
    code: 'ERR_VERTEXQ_NOT_FINITE',
  });
  t.false(existsSync(output));
  t.deepEqual(readdirSync(dirname(output)), ['in.onnx']);
});
