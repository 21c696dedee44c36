import { node, tensor, valueInfo } from '../../lib/containers/onnx/make';
import { TensorProto_DataType as DataType, type ModelProto } from '../../lib/containers/onnx/onnx_pb';
import type { Feeds } from '../../lib/models/types';
import { float, network, random } from './networks';

// Networks of sequences, whose samples do not lie along the first axis.

export const features = 12;
export const hidden = 8;

const lstmWeights = (directions: number) => [
  tensor('W', [directions, 4 * hidden, features], random(directions * 4 * hidden * features, 1)),
  tensor('R', [directions, 4 * hidden, hidden], random(directions * 4 * hidden * hidden, 2)),
];
const head = tensor('H', [hidden, 5], random(hidden * 5, 3));
const lstm = (inputs: string[], outputs: string[], direction: string) =>
  node('LSTM', ['x', 'W', 'R', '', ...inputs], outputs, {
    name: 'lstm',
    attributes: { hidden_size: BigInt(hidden), direction },
  });

/** `x [time, samples, 12]` and `lengths [samples]` to `y [2, samples, 5]`; the names say nothing by themselves. */
export const bidirectional = (
  dims: readonly [string | number, string | number] = ['steps', 'items'],
): ModelProto =>
  network({
    nodes: [
      lstm(['lengths'], ['', 'h'], 'bidirectional'),
      node('MatMul', ['h', 'H'], ['y'], { name: 'head' }),
    ],
    constants: [...lstmWeights(2), head],
    inputs: [float('x', [...dims, features]), valueInfo('lengths', DataType.INT32, [dims[1]])],
    outputs: [float('y', [2, dims[1], 5])],
  });

/** States go in and come out: `x [time, batch, 12]`, `h`, `c [1, batch, 8]`, a gain `[]` and fixed offsets `[5]`. */
export const stateful = (batch = 'batch'): ModelProto =>
  network({
    nodes: [
      lstm(['', 'h', 'c'], ['s', 'hn', 'cn'], 'forward'),
      node('MatMul', ['s', 'H'], ['p'], { name: 'head' }),
      node('Mul', ['p', 'gain'], ['q']),
      node('Add', ['q', 'offsets'], ['y']),
    ],
    constants: [...lstmWeights(1), head],
    inputs: [
      float('x', ['time', batch, features]),
      float('h', [1, batch, hidden]),
      float('c', [1, batch, hidden]),
      float('gain', []),
      float('offsets', [5]),
    ],
    outputs: [
      float('y', ['time', 1, batch, 5]),
      float('hn', [1, batch, hidden]),
      float('cn', [1, batch, hidden]),
    ],
  });

/** One input, `x [time, batch, 12]`, to `y [time, 1, batch, 5]`. */
export const timeMajor = (): ModelProto =>
  network({
    nodes: [lstm([], ['s'], 'forward'), node('MatMul', ['s', 'H'], ['y'], { name: 'head' })],
    constants: [...lstmWeights(1), head],
    inputs: [float('x', ['time', 'batch', features])],
    outputs: [float('y', ['time', 1, 'batch', 5])],
  });

const floats = (dims: number[], seed: number) => ({
  data: random(
    dims.reduce((a, b) => a * b, 1),
    seed,
  ),
  dims,
  type: 'float32',
});

export const sequences = (steps: number, samples: number, seed: number): Feeds => ({
  x: floats([steps, samples, features], seed),
});

export const withLengths = (steps: number, samples: number, seed: number): Feeds => ({
  ...sequences(steps, samples, seed),
  lengths: {
    data: Int32Array.from({ length: samples }, (_, i) => 1 + (i % steps)),
    dims: [samples],
    type: 'int32',
  },
});

export const withStates = (steps: number, samples: number, seed: number): Feeds => ({
  ...sequences(steps, samples, seed),
  h: floats([1, samples, hidden], seed + 1),
  c: floats([1, samples, hidden], seed + 2),
  gain: { data: Float32Array.of(2), dims: [], type: 'float32' },
  offsets: { data: Float32Array.of(1, 2, 3, 4, 5), dims: [5], type: 'float32' },
});
