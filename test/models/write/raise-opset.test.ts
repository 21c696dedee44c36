import { clone, create, fromBinary } from '@bufbuild/protobuf';
import test from 'ava';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { attribute, node, tensor, type AttributeValue } from '../../../lib/containers/onnx/make';
import {
  FunctionProtoSchema,
  AttributeProto_AttributeType as AttributeType,
  AttributeProtoSchema,
  GraphProtoSchema,
  ModelProtoSchema,
  TensorProto_DataType as DataType,
  type ModelProto,
  type NodeProto,
  type TensorProto,
} from '../../../lib/containers/onnx/onnx_pb';
import { raiseOpset } from '../../../lib/models/write/raise-opset';
import { sentenceBatches, sentenceEncoderPath } from '../../../scripts/models/sentence-encoder';
import { bytesOf, difference, feed, float, network, random, run } from '../networks';

const at = (version: number) => ({ irVersion: 7n, opsetImport: [{ domain: '', version: BigInt(version) }] });
const ints = (name: string, ...values: number[]) =>
  tensor(name, [values.length], BigInt64Array.from(values, BigInt));
const floats = (name: string, ...values: number[]) =>
  tensor(name, [values.length], Float32Array.from(values));

interface Example {
  /** From x to y. */
  nodes: NodeProto[];
  constants?: TensorProto[];
  x: number[];
  /** The first version that has it, and the first that has it in another form. */
  from?: number;
  until?: number;
}

const one = (
  opType: string,
  x: number[],
  attributes: Record<string, AttributeValue> = {},
  constants: TensorProto[] = [],
  more: { from?: number; until?: number; inputs?: string[] } = {},
): Example => ({
  nodes: [node(opType, more.inputs ?? ['x', ...constants.map(({ name }) => name)], ['y'], { attributes })],
  constants,
  x,
  from: more.from ?? 13,
  until: more.until ?? 21,
});

const image = [1, 2, 5, 6];
const pool = { kernel_shape: [3n, 2n], strides: [2n, 1n], pads: [1n, 1n, 0n, 0n] };
const resize = (mode: string, coordinates: string) =>
  one('Resize', image, { mode, coordinate_transformation_mode: coordinates }, [floats('s', 1, 1, 1.7, 0.6)], {
    inputs: ['x', '', 's'],
  });
const lines = tensor(
  'grid',
  [1, 3, 4, 2],
  random(24, 4).map((value) => value / 1.3),
);

