import { clone, fromBinary } from '@bufbuild/protobuf';
import test from 'ava';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type AttributeValue, node, tensor, valueInfo } from '../../../lib/containers/onnx/make';
import { ModelProtoSchema, type NodeProto, type TensorProto } from '../../../lib/containers/onnx/onnx_pb';
import { raiseOpset } from '../../../lib/models/write/raise-opset';
import { difference, feed, float, network, random, run } from '../networks';

interface Example {
  nodes: NodeProto[];
  constants?: TensorProto[];
  versions?: number[];
}

const x = [2, 3, 4, 4];

const one = (
  opType: string,
  attributes: Record<string, AttributeValue> = {},
  rest: Omit<Example, 'nodes'> = {},
): Example => ({
  nodes: [node(opType, ['x', ...(rest.constants ?? []).map(({ name }) => name)], ['y'], { attributes })],
  ...rest,
});

const examples: Record<string, Example> = {
  Clip: one('Clip', { min: -0.25, max: 0.5 }, { versions: [7, 9, 10] }),
  'Clip from above': one('Clip', { max: 0.5 }, { versions: [7] }),
  'Clip from nowhere': one('Clip', {}, { versions: [7, 12] }),
  Dropout: one('Dropout', { ratio: 0.25 }, { versions: [7, 11] }),
  ...Object.fromEntries(
    ['Softmax', 'LogSoftmax', 'Hardmax'].flatMap((opType) =>
      [undefined, 0, 2, 3, -1].map((axis) => [
        `${opType} ${axis}`,
        one(opType, axis === undefined ? {} : { axis: BigInt(axis) }, {
          versions: axis === -1 ? [11, 12] : [7, 12],
        }),
      ]),
    ),
  ),
  Pad: one('Pad', { pads: [0n, 1n, 0n, 2n, 0n, 0n, 1n, 0n], value: 0.5 }, { versions: [7, 10] }),
  'Pad, edge': one('Pad', { pads: [0n, 0n, 0n, 2n, 0n, 0n, 1n, 0n], mode: 'edge' }, { versions: [7] }),
  ReduceSum: one('ReduceSum', { axes: [1n, 3n], keepdims: 0n }, { versions: [7, 12] }),
  'ReduceSum of all': one('ReduceSum', {}, { versions: [7] }),
  ReduceMean: one('ReduceMean', { axes: [1n] }, { versions: [7, 12] }),
  Resize: one(
    'Resize',
    { mode: 'linear' },
    { constants: [tensor('s', [4], Float32Array.of(1, 1, 1.5, 2))], versions: [10] },
  ),
  'Resize to the nearest': one(
    'Resize',
    { mode: 'nearest' },
    { constants: [tensor('s', [4], Float32Array.of(1, 1, 1.5, 2))], versions: [10] },
  ),
  'Resize to fewer': one(
    'Resize',
    { mode: 'nearest' },
    { constants: [tensor('s', [4], Float32Array.of(1, 1, 0.75, 0.5))], versions: [10] },
  ),
  Upsample: one('Upsample', { mode: 'nearest', scales: [1, 1, 1.5, 2] }, { versions: [7, 8] }),
  'Upsample by an input': one(
    'Upsample',
    { mode: 'linear' },
    { constants: [tensor('s', [4], Float32Array.of(1, 1, 2, 2))], versions: [9] },
  ),
  Scatter: one(
    'Scatter',
    { axis: 3n },
    {
      constants: [
        tensor('i', [1, 1, 1, 2], BigInt64Array.of(3n, 0n)),
        tensor('u', [1, 1, 1, 2], random(2, 1)),
      ],
      versions: [9, 10],
    },
  ),
  Slice: one('Slice', { starts: [1n, -2n], ends: [3n, 1000n], axes: [1n, 3n] }, { versions: [7, 9] }),
  'Slice of the first axes': one('Slice', { starts: [1n], ends: [2n] }, { versions: [7] }),
  Split: {
    nodes: [
      node('Split', ['x'], ['a', 'b'], { attributes: { axis: 3n, split: [1n, 3n] } }),
      node('Concat', ['b', 'a'], ['y'], { attributes: { axis: 3n } }),
    ],
    versions: [7, 12],
  },
  'Split evenly': {
    nodes: [
      node('Split', ['x'], ['a', 'b'], { attributes: { axis: 3n } }),
      node('Concat', ['b', 'a'], ['y'], { attributes: { axis: 3n } }),
    ],
    versions: [7, 12],
  },
  'Squeeze, Unsqueeze': {
    nodes: [
      node('Unsqueeze', ['x'], ['u'], { attributes: { axes: [0n, 3n] } }),
      node('Squeeze', ['u'], ['y'], { attributes: { axes: [3n] } }),
    ],
    versions: [7, 12],
  },
  TopK: {
    nodes: [node('TopK', ['x'], ['y', 'places'], { attributes: { axis: 1n, k: 2n } })],
    versions: [7, 9],
  },
  BatchNormalization: one(
    'BatchNormalization',
    {},
    {
      constants: ['a', 'b', 'c', 'd'].map((name, i) => tensor(name, [3], Float32Array.of(1, 2, i + 1))),
      versions: [7, 9],
    },
  ),
  Gemm: {
    nodes: [node('Flatten', ['x'], ['rows']), node('Gemm', ['rows', 'w', 'b'], ['y'])],
    constants: [tensor('w', [48, 2], random(96, 2)), tensor('b', [2], random(2, 3))],
    versions: [7, 9],
  },
};

