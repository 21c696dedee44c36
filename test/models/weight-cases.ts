import { create } from '@bufbuild/protobuf';
import { node, tensor, valueInfo } from '../../lib/containers/onnx/make';
import {
  TensorProtoSchema,
  TensorProto_DataType as DataType,
  type ModelProto,
  type TensorProto,
} from '../../lib/containers/onnx/onnx_pb';
import type { Feeds } from '../../lib/models/types';
import { feed, float, network, random, type Parts } from './networks';

/** The weight `name`, as the node sees it: [outFeatures, inFeatures] where `neuronMajor`. */
export type Weights = (name: string, dims: [number, number], neuronMajor: boolean) => Float32Array;

export interface Case {
  /** `weights` is asked for each weight that is quantized. `apart`: tied weights as tensors of their own, where values differ. */
  build: (weights: Weights, apart?: boolean) => ModelProto;
  feeds: Feeds[];
}

const [inputs, outputs] = [40, 24];
const rows = [feed([70, inputs], 1), feed([50, inputs], 2)];
export const plainWeights: Weights = (name, [a, b]) => random(a * b, name.length + name.charCodeAt(0));

/** One layer with the weight [in, out] behind whatever `nodes` make of `constants`. */
const behind = (
  shape: [number, number],
  path: (weight: (name: string) => TensorProto) => Partial<Parts>,
): Case => ({
  feeds: rows,
  build: (weights) => {
    const {
      nodes = [],
      constants = [],
      ...others
    } = path((name) => tensor(name, shape, weights('w', shape, shape[0] === outputs)));
    return network({ nodes: [...nodes, node('MatMul', ['x', 'way'], ['y'])], constants, ...others });
  },
});

const gemm = (
  given: Feeds,
  attributes: Record<string, number | bigint>,
  bias?: { dims: number[]; data: Float32Array },
): Case => ({
  feeds: [given],
  build: (weights) => {
    const major = attributes['transB'] === 1n;
    const shape: [number, number] = major ? [outputs, inputs] : [inputs, outputs];
    return network({
      nodes: [
        node('Gemm', bias ? ['x', 'w', 'c'] : ['x', 'w'], ['h'], { attributes }),
        node('MatMul', ['h', 'v'], ['y']),
      ],
      constants: [
        tensor('w', shape, weights('w', shape, major)),
        tensor('v', [outputs, 5], weights('v', [outputs, 5], false)),
        ...(bias ? [tensor('c', bias.dims, bias.data)] : []),
      ],
    });
  },
});

/** x → MatMul(w) → Relu → Gemm(w, transB): one tensor in both orientations. */
const tiedBothWays: Case = {
  feeds: rows,
  build: (weights, apart) => {
    const constants = [tensor('w', [inputs, inputs], weights('w', [inputs, inputs], false))];
    if (apart) constants.push(tensor('w2', [inputs, inputs], weights('w', [inputs, inputs], true)));
    return network({
      nodes: [
        node('MatMul', ['x', 'w'], ['a']),
        node('Relu', ['a'], ['b']),
        node('Gemm', ['b', apart ? 'w2' : 'w'], ['y'], { attributes: { transB: 1n } }),
      ],
      constants,
    });
  },
};

/** An embedding whose transpose is the output layer. */
const tiedEmbedding: Case = {
  feeds: [
    {
      x: {
        data: BigInt64Array.from({ length: 60 }, (_, i) => BigInt((i * i) % 50)),
        dims: [6, 10],
        type: 'int64',
      },
    },
  ],
  build: (weights, apart) => {
    const constants = [
      tensor(
        'e',
        [50, inputs],
        apart ? plainWeights('e', [50, inputs], true) : weights('e', [50, inputs], true),
      ),
    ];
    if (apart) constants.push(tensor('e2', [50, inputs], weights('e', [50, inputs], true)));
    return network({
      nodes: [
        node('Gather', ['e', 'x'], ['a']),
        node('Transpose', [apart ? 'e2' : 'e'], ['flipped'], { attributes: { perm: [1n, 0n] } }),
        node('Tanh', ['a'], ['b']),
        node('MatMul', ['b', 'flipped'], ['y']),
      ],
      constants,
      inputs: [valueInfo('x', DataType.INT64, ['batch', 'tokens'])],
    });
  },
};