/** What the table says to change, and what of the rest is likeliest to be in a network or to be mistaken. */
const examples: Record<string, Example> = {
  ...Object.fromEntries(
    ['L1', 'L2', 'LogSumExp', 'Max', 'Mean', 'Min', 'Prod', 'SumSquare'].flatMap((kind) => [
      [`Reduce${kind}`, one(`Reduce${kind}`, image, { axes: [1n, -1n], keepdims: 0n }, [], { until: 18 })],
      [`Reduce${kind} of all`, one(`Reduce${kind}`, image)],
    ]),
  ),
  ReduceLogSum: {
    nodes: [node('Exp', ['x'], ['e']), node('ReduceLogSum', ['e'], ['y'], { attributes: { axes: [2n] } })],
    x: image,
    until: 18,
  },
  Split: {
    nodes: [
      node('Split', ['x'], ['a', 'b', 'c'], { attributes: { axis: 3n } }),
      node('Concat', ['c', 'a', 'b'], ['y'], { attributes: { axis: 3n } }),
    ],
    x: image,
    until: 18,
  },
  'Split with sizes': {
    nodes: [
      node('Split', ['x', 'sizes'], ['a', 'b'], { attributes: { axis: 3n } }),
      node('Concat', ['b', 'a'], ['y'], { attributes: { axis: 3n } }),
    ],
    constants: [ints('sizes', 1, 5)],
    x: image,
  },
  ...Object.fromEntries(
    [undefined, 'bilinear', 'bicubic', 'nearest'].map((mode) => [
      `GridSample ${mode}`,
      one('GridSample', image, { ...(mode ? { mode } : {}), align_corners: 1n }, [lines], {
        from: 16,
        until: 20,
      }),
    ]),
  ),
  RoiAlign: one('RoiAlign', image, { output_height: 2n, output_width: 3n, sampling_ratio: 2n }, [
    tensor('boxes', [1, 4], Float32Array.of(0.3, 0.2, 4.1, 3.7)),
    ints('batch', 0),
  ]),
  AveragePool: one('AveragePool', image, { ...pool, count_include_pad: 1n }),
  'AveragePool, padding not counted': one('AveragePool', image, pool),
  'AveragePool, SAME_UPPER': one('AveragePool', image, { kernel_shape: [3n, 2n], auto_pad: 'SAME_UPPER' }),
  'MaxPool, ceil_mode': one('MaxPool', image, { ...pool, ceil_mode: 1n, dilations: [1n, 2n] }),
  BatchNormalization: one('BatchNormalization', image, { epsilon: 0.1 }, [
    floats('scale', 1, 2),
    floats('bias', 3, 4),
    floats('mean', 0.5, 0.1),
    floats('variance', 2, 3),
  ]),
  'Resize linear': resize('linear', 'half_pixel'),
  'Resize cubic': resize('cubic', 'align_corners'),
  'Resize nearest': resize('nearest', 'asymmetric'),
  'Resize, pytorch_half_pixel': resize('linear', 'pytorch_half_pixel'),
  'Resize to sizes, with empty scales': one('Resize', image, { mode: 'linear' }, [
    floats('roi'),
    floats('scales'),
    ints('sizes', 1, 2, 3, 4),
  ]),
  'Resize to sizes': one('Resize', image, { mode: 'linear' }, [ints('sizes', 1, 2, 3, 4)], {
    inputs: ['x', '', '', 'sizes'],
  }),
  'Pad, reflect': one('Pad', image, { mode: 'reflect' }, [ints('pads', 0, 0, 1, 2, 0, 0, 2, 1)]),
  'Pad, constant': one('Pad', image, {}, [ints('pads', 0, 0, 1, 2, 0, 0, 0, -1)]),
  LSTM: {
    nodes: [
      node('LSTM', ['x', 'w', 'r'], ['s', 'y'], { attributes: { hidden_size: 3n, direction: 'reverse' } }),
    ],
    constants: [tensor('w', [1, 12, 5], random(60, 2)), tensor('r', [1, 12, 3], random(36, 3))],
    x: [4, 2, 5],
  },
  GRU: {
    nodes: [
      node('GRU', ['x', 'w', 'r'], ['y'], { attributes: { hidden_size: 3n, linear_before_reset: 1n } }),
    ],
    constants: [tensor('w', [1, 9, 5], random(45, 2)), tensor('r', [1, 9, 3], random(27, 3))],
    x: [4, 2, 5],
  },
  'Shape, Slice, Gather, Reshape': {
    nodes: [
      node('Shape', ['x'], ['shape']),
      node('Gather', ['shape', 'order'], ['turned']),
      node('Reshape', ['x', 'turned'], ['y']),
    ],
    constants: [ints('order', 1, 0, 3, 2)],
    x: image,
  },
  'QuantizeLinear, DequantizeLinear': {
    nodes: [
      node('QuantizeLinear', ['x', 'scale', 'zero'], ['q'], { attributes: { axis: 1n } }),
      node('DequantizeLinear', ['q', 'scale', 'zero'], ['y'], { attributes: { axis: 1n } }),
    ],
    constants: [floats('scale', 0.1, 0.02), tensor('zero', [2], Int8Array.of(3, -5))],
    x: image,
  },
  Softmax: one('Softmax', image, { axis: 1n }),
  LogSoftmax: one('LogSoftmax', image),
  HardSwish: one('HardSwish', image, {}, [], { from: 14 }),
  LayerNormalization: one('LayerNormalization', image, {}, [floats('scale', 1, 2, 3, 4, 5, 6)], { from: 17 }),
  InstanceNormalization: one('InstanceNormalization', image, {}, [floats('scale', 1, 2), floats('b', 3, 4)]),
  ScatterND: one('ScatterND', [5, 2], {}, [
    tensor('indices', [2, 1], BigInt64Array.of(3n, 1n)),
    tensor('updates', [2, 2], Float32Array.of(1, 2, 3, 4)),
  ]),
  CumSum: one('CumSum', image, {}, [tensor('axis', [], BigInt64Array.of(3n))], { from: 14 }),
  Cast: {
    nodes: [
      node('Cast', ['x'], ['i'], { attributes: { to: BigInt(DataType.INT32) } }),
      node('Cast', ['i'], ['y'], { attributes: { to: BigInt(DataType.FLOAT) } }),
    ],
    x: image,
  },
};

const modelOf = ({ nodes, constants = [], x }: Example, version: number) =>
  network({ nodes, constants, inputs: [float('x', x)], model: at(version) });

for (const [name, example] of Object.entries(examples))
  test(`${name}: gives the same at version 21`, async (t) => {
    for (const version of [13, 16, 17, 18, 20]) {
      if (version < (example.from ?? 13) || version >= (example.until ?? 21)) continue;
      const before = modelOf(example, version);
      const after = clone(ModelProtoSchema, before);
      t.true(raiseOpset(after));
      t.deepEqual([after.opsetImport[0]!.version, after.irVersion], [21n, 10n]);
      const feeds = feed(example.x, 7);
      const wanted = await run(before, feeds);
      t.true(difference(wanted['y']!, (await run(after, feeds))['y']!) < 1e-6, `version ${version}`);
    }
  });