for (const [name, { nodes, constants = [], versions = [] }] of Object.entries(examples))
  test(`${name}: gives the same at version 21`, async (t) => {
    for (const version of versions) {
      const before = network({
        ...{ nodes, constants, inputs: [float('x', x)] },
        model: { irVersion: 7n, opsetImport: [{ domain: '', version: BigInt(version) }] },
      });
      t.false(raiseOpset(clone(ModelProtoSchema, before)));
      const after = clone(ModelProtoSchema, before);
      t.true(raiseOpset(after, 7));
      t.is(after.opsetImport[0]!.version, 21n);
      const [wanted, got] = [await run(before, feed(x, 5)), await run(after, feed(x, 5))];
      t.true(difference(wanted['y']!, got['y']!) < 1e-6, `version ${version}`);
    }
  });

test('constants that are listed as inputs, as they had to be once', async (t) => {
  const w = tensor('w', [4, 2], random(8, 1));
  const before = network({
    nodes: [node('MatMul', ['x', 'w'], ['y'])],
    ...{ constants: [w], inputs: [float('x'), valueInfo('w', 1, [4, 2])] },
    model: { irVersion: 3n, opsetImport: [{ domain: '', version: 8n }] },
  });
  const after = clone(ModelProtoSchema, before);
  t.true(raiseOpset(after, 7));
  t.deepEqual(
    after.graph!.input.map(({ name }) => name),
    ['x'],
  );
  const feeds = feed(x, 5);
  t.is(difference((await run(before, feeds))['y']!, (await run(after, feeds))['y']!), 0);
});

test('what is older, or meant something else, is left', (t) => {
  for (const [made, version] of [
    [one('Relu'), 6],
    [one('Scan'), 8],
    [one('Dropout'), 9],
  ] as const) {
    if (made.nodes[0]!.opType === 'Dropout') made.nodes[0]!.output.push('mask');
    const model = network({
      ...made,
      constants: [],
      model: { irVersion: 7n, opsetImport: [{ domain: '', version: BigInt(version) }] },
    });
    const before = clone(ModelProtoSchema, model);
    t.false(raiseOpset(model, 7));
    t.deepEqual(model, before);
  }
});

test('networks that read text', async (t) => {
  const models = join(__dirname, '..', '..', '..', 'node_modules', '@gutenye', 'ocr-models', 'assets');
  for (const [name, dims] of [
    ['ch_PP-OCRv4_det_infer', [1, 3, 64, 64]],
    ['ch_PP-OCRv4_rec_infer', [1, 3, 48, 64]],
    ['ch_ppocr_mobile_v2.0_cls_infer', [1, 3, 48, 192]],
  ] as const) {
    const before = fromBinary(ModelProtoSchema, readFileSync(join(models, `${name}.onnx`)));
    const after = clone(ModelProtoSchema, before);
    t.true(raiseOpset(after, 7));
    const feeds = feed([...dims], 3);
    const [wanted, got] = [await run(before, feeds), await run(after, feeds)];
    const [output] = Object.keys(wanted);
    t.true(difference(wanted[output!]!, got[output!]!) < 1e-5, name);
  }
});
