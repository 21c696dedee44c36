import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { quantizeGroups } from '../../../lib/fit/quantize-groups';
import { findLayers } from '../../../lib/models/layers/find-layers';
import type { Layer } from '../../../lib/models/layers/layer';
import { roundWeight } from '../../../lib/models/layers/round-weight';
import { weightOf } from '../../../lib/models/layers/weight-values';
import { checkModelOptions, layerSettings } from '../../../lib/models/model-options';
import { Graph } from '../../../lib/containers/onnx/graph';
import { node, tensor } from '../../../lib/containers/onnx/make';
import {
  type ModelProto,
  type TensorProto,
  TensorProto_DataType as DataType,
} from '../../../lib/containers/onnx/onnx_pb';
import { Weights } from '../../../lib/containers/onnx/weights';
import { Buffers } from '../../../lib/native/buffers';
import type { Grid, QuantizedLayer } from '../../../lib/types';
import type { StoredTypes } from '../../../lib/fit/layer-settings';
import { temporaryFolder } from '../../files/temporary-folder';
import { floatToBfloat, floatToHalf } from '../../numbers';
import { float, network } from '../networks';

// The way that weights without data take, against that of layers with data.

type Type = 'F32' | 'F16' | 'BF16';
const types = { F32: DataType.FLOAT, F16: DataType.FLOAT16, BF16: DataType.BFLOAT16 } as const;

/** Operators that see their weight in every order there is. */
const forms: Record<string, (type: Type, values: Float32Array) => ModelProto> = {};
const sizes: Record<string, number[]> = {};
function form(
  name: string,
  op: string,
  dims: number[],
  given: {
    attributes?: Record<string, bigint>;
    domain?: string;
    before?: Parameters<typeof node>;
    index?: number;
  } = {},
) {
  sizes[name] = dims;
  forms[name] = (type, values) => {
    const constant = tensor('w', dims, new Float32Array(values));
    const bytes = { F32: () => values, F16: () => floatToHalf(values), BF16: () => floatToBfloat(values) }[
      type
    ]();
    constant.dataType = types[type];
    constant.rawData = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const weight = given.before ? 'turned' : 'w';
    const inputs = given.index === 0 ? [weight, 'x'] : ['x', weight];
    return network({
      nodes: [
        ...(given.before ? [node(...given.before)] : []),
        node(op, inputs, ['y'], {
          attributes: given.attributes ?? {},
          ...(given.domain ? { domain: given.domain } : {}),
        }),
      ],
      constants: [constant],
      inputs: [float('x')],
    });
  };
}
form('product', 'MatMul', [40, 37]);
form('product from the left', 'MatMul', [37, 40], { index: 0 });
form('wide product', 'MatMul', [70, 150]);
form('turned product', 'MatMul', [37, 40], { before: ['Transpose', ['w'], ['turned']] });
form('Gemm', 'Gemm', [40, 37]);
form('Gemm, transposed', 'Gemm', [37, 40], { attributes: { transB: 1n } });
form('look-up', 'Gather', [50, 33], { index: 0 });
form('convolution', 'Conv', [6, 5, 3, 2]);
form('groups', 'Conv', [8, 3, 3, 1], { attributes: { group: 4n } });
form('turned convolution', 'ConvTranspose', [6, 4, 3, 2]);
form('turned groups', 'ConvTranspose', [8, 3, 2, 2], { attributes: { group: 4n } });
form('one neuron', 'MatMul', [129, 1]);
form('one input', 'MatMul', [1, 65]);

const count = (dims: readonly number[]) => dims.reduce((product, dim) => product * dim, 1);

/** Numbers as they come, and as they make trouble. */
const troubles: Record<string, (value: number, i: number) => number> = {
  plain: (value) => value / 16,
  'on a grid': (value) => Math.round(value * 4) / 8,
  ties: (value, i) => (i % 7 === 0 ? 3.5 : Math.round(value * 2) / 2 - 0.5),
  positive: (value) => Math.abs(value),
  negative: (value) => -Math.abs(value) - 0.1,
  outlier: (value, i) => (i % 41 === 3 ? 50 : value),
  huge: (value) => value * 1e36,
  largest: (value) => (value > 0 ? 3.4e38 : -3.4e38),
  small: (value) => value * 1e-6,
  tiny: (value) => value * 1e-36,
  denormal: (value) => Math.round(value) * 2 ** -149,
  zeros: () => 0,
  'some zeros': (value, i) => (i % 64 < 40 ? 0 : value),
  constant: () => -0.7,
  'not a number': (value, i) => (i === 71 ? NaN : value),
  infinite: (value, i) => (i === 71 ? -Infinity : value),
};

const alphabets: fc.Arbitrary<{ grid: Grid; bits?: number; levels?: number }> = fc.oneof(
  fc.record({ grid: fc.constant<Grid>('asymmetric'), bits: fc.integer({ min: 2, max: 8 }) }),
  fc.record({ grid: fc.constant<Grid>('integer'), bits: fc.integer({ min: 2, max: 8 }) }),
  fc.record({ grid: fc.constant<Grid>('full-range'), bits: fc.integer({ min: 2, max: 8 }) }),
  fc.record({ grid: fc.constant<Grid>('zero-free'), levels: fc.constantFrom(2, 4, 6, 16, 254) }),
);

const stores: StoredTypes[] = [
  { scales: 'F32', values: null },
  { scales: 'F16', values: null },
  { scales: 'BF16', values: null },
  { scales: 'F16', values: 'F16' },
  { scales: 'BF16', values: 'BF16' },
];

/** A layer's only one. */
function layerOf(model: ModelProto): Layer {
  const [layer] = findLayers(new Graph(model, 'a file')).layers;
  return layer!;
}