/** Every form that a weight comes in. */
export const cases: Record<string, Case> = {
  'weight on the right': behind([inputs, outputs], (w) => ({ constants: [w('way')] })),
  'weight on the left': {
    feeds: [feed([4, inputs, 30], 3), feed([3, inputs, 30], 4)],
    build: (weights) =>
      network({
        nodes: [node('MatMul', ['w', 'x'], ['y'])],
        constants: [tensor('w', [outputs, inputs], weights('w', [outputs, inputs], true))],
      }),
  },
  'a vector, weight on the right': {
    feeds: [feed([inputs], 3), feed([inputs], 4)],
    build: (weights) =>
      network({
        nodes: [node('MatMul', ['x', 'w'], ['y'])],
        constants: [tensor('w', [inputs, outputs], weights('w', [inputs, outputs], false))],
      }),
  },
  'a vector, weight on the left': {
    feeds: [feed([inputs], 3), feed([inputs], 4)],
    build: (weights) =>
      network({
        nodes: [node('MatMul', ['w', 'x'], ['y'])],
        constants: [tensor('w', [outputs, inputs], weights('w', [outputs, inputs], true))],
      }),
  },
  '4-D activations': {
    feeds: [feed([2, 3, 16, inputs], 5)],
    build: (weights) =>
      network({
        nodes: [node('MatMul', ['x', 'w'], ['y'])],
        constants: [tensor('w', [inputs, outputs], weights('w', [inputs, outputs], false))],
        inputs: [float('x', ['batch', 3, 16, inputs])],
      }),
  },
  'behind Identity and Transpose': behind([outputs, inputs], (w) => ({
    nodes: [
      node('Identity', ['w'], ['same']),
      node('Transpose', ['same'], ['way'], { attributes: { perm: [1n, 0n] } }),
    ],
    constants: [w('w')],
  })),
  'behind two Transposes, one without perm': behind([inputs, outputs], (w) => ({
    nodes: [
      node('Transpose', ['w'], ['t']),
      node('Transpose', ['t'], ['way'], { attributes: { perm: [1n, 0n] } }),
    ],
    constants: [w('w')],
  })),
  'behind Reshape and Transpose, from four dimensions': behind([outputs, inputs], (w) => ({
    nodes: [
      node('Reshape', ['w', 'shape'], ['flat']),
      node('Transpose', ['flat'], ['way'], { attributes: { perm: [1n, 0n] } }),
    ],
    constants: [
      { ...w('w'), dims: [1n, BigInt(outputs), 8n, BigInt(inputs / 8)] },
      tensor('shape', [2], BigInt64Array.of(BigInt(outputs), -1n)),
    ],
  })),
  'a convolution as TensorFlow has it, behind Transpose': {
    feeds: [feed([2, 10, 9, 9], 3)],
    build: (weights) => {
      const plain = weights('w', [outputs, inputs], true);
      // [outputs, channels, 2, 2] as [2, 2, channels, outputs].
      const turned = new Float32Array(plain.length);
      for (let out = 0; out < outputs; out++)
        for (let i = 0; i < inputs; i++)
          turned[((i % 4) * 10 + Math.floor(i / 4)) * outputs + out] = plain[out * inputs + i]!;
      return network({
        nodes: [
          node('Transpose', ['w'], ['kernel'], { attributes: { perm: [3n, 2n, 0n, 1n] } }),
          node('Conv', ['x', 'kernel'], ['y']),
        ],
        constants: [tensor('w', [2, 2, 10, outputs], turned)],
        inputs: [float('x', ['batch', 10, 'height', 'width'])],
      });
    },
  },
  'in a Constant node': behind([inputs, outputs], (w) => ({
    nodes: [node('Constant', [], ['way'], { attributes: { value: w('') } })],
  })),
  'initializer listed as input, IR 3': behind([inputs, outputs], (w) => ({
    constants: [w('way')],
    inputs: [float('x', ['batch', inputs]), float('way', [inputs, outputs])],
    model: { irVersion: 3n, opsetImport: [{ domain: '', version: 9n }] },
  })),
  Gemm: gemm(rows[0]!, {}),
  'Gemm transB, alpha, beta, bias [1, N]': gemm(
    rows[0]!,
    { transB: 1n, alpha: 0.5, beta: 2 },
    { dims: [1, outputs], data: random(outputs, 8) },
  ),
  'Gemm transA, bias [M, 1]': gemm(
    feed([inputs, 60], 6),
    { transA: 1n, beta: -1 },
    { dims: [60, 1], data: random(60, 9) },
  ),
  'Gemm transA, transB, alpha 0.1, scalar bias': gemm(
    feed([inputs, 60], 6),
    { transA: 1n, transB: 1n, alpha: 0.1 },
    { dims: [], data: random(1, 9) },
  ),
  'Gemm beta 0': gemm(rows[0]!, { alpha: -2, beta: 0 }, { dims: [outputs], data: random(outputs, 8) }),
  'Gemm bias [M, N]': gemm(feed([50, inputs], 2), {}, { dims: [50, outputs], data: random(50 * outputs, 8) }),
  'tied, the same way': {
    feeds: rows,
    build: (weights) =>
      network({
        nodes: [
          node('MatMul', ['x', 'w'], ['a']),
          node('Tanh', ['a'], ['b']),
          node('Identity', ['w'], ['again']),
          node('MatMul', ['b', 'again'], ['y']),
        ],
        constants: [tensor('w', [inputs, inputs], weights('w', [inputs, inputs], false))],
      }),
  },
  'tied, both ways': tiedBothWays,
  'tied with an embedding': tiedEmbedding,
  float_data: behind([inputs, outputs], (w) => {
    const { dims, dataType, rawData } = w('');
    const floatData = [...new Float32Array(rawData.slice().buffer)];
    return { constants: [create(TensorProtoSchema, { name: 'way', dims, dataType, floatData })] };
  }),
};
