import test from 'ava';
import { dirname, join } from 'node:path';
import { quantizeModel } from '../../../lib/index';
import { floatTensor } from '../../../lib/containers/onnx/float-tensor';
import { node, tensor, valueInfo } from '../../../lib/containers/onnx/make';
import { TensorProto_DataType as DataType, type ModelProto } from '../../../lib/containers/onnx/onnx_pb';
import type { Feeds } from '../../../lib/models/types';
import { difference, feed, files, float, network, random, run, type Parts } from '../networks';

// Weights that come to their node on a way, and tensors that several nodes share, in different forms.

interface Case {
  parts: Parts;
  feeds: Feeds;
  layers: string[];
  operators?: string[];
}

const weight = (name: string, ...dims: number[]) =>
  tensor(
    name,
    dims,
    random(
      dims.reduce((a, b) => a * b, 1),
      dims.length + name.length,
    ).map((value) => value / 3),
  );
const transpose = (from: string, to: string, ...perm: number[]) =>
  node('Transpose', [from], [to], { attributes: { perm: perm.map(BigInt) } });
const image = { inputs: [float('x', ['batch', 6, 7, 8])], feeds: feed([5, 6, 7, 8], 1) };
const conv = (input: string, w: string, output: string, attributes = {}) =>
  node('Conv', [input, w], [output], { attributes: { pads: [1n, 1n, 1n, 1n], ...attributes } });