const close = (a: number | null, b: number | null) => a === b || Math.abs(a! - b!) <= 1e-9 * Math.abs(b!);

async function codeOf(work: () => Promise<QuantizedLayer>): Promise<QuantizedLayer | string> {
  return work().catch((error: { code?: string }) => error.code ?? `${(error as Error).message}`);
}

/** Has a tensor's bytes lie in a file. */
async function putInFile(t: ExecutionContext, constant: TensorProto, weights: Weights): Promise<void> {
  const path = join(temporaryFolder(t), 'data');
  const before = 48;
  await writeFile(path, Buffer.concat([Buffer.alloc(before), constant.rawData]));
  weights.locate(constant, { path, position: before, length: constant.rawData.length });
  constant.rawData = new Uint8Array(0);
}

test('a weight that lies in a file is rounded piece by piece, as at once, errors too', async (t) => {
  const property = fc.asyncProperty(
    fc.constantFrom(...Object.keys(forms)),
    fc.constantFrom<Type>('F32', 'F16', 'BF16'),
    fc.constantFrom(...Object.keys(troubles)),
    alphabets,
    fc.constantFrom(1, 8, 32, 48, 'channel' as const),
    fc.constantFrom(...stores),
    fc.constantFrom(1, 1000, 5000, 2 ** 22),
    fc.integer({ min: 1, max: 2 ** 30 }),
    async (name, type, trouble, alphabet, groupSize, stored, atOnce, seed) => {
      const random = mulberry(seed);
      const values = Float32Array.from({ length: count(sizes[name]!) }, (_, i) =>
        troubles[trouble]!(random() + random() + random() + random() - 2, i),
      );
      const layer = layerOf(forms[name]!(type, values));
      const options = checkModelOptions({ format: 'float', method: 'msq', groupSize, ...alphabet });
      const settings = { ...layerSettings(options, layer), stored };
      const weights = new Weights('a file', '');
      const round = () =>
        codeOf(
          async () => (await roundWeight(layer, weights, settings, { threads: 2 }, new Buffers(), atOnce))!,
        );
      const whole = await round();
      await putInFile(t, layer.constant.tensor, weights);
      const pieces = await round();
      if (typeof whole === 'string' || typeof pieces === 'string') {
        t.is(pieces, whole);
        return;
      }
      t.deepEqual(pieces.codes, whole.codes);
      t.deepEqual([...pieces.scales], [...whole.scales]);
      t.deepEqual(pieces.zeroPoints && [...pieces.zeroPoints], whole.zeroPoints && [...whole.zeroPoints]);
      const [{ error, ...rest }, expected] = [pieces.report, whole.report];
      t.true(close(error.weight, expected.error.weight), `${error.weight} and ${expected.error.weight}`);
      t.deepEqual({ ...rest, error: expected.error, seconds: expected.seconds }, expected);
    },
  );
  await fc.assert(property, { numRuns: 200 });
});

test('cases: a MatMul weight of 5.1 M without data: one is rounded by the kernel of checkpoints, and gets the codes, scales and report that the general way gives, or its error', async (t) => {
  let refused = 0;
  const property = fc.asyncProperty(
    fc.constantFrom(...Object.keys(forms)),
    fc.constantFrom<Type>('F32', 'F16', 'BF16'),
    fc.constantFrom(...Object.keys(troubles)),
    alphabets,
    fc.constantFrom(1, 8, 32, 48, 'channel' as const),
    fc.constantFrom('max' as const, 'search' as const),
    fc.constantFrom(...stores),
    fc.integer({ min: 1, max: 2 ** 30 }),
    async (name, type, trouble, alphabet, groupSize, scale, stored, seed) => {
      const random = mulberry(seed);
      const normal = () => random() + random() + random() + random() - 2;
      const values = Float32Array.from({ length: count(sizes[name]!) }, (_, i) =>
        troubles[trouble]!(normal(), i),
      );
      const model = forms[name]!(type, values);
      const layer = layerOf(model);
      const options = checkModelOptions({ format: 'float', method: 'msq', scale, groupSize, ...alphabet });
      const settings = { ...layerSettings(options, layer), stored };
      const weights = new Weights('a file', '');
      const fast = await codeOf(async () => (await roundWeight(layer, weights, settings, { threads: 2 }))!);
      const general = await codeOf(async () =>
        quantizeGroups(
          { ...layer, weight: await weightOf(layer, weights), calibration: null, holdout: null },
          layer.groups,
          settings,
          { threads: 1 },
        ),
      );
      if (typeof general === 'string' || typeof fast === 'string') {
        refused++;
        t.is(fast, general);
        return;
      }
      t.deepEqual(fast.codes, new Int8Array(general.codes));
      t.deepEqual([...fast.scales], [...general.scales]);
      t.deepEqual(fast.zeroPoints && [...fast.zeroPoints], general.zeroPoints && [...general.zeroPoints]);
      const { error, sqnrDb, seconds, bytes, ...report } = fast.report;
      const expected = general.report;
      t.true(close(error.weight, expected.error.weight), `${error.weight} and ${expected.error.weight}`);
      t.deepEqual({ ...expected, ...report }, expected);
      t.deepEqual(
        [sqnrDb, error.calibration, error.holdout, bytes.after],
        [null, null, null, expected.bytes.after],
      );
      t.true(seconds >= 0);
    },
  );
  await fc.assert(property, { numRuns: 600 });
  t.true(refused > 10);
});

/** Numbers in [0, 1), the same for the same seed. */
function mulberry(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let bits = Math.imul(state ^ (state >>> 15), 1 | state);
    bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits;
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
}