/** A node with an attribute that is a graph. */
function holding(
  opType: string,
  attributes: Record<string, { nodes: NodeProto[]; output: string }>,
): NodeProto {
  const made = node(opType, ['condition'], ['y']);
  for (const [name, { nodes, output }] of Object.entries(attributes))
    made.attribute.push(
      create(AttributeProtoSchema, {
        name,
        type: AttributeType.GRAPH,
        g: create(GraphProtoSchema, { name, node: nodes, output: [float(output)] }),
      }),
    );
  return made;
}

const branches = (opType: string): ModelProto =>
  network({
    nodes: [
      node('ReduceSum', ['x'], ['sum'], { attributes: { keepdims: 0n } }),
      node('Greater', ['sum', 'limit'], ['condition']),
      holding('If', {
        then_branch: { nodes: [node(opType, ['x'], ['a'], { attributes: { axes: [1n] } })], output: 'a' },
        else_branch: { nodes: [node('Neg', ['x'], ['b'])], output: 'b' },
      }),
    ],
    constants: [tensor('limit', [], Float32Array.of(-1e9))],
    inputs: [float('x', image)],
    model: at(13),
  });

test('operators in subgraphs are adapted, and refused, too', async (t) => {
  const before = branches('ReduceMean');
  const after = clone(ModelProtoSchema, before);
  t.true(raiseOpset(after));
  const feeds = feed(image, 7);
  t.true(difference((await run(before, feeds))['y']!, (await run(after, feeds))['y']!) < 1e-6);
  const unknown = branches('GroupNormalization');
  const bytes = bytesOf(unknown);
  t.false(raiseOpset(unknown));
  t.deepEqual(bytesOf(unknown), bytes);
});

test('left as they are: what is too old, unknown, or changed its meaning', (t) => {
  const withMode = one('AveragePool', image, { ...pool, ceil_mode: 1n });
  const trained = one('BatchNormalization', image);
  trained.nodes[0]!.output.push('m', 'v');
  const twice = modelOf(examples['Softmax']!, 13);
  twice.opsetImport.push({ ...twice.opsetImport[0]!, domain: 'ai.onnx' });
  const old = modelOf(examples['Softmax']!, 13);
  old.irVersion = 3n;
  const functions = modelOf(examples['Softmax']!, 13);
  functions.functions.push(create(FunctionProtoSchema, { name: 'own', domain: 'own' }));
  for (const model of [
    modelOf(examples['Softmax']!, 12),
    modelOf(withMode, 18),
    modelOf(trained, 13),
    modelOf(one('Invented', image), 17),
    modelOf(one('DFT', image), 17),
    modelOf(one('toString', image), 17),
    ...[twice, old, functions],
  ]) {
    const bytes = bytesOf(model);
    t.false(raiseOpset(model), model.graph!.node[0]!.opType);
    t.deepEqual(bytesOf(model), bytes);
  }
});

test('what needs nothing, and operators of other domains, stay', (t) => {
  for (const version of [21, 23]) {
    const model = modelOf(one('Invented', image), version);
    const bytes = bytesOf(model);
    t.true(raiseOpset(model));
    t.deepEqual(bytesOf(model), bytes);
  }
  const other = modelOf(one('Relu', image), 17);
  const reduce = node('ReduceMean', ['y'], ['z'], { domain: 'ai.example', attributes: { axes: [1n] } });
  other.graph!.node.push(reduce);
  t.true(raiseOpset(other));
  t.deepEqual(reduce.attribute, [attribute('axes', [1n])]);
});

test('real networks', async (t) => {
  const models = join(__dirname, '..', '..', '..', 'node_modules', '@gutenye', 'ocr-models', 'assets');
  for (const name of ['ch_PP-OCRv4_det_infer', 'ch_PP-OCRv4_rec_infer', 'ch_ppocr_mobile_v2.0_cls_infer']) {
    const bytes = readFileSync(join(models, `${name}.onnx`));
    const model = fromBinary(ModelProtoSchema, bytes);
    t.false(raiseOpset(model));
    t.true(Buffer.from(bytesOf(model)).equals(bytesOf(fromBinary(ModelProtoSchema, bytes))));
  }
  const before = fromBinary(ModelProtoSchema, readFileSync(await sentenceEncoderPath()));
  const after = clone(ModelProtoSchema, before);
  t.true(raiseOpset(after));
  for (const { ids, mask } of sentenceBatches(['A man, a plan.', 'Where are you going this evening?'], 4)) {
    const feeds = { ids: { ...ids, type: 'int64' }, mask: { ...mask, type: 'float32' } };
    const [wanted, got] = [await run(before, feeds), await run(after, feeds)];
    t.true(difference(wanted['embedding']!, got['embedding']!) < 1e-6);
  }
  const mnist = fromBinary(
    ModelProtoSchema,
    readFileSync(join(__dirname, '..', '..', 'fixtures', 'mnist-cnn.onnx')),
  );
  t.true(raiseOpset(mnist));
});
