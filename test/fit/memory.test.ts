import { writeFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import test from 'ava';
import {
  compareMethods,
  preprocess,
  quantizeCheckpoint,
  quantizeLayer,
  quantizeModel,
  type Method,
} from '../../lib/index';
import { layerMemory } from '../../lib/fit/layer-memory';
import { node, tensor as constant } from '../../lib/containers/onnx/make';
import { bytesOf, fileOf, numbers, tensor } from '../checkpoints/make';
import { temporaryFolder } from '../files/temporary-folder';
import { files, network } from '../models/networks';

const wide = 200_000;
const wideLayer = {
  outFeatures: 1,
  inFeatures: wide,
  weight: numbers(wide, 1),
  activations: numbers(wide, 2),
};
const tooLarge = {
  code: 'ERR_VERTEXQ_MEMORY',
  message: /200000.* needs about .*TB of memory, and there is room for .*msq/,
};

test('trust 1: a layer too wide for its Gram matrix is refused before work, with the way out, by every method that keeps one', async (t) => {
  for (const method of ['vertex', 'gptq', 'gpfq'] as Method[]) {
    await t.throwsAsync(quantizeLayer(wideLayer, { method }), tooLarge);
    await t.throwsAsync(
      quantizeLayer({ ...wideLayer, targetActivations: wideLayer.activations }, { method }),
      tooLarge,
    );
  }
});

test('trust 1: what needs no square of the inputs goes on at that width', async (t) => {
  const { codes } = await quantizeLayer(wideLayer, { method: 'msq' });
  t.is(codes.length, wide);
  const { free } = await preprocess(wideLayer);
  t.true(free[0]!.length <= 1);
});

test('trust 1: so where methods are compared, all kinds of what they keep of the data together', async (t) => {
  for (const methods of [['gptq'], ['msq', 'vertex'], ['maly-saab', 'gpfq']] as Method[][])
    await t.throwsAsync(compareMethods(wideLayer, { methods, bits: [2] }), {
      ...tooLarge,
      message: new RegExp(`the method "${methods.at(-1)}" needs about .*msq`),
    });
  const { runs } = await compareMethods(wideLayer, { methods: ['msq', 'maly-saab'], bits: [2] });
  t.is(runs.length, 2);
  const needs = { name: 'a', outFeatures: 1, inFeatures: 1000, method: 'gptq', kind: 'gram' } as const;
  const alone = layerMemory({ ...needs, rows: 2000, holdoutRows: 0 });
  t.true(layerMemory({ ...needs, rows: 2000, holdoutRows: 0, others: ['rows'] }) > alone + 15e6);
});

test('trust 1: so in a model and in a checkpoint, by the name of the layer', async (t) => {
  const folder = temporaryFolder(t);
  const { input: model } = files(
    t,
    network({
      nodes: [node('MatMul', ['x', 'w'], ['y'], { name: 'fc' })],
      constants: [constant('w', [wide, 4], numbers(4 * wide, 1))],
    }),
  );
  const calibration = [{ x: { data: numbers(2 * wide, 3), dims: [2, wide], type: 'float32' as const } }];
  await t.throwsAsync(quantizeModel(model, join(folder, 'out.onnx'), { calibration, holdout: 0 }), {
    code: 'ERR_VERTEXQ_MEMORY',
    message: /layer "fc" .*200000/,
  });
  const [input, data] = [join(folder, 'in.safetensors'), join(folder, 'data.safetensors')];
  writeFileSync(input, fileOf({ 'a.weight': tensor('F32', [1, wide], 3) }));
  writeFileSync(
    data,
    fileOf({ 'a.weight': { dtype: 'F32', shape: [1, wide], data: bytesOf(numbers(wide, 5), 'F32') } }),
  );
  await t.throwsAsync(quantizeCheckpoint(input, join(folder, 'out.safetensors'), { activations: [data] }), {
    code: 'ERR_VERTEXQ_MEMORY',
    message: /tensor "a\.weight" .*200000/,
  });
});

test('trust 1: error correction counts for layers whose input has changed, and for those alone', async (t) => {
  // b sees what a gives; c sees the network's input, widened by a constant; d, behind a layer that is skipped, what has not changed.
  const input = files(
    t,
    network({
      nodes: [
        node('MatMul', ['x', 'wa'], ['ha'], { name: 'a' }),
        node('MatMul', ['ha', 'wb'], ['yb'], { name: 'b' }),
        node('Mul', ['x', 'ones'], ['hc']),
        node('MatMul', ['hc', 'wc'], ['yc'], { name: 'c' }),
        node('MatMul', ['x', 'ws'], ['hd'], { name: 's' }),
        node('MatMul', ['hd', 'wd'], ['yd'], { name: 'd' }),
        node('Sum', ['yb', 'yc', 'yd'], ['y']),
      ],
      constants: [
        ...['wa', 'ws', 'ones'].map((name) => constant(name, [1, wide], numbers(wide, 1))),
        ...['wb', 'wc', 'wd'].map((name) => constant(name, [wide, 1], numbers(wide, 2))),
      ],
    }),
  ).input;
  const calibration = [{ x: { data: numbers(2, 3), dims: [2, 1], type: 'float32' as const } }];
  const needed = async (layer: string, errorCorrection: boolean) => {
    const { message } = await t.throwsAsync(
      quantizeModel(input, join(temporaryFolder(t), 'out.onnx'), {
        ...{ calibration, holdout: 0, method: 'gptq', errorCorrection, layers: ['a', layer] },
      }),
      { code: 'ERR_VERTEXQ_MEMORY' },
    );
    return Number(new RegExp(`^layer "${layer}" .* needs about ([0-9.]+) TB`).exec(message)?.[1]);
  };
  for (const [layer, ratio] of [
    ['b', 85 / 55],
    ['c', 1],
    ['d', 1],
  ] as const)
    t.true(Math.abs((await needed(layer, true)) / (await needed(layer, false)) - ratio) < 0.1, layer);
});

test('trust 1: estimates grow with the square of the inputs, groups count, and few rows are few', (t) => {
  const needs = {
    name: 'a',
    outFeatures: 1,
    inFeatures: 1000,
    method: 'gptq',
    kind: 'gram',
    rows: 9,
    holdoutRows: 0,
  } as const;
  const one = layerMemory(needs);
  t.true(one > 50e6 && one < 100e6);
  t.true(layerMemory({ ...needs, inFeatures: 2000 }) > 3.9 * one);
  t.true(layerMemory({ ...needs, groups: 100 }) > 5 * one);
  t.true(layerMemory({ ...needs, holdoutRows: 1 }) > one);
  t.true(layerMemory({ ...needs, method: 'maly-saab', kind: 'rows' }) < 1e6);
});

const onLinux = process.platform === 'linux' ? test : test.skip;
const script = (body: string) => `
  const { quantizeLayer } = require(${JSON.stringify(join(__dirname, '../../dist'))});
  const { execFileSync } = require('node:child_process');
  const numbers = (n) => Float32Array.from({ length: n }, (_, i) => Math.sin(i * 1.3 + Math.cos(i)));
  const layer = { outFeatures: 64, inFeatures: 64, weight: numbers(4096), activations: numbers(64 * 400) };
  const addresses = () => 1024 * Number(/VmSize:\\s+(\\d+)/.exec(require('node:fs').readFileSync('/proc/self/status', 'latin1'))[1]);
  const allow = (bytes) => execFileSync('prlimit', ['--pid', String(process.pid), '--as=' + (addresses() + bytes)]);
  const { binding: addon } = require(${JSON.stringify(join(__dirname, '../../dist/native/binding'))});
  const told = (p) => p.then((done) => 'done ' + done.codes.length, (e) => e.constructor.name + ' ' + e.code);
  ${body}`;
/** What a process prints whose threads take a GB of addresses for their stack. */
const run = (body: string) =>
  execFileSync('bash', ['-c', 'ulimit -s 1000000 && exec "$0" -e "$1"', process.execPath, script(body)], {
    encoding: 'utf8',
    timeout: 60_000,
  }).trim();

onLinux('trust 8: where no thread can be made there is an error, and where one can, it does', (t) => {
  t.is(
    run(
      '(async () => { await require("node:fs/promises").stat("/"); addon(); allow(7e8); console.log(await told(quantizeLayer(layer, { threads: 4 }))); })()',
    ),
    'VertexqError ERR_VERTEXQ_THREADS',
  );
  t.is(
    run(
      '(async () => { await require("node:fs/promises").stat("/"); addon(); allow(1.8e9); console.log(await told(quantizeLayer(layer, { threads: 4 }))); })()',
    ),
    'done 4096',
  );
});

onLinux(
  'trust 7: where there is no memory for the buffers of OpenBLAS the job ends, with an error if need be',
  (t) => {
    const ends: string[] = [];
    for (const bytes of [2.4e7, 6e7, 1e8, 1.6e8, 2.5e8, 4e8]) {
      const body = `(async () => {
      const n = 700;
      const large = { outFeatures: n, inFeatures: n, weight: numbers(n * n), activations: numbers(n * n) };
      await addon().checksum({ input: new Uint8Array(8) }).promise;
      allow(${bytes});
      const { signal } = new AbortController();
      console.log(await told(quantizeLayer(large, { method: 'gptq', threads: 4, signal })));
    })()`;
      ends.push(
        execFileSync(process.execPath, ['-e', script(body)], { encoding: 'utf8', timeout: 60_000 }).trim(),
      );
    }
    t.log(ends.join(', '));
    for (const end of ends) t.regex(end, /^(done 490000|VertexqError ERR_VERTEXQ_MEMORY)$/);
    t.true(ends.includes('VertexqError ERR_VERTEXQ_MEMORY'));
  },
);
