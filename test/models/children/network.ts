import { quantizeModel, type ModelOptions } from '../../../lib/index';
import { writeFileSync } from 'node:fs';
import { node, tensor } from '../../../lib/containers/onnx/make';
import { bytesOf, feed, float, network, random } from '../networks';

/** Two layers, 205 kB in float. */
export const model = network({
  nodes: [
    node('MatMul', ['x', 'w'], ['a'], { name: 'first' }),
    node('Relu', ['a'], ['b']),
    node('MatMul', ['b', 'v'], ['y'], { name: 'second' }),
  ],
  constants: [tensor('w', [64, 400], random(64 * 400, 7)), tensor('v', [400, 64], random(400 * 64, 8))],
  inputs: [float('x', ['batch', 64])],
});

export const writeNetwork = (path: string): void => writeFileSync(path, bytesOf(model));

/** Quantizes it on calibration data, which takes a while. */
export const quantizeOnData = (input: string, output: string, options: ModelOptions = {}) =>
  quantizeModel(input, output, { calibration: [feed([1500, 64], 1), feed([500, 64], 2)], ...options });
