import test from 'ava';
import { quantizeModel } from '../../../lib/index';
import { node, tensor } from '../../../lib/containers/onnx/make';
import { LayerRows } from '../../../lib/fit/layer-rows';
import { enoughPatches } from '../../../lib/traversal/captured-rows';
import { prepareCalibrationSet } from '../../../lib/models/calibration-set';
import { files, float, network, random } from '../networks';

const patches = (shape: number[], kernel: number[], pads: number[], most?: number, more: object = {}) => ({
  values: random(
    shape.reduce((a, b) => a * b, 1),
    5,
  ),
  shape,
  kernel,
  strides: [],
  dilations: [],
  pads,
  ...(most === undefined ? {} : { most }),
  ...more,
});

async function added(tensors: ReturnType<typeof patches>[], inFeatures: number): Promise<LayerRows> {
  const calibration = LayerRows.of(inFeatures, 'gram');
  for (const tensor of tensors) await calibration.addPatches(tensor);
  return calibration;
}

test('trust 18: patches that are all padding are counted, and no work', async (t) => {
  const model = network({
    nodes: [
      node('Conv', ['x', 'w'], ['y'], { name: 'c', attributes: { pads: [10000n, 10000n, 10000n, 10000n] } }),
    ],
    constants: [tensor('w', [1, 1, 3, 3], random(9, 1))],
    inputs: [float('x', ['batch', 1, 4, 4])],
  });
  const { input, output } = files(t, model);
  const started = performance.now();
  const report = await quantizeModel(input, output, { calibration: { x: { data: random(32, 2), dims: [2, 1, 4, 4] } }, bits: 4 }); // prettier-ignore
  t.true(performance.now() - started < 12_000, `${performance.now() - started} ms`);
  t.is(report.layers[0]!.samples, 20002 ** 2);

  // Taps that are far apart, strides, a kernel far larger than the input, empty images.
  const members: [number[], number[], number[], object][] = [
    [[1, 1, 1, 1], [2, 2], [20000, 20000, 20000, 20000], { dilations: [15000, 15000] }],
    [[1, 1, 3, 3], [2, 2], [30000, 30000, 30000, 30000], { strides: [2, 2] }],
    [[1, 1, 2], [512], [100_000_000, 100_000_000], {}],
    [[2 ** 31 - 1, 1, 0, 1], [1, 1], [1, 1, 1, 1], {}],
  ];
  for (const [shape, kernel, pads, more] of members) {
    const begun = performance.now();
    const own = await added(
      [patches(shape, kernel, pads, undefined, more)],
      kernel.reduce((a, b) => a * b, 1),
    );
    t.true(performance.now() - begun < 15_000, `${kernel.join()}: ${performance.now() - begun} ms`);
    t.is(own.samples, own.offered);
    t.true(own.samples > 1e8);
  }
});

test('case sound: where patches are far more than inputs, enough of them are taken, spread over all', async (t) => {
  const shape = [4, 2, 5000];
  const all = await added([patches(shape, [3], [1, 1])], 6);
  t.deepEqual([all.samples, all.offered], [20000, 20000]);
  const few = await added([patches(shape, [3], [1, 1], 2500)], 6);
  t.deepEqual([few.samples, few.offered], [2500, 20000]);
  // Below twice as many, nothing changes.
  t.is((await added([patches(shape, [3], [1, 1], 10001)], 6)).samples, 20000);
  t.true(enoughPatches(9) > 3e6 && enoughPatches(1000) === 64_000);
});

test('case sound: a network of convolutions on long clips takes part of its patches, and no closer a fit to them', async (t) => {
  const channels = 48;
  const model = network({
    nodes: [
      node('Conv', ['x', 'a'], ['p'], { name: 'a', attributes: { pads: [4n, 4n] } }),
      node('Relu', ['p'], ['q']),
      node('Conv', ['q', 'b'], ['y'], { name: 'b', attributes: { pads: [4n, 4n] } }),
    ],
    constants: [tensor('a', [channels, 1, 9], random(channels * 9, 1)), tensor('b', [8, channels, 9], random(8 * channels * 9, 2))], // prettier-ignore
    inputs: [float('x', ['batch', 1, 'samples'])],
  });
  const { input, output } = files(t, model);
  const clip = 240_000;
  const calibration = { x: { data: random(2 * clip, 3), dims: [2, 1, clip] } };
  const holdout = { x: { data: random(clip, 4), dims: [1, 1, clip] } };
  const { layers } = await quantizeModel(input, output, { calibration, holdout, method: 'gptq', bits: 4 });
  const [, b] = layers;
  // Of a clip that no patch was taken of, the error is that of the patches taken.
  const { error } = b!;
  t.true(Math.abs(error.holdout! / error.calibration! - 1) < 0.02, `${error.calibration} ${error.holdout}`);
  t.true(b!.samples < 2 * clip && b!.samples >= 64 * channels * 9, String(b!.samples));
  t.regex(b!.warnings.join(), new RegExp(`fitted to ${b!.samples} of ${2 * clip} patches, spread over all`));
  t.is(layers[0]!.samples, 2 * clip);
});

test('case sound: batches hold as many samples as their inputs are large', async (t) => {
  const inputs = [{ name: 'x', type: 'float32', dims: ['batch', null] }];
  const sizes = async (samples: number, width: number, options = {}) => {
    const x = { data: new Float32Array(samples * width), dims: [samples, width] };
    const { fit } = await prepareCalibrationSet({ x }, { inputs, holdout: 0, ...options });
    return fit.map((feed) => feed['x']!.dims[0]);
  };
  t.deepEqual(await sizes(3, 144_000), [1, 1, 1]);
  t.deepEqual(await sizes(3, 144_000, { batchSize: 2 }), [2, 1]);
  t.deepEqual(await sizes(40, 8000), [32, 8]);
});
