/* eslint-disable @typescript-eslint/no-require-imports, @typescript-eslint/consistent-type-imports -- the addon is put in another's place first */
// Runs every entry of the addon while an allocation fails, the n-th, for every n in turn: an error with a code or the undisturbed result
// must come each time, and nothing may be lost. `npm run faults -- 10000`, with AddressSanitizer: `-- 10000 --asan`. Linux alone.
import assert from 'node:assert';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { toBinary } from '@bufbuild/protobuf';
import type { Binding } from '../../lib/native/binding';
import { runWithSanitizer } from './asan';

interface FaultyBinding extends Binding {
  /** The n-th allocation from now on fails; 0: none. */
  armFault(n: number): void;
  /** Since armFault. */
  allocations(): number;
  liveBytes(): number;
  /** Loses a few bytes. */
  lose(): void;
  /** Whether LeakSanitizer has been asked to tell of leaks. */
  tellLeaks(): boolean;
}

const root = join(__dirname, '..', '..');
const build = join(root, 'build');
const words = process.argv.slice(2);
if (words.includes('--asan')) {
  runWithSanitizer(
    __filename,
    words.filter((word) => word !== '--asan'),
  );
  process.exit();
}
/** The addon that runWithSanitizer has built. */
const sanitized = process.env.VERTEXQ_FAULTS;
if (sanitized === undefined)
  execFileSync('cmake', ['--build', build, '--target', 'vertexq_faults'], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
// In the place of the addon, before anything loads that.
const faulty = require(sanitized ?? join(build, 'faults', 'vertexq_faults.node')) as FaultyBinding;
const place = join(build, 'Release', 'vertexq.node');
require.cache[place] = Object.assign(new (require('node:module') as typeof import('node:module'))(place), {
  filename: place,
  loaded: true,
  exports: faulty,
});

const { preprocess, quantizeCheckpoint, quantizeLayer, quantizeModel } =
  require('../../lib/index') as typeof import('../../lib/index');
import { node, tensor } from '../../lib/containers/onnx/make';
import { ModelProtoSchema } from '../../lib/containers/onnx/onnx_pb';
import { fileOf, tensor as numbersOf } from '../../test/checkpoints/make';
import { network, random } from '../../test/models/networks';
import { finish } from '../../lib/native/jobs';
import { LayerRows } from '../../lib/fit/layer-rows';
import { convert, packBlocks, packIntegers, transposed, valuesNow, valuesOf } from '../../lib/native/tensors';

const [inFeatures, outFeatures] = [16, 6];
const layer = {
  inFeatures,
  outFeatures,
  weight: random(inFeatures * outFeatures, 1),
  activations: random(40 * inFeatures, 2),
};
const gram = new Float64Array(inFeatures * inFeatures);
for (let i = 0; i < inFeatures; i++)
  for (let j = 0; j < inFeatures; j++)
    for (let r = 0; r < 40; r++)
      gram[i * inFeatures + j]! +=
        layer.activations[r * inFeatures + i]! * layer.activations[r * inFeatures + j]!;
const threads = 2;

const coded8 = {
  codes: Int8Array.from({ length: 80 }, (_, i) => (i % 15) - 7),
  scales: random(8, 10),
  zeroPoints: Float32Array.from({ length: 8 }, (_, i) => i - 4),
  ...{ groupSize: 16, outFeatures: 4, inFeatures: 20 },
};

/** What is run, and a digest of what comes. */
function scenarios(folder: string): Record<string, () => Promise<unknown>> {
  const [model, out] = [join(folder, 'in.onnx'), join(folder, 'out.onnx')];
  const [checkpoint, packed] = [join(folder, 'in.safetensors'), join(folder, 'out.safetensors')];
  return {
    vertex: () => quantizeLayer(layer, { threads }),
    'gptq, targets, held-out rows': () =>
      quantizeLayer(
        {
          ...layer,
          targetActivations: layer.activations.map((x) => 1.1 * x),
          holdout: random(8 * inFeatures, 3),
        },
        { method: 'gptq', bits: 3, threads },
      ),
    'gpfq, float64': () =>
      quantizeLayer(
        { ...layer, activations: Float64Array.from(layer.activations) },
        { method: 'gpfq', threads },
      ),
    'a Gram matrix': () =>
      quantizeLayer({ ...layer, activations: undefined!, gram }, { method: 'gptq', threads }),
    'maly-saab': () => quantizeLayer(layer, { method: 'maly-saab', threads }),
    'msq, groups': () => quantizeLayer(layer, { method: 'msq', groupSize: 4, threads }),
    preprocess: () => preprocess(layer, { threads }),
    'preprocess, a Gram matrix': () => preprocess({ ...layer, activations: undefined!, gram }, { threads }),
    patches: async () => {
      const sums = LayerRows.of(4, 'gram', {}, 2);
      const tensor = {
        values: random(2 * 2 * 5 * 5, 4),
        shape: [2, 2, 5, 5],
        kernel: [2, 2],
        strides: [1, 1],
        dilations: [1, 1],
      };
      await sums.addPatches({ ...tensor, pads: [0, 0, 1, 1] });
      const weight = {
        weight: random(8, 5),
        outFeatures: 2,
        inFeatures: 4,
        holdout: null,
        grid: 'integer' as const,
        levels: 15,
      };
      return finish(
        () =>
          faulty.quantize({
            ...{ ...weight, groupSize: 4, box: 'cell', rank: 'auto', rankLimit: 0, threads },
            ...{
              calibration: sums.group(1).native,
              method: 'gptq',
              scale: 'search',
              damping: -1,
              passes: -1,
              correction: 1,
              scaleType: 'F32',
              valueType: 'F32',
            },
          }),
        undefined,
      );
    },
    'many weights': async () => {
      const output = new Uint8Array(512);
      const sums = await finish(
        () =>
          faulty.roundMany({
            ...{ input: new Uint8Array(random(192, 6).buffer), output, threads, type: 'F32', outType: 'F16' },
            ...{ grid: 'asymmetric', levels: 15, scale: 'search', order: 'neuron-major', bits: 4 },
            // Two of different shapes: 8 × 8 in groups of 4, 4 × 32.
            ...{
              zeroShift: 0,
              places: Float64Array.of(8, 8, 4, 0, 0, 200, 240, 4, 32, 32, 256, 64, 300, 320),
            },
          }),
        undefined,
      );
      return [...sums, ...output];
    },
    'rows read back': async () => {
      const wanted = {
        codesTo: new Int8Array(32 * 16),
        scalesTo: new Float32Array(32 * 2),
        zeroPointsTo: new Float32Array(32 * 2),
        valuesTo: new Float32Array(32 * 16),
      };
      const bytes = (length: number) => Uint8Array.from({ length }, (_, i) => (i * 37) % 251);
      const sums = await finish(
        () =>
          faulty.unpackRows({
            ...{
              ...wanted,
              order: 'input-major',
              outType: 'F32',
              zeroShift: -1,
              bits: 4,
              threads,
              firstRow: 0,
            },
            ...{ rows: 32, outFeatures: 32, cols: 16, groupSize: 8, groups: 2 },
            ...{
              codes: bytes(256),
              zeroPoints: bytes(32),
              groupOf: Int32Array.from({ length: 16 }, (_, i) => i % 2),
            },
            scales: new Uint8Array(random(64, 6).buffer),
            ...{ reference: new Uint8Array(random(512, 7).buffer), type: 'F32' },
          }),
        undefined,
      );
      return [sums, ...Object.values(wanted)];
    },
    'tensors, in jobs': async () => {
      const shared = <Values extends Float32Array | Int8Array>(values: Values): Values => {
        const copy = new Uint8Array(new SharedArrayBuffer(values.byteLength));
        copy.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
        return new (values.constructor as new (buffer: SharedArrayBuffer) => Values)(copy.buffer);
      };
      const large = shared(random(2 ** 15, 9));
      const coded = {
        codes: shared(Int8Array.from({ length: 2 ** 17 + 256 }, (_, i) => (i % 16) - 8)),
        scales: random(513, 10),
        zeroPoints: null,
        ...{ groupSize: 256, outFeatures: 513, inFeatures: 256 },
      };
      return [
        await convert(large, 'F32', 'F16'),
        await transposed(large, 128, 256),
        await valuesOf(coded),
        await packBlocks(coded, { blockSize: 32, bits: 4, offset: 8, doubled: false, hasZeroPoints: false }),
        await packIntegers(coded.codes, [513, 256], { bits: 4, doubled: false, rowLength: 257 }),
      ].map((made) =>
        createHash('sha256')
          .update(JSON.stringify(Object.values(made).map(String)))
          .digest('hex'),
      );
    },
    'tensors, at once': async () => [
      await convert(random(100, 9), 'F32', 'BF16'),
      await transposed(random(96, 9), 8, 12),
      valuesNow({ ...coded8, zeroPoints: null }),
      await packBlocks(coded8, { blockSize: 16, bits: 4, offset: 8, doubled: false, hasZeroPoints: true }),
      await packIntegers(coded8.codes, [4, 20], { bits: 4, doubled: true, rowLength: 21 }),
    ],
    'a network': () =>
      quantizeModel(model, out, { threads }).then(({ layers }) => layers.map(({ error }) => error)),
    'a checkpoint': async () => {
      rmSync(`${packed}.vertexq`, { recursive: true, force: true }); // of the run before, to be resumed
      const { layers } = await quantizeCheckpoint(checkpoint, packed, { threads });
      return layers.map(({ error }) => error);
    },
  };
}

/** What errors of memory begin with: who calls the addon by itself knows what for. */
const named = /^(the layer \(|layer "|\S*(in|out)\.(onnx|safetensors): )/;
const bare = new Set(['patches', 'many weights', 'rows read back', 'tensors, in jobs', 'tensors, at once']);

function digest(result: unknown): string {
  const plain = JSON.stringify(result, (key, value: unknown) =>
    key === 'seconds' ? 0 : ArrayBuffer.isView(value) ? Array.from(value as Float64Array) : value,
  );
  return createHash('sha256').update(plain).digest('hex');
}

async function main(): Promise<void> {
  const runs = Number(words[0] ?? 10_000);
  const folder = mkdtempSync(join(tmpdir(), 'vertexq-faults-'));
  try {
    await tryAll(folder, runs);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function tryAll(folder: string, runs: number): Promise<void> {
  const model = network({
    nodes: [node('Gemm', ['x', 'w'], ['h'], { name: 'a' }), node('MatMul', ['h', 'v'], ['y'], { name: 'b' })],
    constants: [tensor('w', [32, 32], random(1024, 6)), tensor('v', [32, 8], random(256, 7))],
  });
  await writeFile(join(folder, 'in.onnx'), toBinary(ModelProtoSchema, model));
  await writeFile(join(folder, 'in.safetensors'), fileOf({ 'a.weight': numbersOf('BF16', [32, 64], 8) }));
  const list = Object.entries(scenarios(folder));
  const expected = new Map<string, { digest: string; allocations: number }>();
  for (const [name, run] of list) {
    digest(await run()); // what is made once stays
    faulty.armFault(0);
    expected.set(name, { digest: digest(await run()), allocations: faulty.allocations() });
  }
  const live = await settledBytes();
  const counts: Record<string, number> = { result: 0 };
  for (let i = 0, n = 1; i < runs; i += list.length, n++)
    for (const [name, run] of list) {
      const { digest: right, allocations } = expected.get(name)!;
      faulty.armFault(1 + ((n - 1) % (allocations + 1)));
      const result = await run().then(digest, (error: unknown) => error as Error & { code?: string });
      faulty.armFault(0);
      if (typeof result === 'string') assert.equal(result, right, `${name}, allocation ${n}: another result`);
      else {
        const where = `${name}, allocation ${n}: ${result.stack}`;
        assert.match(String(result.code), /^ERR_VERTEXQ_(MEMORY|THREADS)$/, where);
        if (result.code === 'ERR_VERTEXQ_MEMORY' && !bare.has(name))
          assert.match(result.message, named, where);
      }
      const kind = typeof result === 'string' ? 'result' : result.code!;
      counts[kind] = (counts[kind] ?? 0) + 1;
    }
  const lost = (await settledBytes()) - live;
  console.log(counts, `${lost} bytes more than before`);
  assert.ok(counts.ERR_VERTEXQ_MEMORY! > runs / 4, 'hardly any allocation failed');
  // What threads keep for themselves; a leak of one number a run would be more.
  assert.ok(lost < 8 * runs, `${lost} bytes are lost`);
  // Several, for a place that nobody looks at any more may still hold the address of one.
  for (let i = 0; i < 16; i++) faulty.lose();
  assert.equal(faulty.tellLeaks(), sanitized !== undefined);
}

/** Bytes in use once all that JavaScript let go has been freed. */
async function settledBytes(): Promise<number> {
  for (let round = 0; round < 4; round++) {
    global.gc!();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return faulty.liveBytes();
}

void main();
