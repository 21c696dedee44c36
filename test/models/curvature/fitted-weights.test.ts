import test from 'ava';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { quantizeModel } from '../../../lib/index';
import { FittedWeights } from '../../../lib/models/curvature/fitted-weights';
import { prepareCalibrationSet } from '../../../lib/models/calibration-set';
import { ModelForward } from '../../../lib/models/forward/model-forward';
import { findLayers } from '../../../lib/models/layers/find-layers';
import { modelLayers } from '../../../lib/models/layers/model-layers';
import { checkModelOptions } from '../../../lib/models/model-options';
import { node } from '../../../lib/containers/onnx/make';
import { ModelProtoSchema } from '../../../lib/containers/onnx/onnx_pb';
import { openModel } from '../../../lib/models/open-model';
import type { ModelOptions } from '../../../lib/models/types';
import { Workspace } from '../../../lib/runs/workspace';
import { Traversal } from '../../../lib/traversal/traversal';
import { difference, feed, files, float, network, run, weight } from '../networks';

const model = network({
  nodes: [
    node('Conv', ['x', 'a', 'bias'], ['h1'], { name: 'conv', attributes: { strides: [2n, 2n] } }),
    node('Tanh', ['h1'], ['h2']),
    node('Flatten', ['h2'], ['h3']),
    node('Transpose', ['b'], ['bt'], { attributes: { perm: [1n, 0n] } }),
    node('MatMul', ['h3', 'bt'], ['h4'], { name: 'turned' }),
    node('Tanh', ['h4'], ['h5']),
    node('Gemm', ['h5', 'c'], ['h6'], { name: 'gemm', attributes: { transB: 1n } }),
    node('Tanh', ['h6'], ['h7']),
    node('Gemm', ['h7', 'c'], ['y'], { name: 'again', attributes: { transB: 1n } }),
  ],
  constants: [
    weight('a', [8, 3, 2, 2], 1),
    weight('bias', [8], 2),
    weight('b', [16, 32], 3),
    weight('c', [16, 16], 4),
  ],
  inputs: [float('x', ['n', 3, 4, 4])],
});

for (const [name, own] of Object.entries({
  'symmetric, with errors corrected': { method: 'gptq' },
  'a zero point a group': { method: 'vertex', grid: 'asymmetric', groupSize: 16 },
} satisfies Record<string, ModelOptions>))
  test(`the network with fitted weights is the one that a run writes: ${name}`, async (t) => {
    const { input, output } = files(t, model);
    const options = { ...own, bits: 3, calibration: [feed([200, 3, 4, 4], 1)], format: 'float', threads: 2 } as const; // prettier-ignore
    await quantizeModel(input, output, options);
    const opened = await openModel(input);
    const settings = checkModelOptions(options);
    const layers = modelLayers(findLayers(opened.graph).layers, opened.weights, settings);
    t.is(layers.length, 4);
    const data = await prepareCalibrationSet(options.calibration, { inputs: [{ name: 'x', type: 'float32', dims: ['n', 3, 4, 4] }] }); // prettier-ignore
    const workspace = new Workspace(`${output}-workspace`);
    try {
      const fitted = new FittedWeights(workspace, opened.weights);
      const forward = new ModelForward(opened, layers, data, workspace, 2 ** 20);
      await new Traversal(layers, forward, fitted, { threads: 2 }).run();
      const { opened: made, floats } = fitted.network(opened, layers);
      t.is([...floats.values()].flat().length, 4);
      const whole = fromBinary(ModelProtoSchema, toBinary(ModelProtoSchema, made.model));
      whole.graph!.initializer = [];
      for (const one of made.model.graph!.initializer) whole.graph!.initializer.push(await made.weights.inlined(one)); // prettier-ignore
      const feeds = feed([5, 3, 4, 4], 9);
      const [first, second, before] = await Promise.all(
        [whole, output, input].map((from) => run(from, feeds)),
      );
      t.true(difference(first!['y']!, second!['y']!) < 1e-6);
      t.true(difference(before!['y']!, second!['y']!) > 1e-3);
    } finally {
      await workspace.end();
    }
  });
