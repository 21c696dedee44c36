import test from 'ava';
import { quantizeModel } from '../../lib/index';
import { floatToHalf, halfToFloat } from '../numbers';
import { node, tensor } from '../../lib/containers/onnx/make';
import { TensorProto_DataType as DataType } from '../../lib/containers/onnx/onnx_pb';
import { feed, files, float, inFloat, network, random, run } from './networks';

const [inputs, outputs] = [64, 24];

/** Two products in float16 whose weights are around `size`. */
function halfNetwork(size: number) {
  const half = (name: string, dims: [number, number], seed: number) => {
    const values = floatToHalf(random(dims[0] * dims[1], seed).map((value) => value * size));
    const made = tensor(name, dims, new Uint8Array(values.buffer));
    made.dataType = DataType.FLOAT16;
    return { made, values: halfToFloat(values) };
  };
  const first = half('w', [inputs, outputs], 1);
  const model = network({
    nodes: [
      node('Cast', ['x'], ['h'], { attributes: { to: BigInt(DataType.FLOAT16) } }),
      node('MatMul', ['h', 'w'], ['a'], { name: 'first' }),
      node('Cast', ['a'], ['y'], { attributes: { to: BigInt(DataType.FLOAT) } }),
    ],
    constants: [first.made],
    inputs: [float('x', ['batch', inputs])],
    outputs: [float('y')],
  });
  return { model, weight: first.values };
}

/** ‖X(W − Q)‖ / ‖XW‖, with weights [inputs, outputs]. */
function outputError(x: Float32Array, w: Float32Array, q: Float32Array): number {
  let [error, signal] = [0, 0];
  for (let r = 0; r < x.length; r += inputs)
    for (let o = 0; o < outputs; o++) {
      let [apart, y] = [0, 0];
      for (let i = 0; i < inputs; i++) {
        apart += x[r + i]! * (w[i * outputs + o]! - q[i * outputs + o]!);
        y += x[r + i]! * w[i * outputs + o]!;
      }
      error += apart * apart;
      signal += y * y;
    }
  return Math.sqrt(error / signal);
}

const identity = () => {
  const data = new Float32Array(inputs * inputs);
  for (let i = 0; i < inputs; i++) data[i * inputs + i] = 1;
  return { x: { data, dims: [inputs, inputs], type: 'float32' as const } };
};

// At 1e-3 the scales of 8 bits are a hundred steps of float16's last place, those of 4 bits at 3e-6 a handful.
for (const format of ['matmulnbits', 'qdq', 'float'] as const)
  for (const [size, bits] of [
    [1e-3, 8],
    [3e-6, 4],
    [1, 8],
  ] as const)
    test(`case half_small: ${format} reports what the file holds, ${bits} bits of weights around ${size}`, async (t) => {
      const { model, weight } = halfNetwork(size);
      const calibration = [feed([200, inputs], 7)];
      const rounded = halfToFloat(floatToHalf(calibration[0]!['x']!.data as Float32Array));
      for (const method of ['msq', 'gptq', 'vertex'] as const) {
        const { input, output } = files(t, model);
        const report = await quantizeModel(input, output, { calibration, holdout: 0, format, bits, method });
        const held = (await run(output, identity(), inFloat))['y']!;
        const actual = outputError(rounded, weight, held);
        const told = report.layers[0]!.error.calibration!;
        // The outputs that tell the weights are float16 themselves.
        t.true(
          Math.abs(told - actual) < 0.02 * actual + 2e-4,
          `${method}: told ${told}, in the file ${actual}`,
        );
      }
    });
