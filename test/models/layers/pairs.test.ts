import test from 'ava';
import { quantizeLayer, quantizeModel } from '../../../lib/index';
import { node, tensor } from '../../../lib/containers/onnx/make';
import type { ModelProto } from '../../../lib/containers/onnx/onnx_pb';
import { transposed } from '../../numbers';
import { files, float, floatsOf, random, readBack, run } from '../networks';
import { forms } from './forms';
import { linesAlong, patchesOf, type Convolution, type Values } from './reference-rows';

// With error correction a layer is fitted to what it sees and to what it saw in the float network, row by row.

interface Case {
  rows: (values: Values) => Float32Array[];
  /** Where the tensor is [groups, inputs, neurons of a group]. */
  inputMajor?: boolean;
}

const convolved = (given: Partial<Convolution> & Pick<Convolution, 'kernel' | 'output'>): Case => ({
  rows: (values) =>
    patchesOf(values, {
      strides: given.kernel.map(() => 1),
      dilations: given.kernel.map(() => 1),
      before: given.kernel.map(() => 0),
      groups: 1,
      ...given,
    }),
});

const along = (axis: number, inputMajor: boolean, groups = 1): Case => ({
  rows: (values) => linesAlong(values, axis, groups),
  inputMajor,
});

const cases: Record<string, Case> = {
  MatMul: along(1, true),
  'MatMul of batches': along(3, true),
  'MatMul, weight on the left': along(0, false),
  'MatMul of batches, weight on the left': along(2, false),
  'Gemm transA': along(0, true),
  'Gemm transB': along(1, false),
  'FusedMatMul transA': along(1, true),
  'LSTM, both directions': along(2, false),
  Attention: along(2, true),
  'Conv 3-D': convolved({ kernel: [2, 3, 2], before: [1, 0, 1], output: [5, 5, 7] }),
  'Conv, all at once': convolved({
    ...{ kernel: [3, 2], strides: [2, 1], dilations: [1, 2], before: [0, 1], output: [6, 15], groups: 2 },
  }),
  'Conv SAME_UPPER': convolved({ kernel: [4, 2], strides: [2, 3], before: [1, 0], output: [4, 3] }),
  'Conv SAME_LOWER': convolved({ kernel: [4, 2], strides: [2, 1], before: [2, 1], output: [4, 8] }),
  'Conv, depthwise with multiplier': convolved({ kernel: [3, 3], output: [6, 5], groups: 4 }),
  'ConvTranspose in groups, output_padding': along(1, true, 3),
};

/** The form behind MatMul(v) and Tanh, over its last axis. */
function behindAnother(model: ModelProto, width: number): ModelProto {
  const graph = model.graph!;
  for (const made of graph.node) made.input = made.input.map((name) => (name === 'x' ? 'hidden' : name));
  graph.node.unshift(node('MatMul', ['x', 'v'], ['u'], { name: 'first' }), node('Tanh', ['u'], ['hidden']));
  graph.initializer.push(
    tensor(
      'v',
      [width, width],
      random(width * width, 31).map((value) => value / 2),
    ),
  );
  graph.output.push(float('hidden'));
  return model;
}

for (const [name, { rows, inputMajor = false }] of Object.entries(cases))
  test(`${name}: what is captured are the rows that the operator is defined by, in pairs`, async (t) => {
    const { model, feeds } = forms[name]!;
    const [given] = feeds as [(typeof feeds)[0]];
    const { dims } = given['x']!;
    const { input, output } = files(t, behindAnother(model(17), dims.at(-1)!));
    const options = { bits: 3, groupSize: 'channel', effort: 0 } as const;
    const report = await quantizeModel(input, output, {
      ...options,
      calibration: [given],
      holdout: 0,
      format: 'float',
    });
    const told = report.layers.find((layer) => layer.errorCorrection)!;
    t.regex(told.name, /^layer/);
    const hidden = async (file: string) => rows({ data: (await run(file, given))['hidden']!, dims });
    const [meant, seen] = [await hidden(input), await hidden(output)];
    t.notDeepEqual(meant, seen);

    const weightIn = (file: string) =>
      floatsOf(readBack(file).graph!.initializer.find((made) => made.name === 'w')!);
    const [before, after] = [weightIn(input), weightIn(output)];
    const size = before.length / seen.length;
    const inFeatures = seen[0]!.length / told.samples;
    const outFeatures = size / inFeatures;
    for (const [group, activations] of seen.entries()) {
      const part = (values: Float32Array) => {
        const own = values.slice(group * size, (group + 1) * size);
        return inputMajor ? transposed(own, inFeatures, outFeatures) : own;
      };
      const fitted = await quantizeLayer(
        {
          ...{ weight: part(before), outFeatures, inFeatures },
          ...{ activations, targetActivations: meant[group]! },
        },
        options,
      );
      t.deepEqual(part(after), fitted.dequantize(), `group ${group}`);
    }
  });