const cases: Record<string, Case> = {
  'a Conv behind a Transpose, as of channels that come last': {
    parts: {
      nodes: [transpose('w', 'turned', 3, 2, 0, 1), conv('x', 'turned', 'y')],
      constants: [weight('w', 3, 2, 6, 4)],
      inputs: image.inputs,
    },
    feeds: image.feeds,
    layers: ['y'],
  },
  'a grouped Conv behind two Transposes': {
    parts: {
      nodes: [
        transpose('w', 'half', 1, 0, 2, 3),
        transpose('half', 'turned', 0, 1, 3, 2),
        conv('x', 'turned', 'y', { group: 3n }),
      ],
      constants: [weight('w', 2, 12, 3, 2)],
      inputs: image.inputs,
    },
    feeds: image.feeds,
    layers: ['y'],
  },
  'a ConvTranspose in groups behind a Transpose': {
    parts: {
      nodes: [
        transpose('w', 'turned', 2, 3, 1, 0),
        node('ConvTranspose', ['x', 'turned'], ['y'], { attributes: { group: 2n } }),
      ],
      constants: [weight('w', 3, 2, 6, 5)],
      inputs: image.inputs,
    },
    feeds: image.feeds,
    layers: ['y'],
  },
  'an LSTM behind Transposes': {
    parts: {
      nodes: [
        transpose('w', 'wt', 0, 2, 1),
        transpose('r', 'rt', 2, 1, 0),
        node('LSTM', ['x', 'wt', 'rt'], ['y'], { attributes: { hidden_size: 8n } }),
      ],
      constants: [weight('w', 1, 10, 32), weight('r', 8, 32, 1)],
      inputs: [float('x', ['time', 'batch', 10])],
    },
    feeds: feed([9, 4, 10], 1),
    layers: ['y/R', 'y/W'],
  },
  'a Gemm behind Reshape, Cast and Transpose': {
    parts: {
      nodes: [
        node('Reshape', ['w', 'shape'], ['flat']),
        node('Cast', ['flat'], ['single'], { attributes: { to: BigInt(DataType.FLOAT) } }),
        transpose('single', 'turned', 1, 0),
        node('Gemm', ['x', 'turned'], ['y']),
      ],
      constants: [
        floatTensor('w', [6, 2, 40], DataType.FLOAT16, random(480, 3)),
        tensor('shape', [2], BigInt64Array.of(-1n, 40n)),
      ],
      inputs: [float('x', ['batch', 40])],
    },
    feeds: feed([90, 40], 1),
    layers: ['y'],
  },
  'a Conv of one tap and a Gemm that share their weight through a Reshape': {
    parts: {
      nodes: [
        node('Reshape', ['w', 'shape'], ['flat']),
        node('Conv', ['x', 'w'], ['h']),
        node('GlobalAveragePool', ['h'], ['mean']),
        node('Flatten', ['mean'], ['row']),
        node('Gemm', ['row', 'flat'], ['y'], { attributes: { transB: 1n } }),
      ],
      constants: [weight('w', 6, 6, 1, 1), tensor('shape', [2], BigInt64Array.of(6n, 6n))],
      inputs: image.inputs,
    },
    feeds: feed([40, 6, 7, 8], 1),
    layers: ['h', 'y'],
  },
  'two Convs of one weight, and one of it turned': {
    parts: {
      nodes: [
        conv('x', 'w', 'a'),
        node('Relu', ['a'], ['b']),
        conv('b', 'w', 'c'),
        transpose('w', 'turned', 1, 0, 3, 2),
        conv('c', 'turned', 'y'),
      ],
      constants: [weight('w', 6, 6, 3, 3)],
      inputs: image.inputs,
    },
    feeds: image.feeds,
    layers: ['a', 'c', 'y'],
  },
  'one tensor as the weight of a Conv in two groups and of one in four': {
    parts: {
      nodes: [
        conv('x', 'w', 'a', { group: 2n }),
        node('Concat', ['a', 'x'], ['b'], { attributes: { axis: 1n } }),
        conv('b', 'w', 'y', { group: 4n }),
      ],
      constants: [weight('w', 8, 4, 3, 3)],
      inputs: [float('x', ['batch', 8, 7, 8])],
    },
    feeds: feed([6, 8, 7, 8], 1),
    layers: ['a', 'y'],
  },
  'two RNNs of the same weights, in both directions': {
    parts: {
      nodes: [
        node('RNN', ['x', 'w', 'r'], ['', 'first'], { attributes: { hidden_size: 8n } }),
        node('RNN', ['x', 'w', 'r'], ['', 'second'], {
          attributes: { hidden_size: 8n, direction: 'reverse' },
        }),
        node('Add', ['first', 'second'], ['y']),
      ],
      constants: [weight('w', 1, 8, 10), weight('r', 1, 8, 8)],
      inputs: [float('x', ['time', 'batch', 10])],
    },
    feeds: feed([9, 4, 10], 1),
    layers: ['first/R', 'second/R', 'first/W', 'second/W'],
  },
  'a table that a Gather and, turned, a MatMul use': {
    parts: {
      nodes: [
        node('Gather', ['w', 'x'], ['h']),
        transpose('w', 'turned', 1, 0),
        node('Tanh', ['h'], ['b']),
        node('MatMul', ['b', 'turned'], ['y']),
      ],
      constants: [weight('w', 50, 32)],
      inputs: [valueInfo('x', DataType.INT64, ['batch', 'tokens'])],
    },
    feeds: {
      x: {
        data: BigInt64Array.from({ length: 60 }, (_, i) => BigInt((i * i) % 50)),
        dims: [6, 10],
        type: 'int64',
      },
    },
    layers: ['h', 'y'],
    operators: ['Gather', 'MatMul'],
  },
};

for (const [what, { parts, feeds, layers, operators }] of Object.entries(cases))
  test(`${what}: all formats compute the same, near the float network`, async (t) => {
    const model: ModelProto = network({
      ...parts,
      model: { irVersion: 10n, opsetImport: [{ domain: '', version: 21n }] },
    });
    const { input, output } = files(t, model);
    const reference = join(dirname(output), 'float.onnx');
    const wanted = (await run(model, feeds))['y']!;
    for (const bits of [4, 8] as const) {
      const options = {
        ...{ calibration: [feeds], holdout: 0, effort: 0, bits },
        ...(operators ? { operators } : {}),
      };
      const report = await quantizeModel(input, reference, { ...options, format: 'float' });
      t.deepEqual(
        report.layers.map(({ name }) => name),
        layers,
      );
      const values = (await run(reference, feeds))['y']!;
      const loss = difference(wanted, values);
      t.true(loss < (bits === 8 ? 0.02 : 0.25), `${bits} bits: ${loss}`);
      for (const format of ['matmulnbits', 'qdq'] as const) {
        const { bytes } = await quantizeModel(input, output, { ...options, format });
        const apart = difference(values, (await run(output, feeds))['y']!);
        t.true(apart < 1e-5, `${format}, ${bits} bits: ${apart}`);
        t.true(bytes.weightsAfter < bytes.weightsBefore);
      }
    }
  });
