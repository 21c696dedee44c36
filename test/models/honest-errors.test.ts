import test from 'ava';
import { compareMethods, quantizeModel, type Method } from '../../lib/index';
import { node, tensor } from '../../lib/containers/onnx/make';
import { feed, files, float, floatsOf, network, random, run } from './networks';
import { apart } from '../numbers';

// Each layer's two errors: its own, on the inputs that it sees, and against what the float network gives.

const width = 24;
const constant = (name: string, seed: number) =>
  tensor(
    name,
    [width, width],
    random(width * width, seed).map((value) => value / 3),
  );
const parts = {
  nodes: [0, 1, 2].flatMap((i) => [
    node('MatMul', [i === 0 ? 'x' : `b${i - 1}`, `w${i}`], [i === 2 ? 'y' : `a${i}`], { name: `layer${i}` }),
    ...(i === 2 ? [] : [node('Tanh', [`a${i}`], [`b${i}`])]),
  ]),
  constants: [constant('w0', 10), constant('w1', 11), constant('w2', 12)],
  inputs: [float('x', ['batch', width])],
};
const deep = network(parts);
const calibration = [feed([200, width], 1), feed([56, width], 2)];
const unseen = feed([120, width], 3);

const kinds: [Method, boolean | undefined, 'none' | 'outputs'][] = [
  ['vertex', true, 'none'],
  ['vertex', false, 'none'],
  ['vertex', true, 'outputs'],
  ['gptq', true, 'none'],
  ['gptq', false, 'outputs'],
  ['gpfq', true, 'none'],
  ['gpfq', false, 'none'],
  ['maly-saab', undefined, 'none'],
  ['msq', undefined, 'none'],
];
for (const [method, errorCorrection, weighting] of kinds)
  test(`issue 21 item 1: the last layer's error against float is the network's own: ${method}, ${errorCorrection ? '' : 'not '}corrected, weighting ${weighting}`, async (t) => {
    const { input, output } = files(t, deep);
    const { layers } = await quantizeModel(input, output, {
      ...{ calibration, holdout: [unseen], method, bits: 2, groupSize: 'channel', format: 'float' },
      ...(errorCorrection !== undefined && { errorCorrection }),
      ...(method === 'vertex' && { effort: 1 }),
      ...(weighting === 'outputs' && { weighting }),
    });
    const real = apart((await run(output, unseen))['y']!, (await run(deep, unseen))['y']!);
    const { own, againstFloat } = layers.at(-1)!.error;
    t.true(Math.abs(againstFloat!.holdout! - real) < 1e-4 * real, `${againstFloat!.holdout}, really ${real}`);
    // What it does by itself is another figure, but for the first layer, before which both networks are the same.
    t.true(own.holdout! > 0 && Math.abs(own.holdout! - real) > 0.01 * real);
    t.deepEqual(layers[0]!.error.againstFloat, layers[0]!.error.own);
    for (const { error, weighted } of layers) {
      const told = error.againstFloat!;
      t.is(error.holdout, told.holdout);
      t.is(error.calibration, told.calibration ?? error.own.calibration);
      t.is(weighted === null, weighting === 'none');
      t.is(error.own.calibration === null, weighting === 'outputs');
    }
    t.is(layers[1]!.error.againstFloat!.calibration === null, !errorCorrection || weighting === 'outputs');
  });

test('what a layer does by itself does not depend on what the fit aims at', async (t) => {
  const open = network({ ...parts, outputs: ['y', 'b0', 'a1'].map((name) => float(name, ['batch', width])) });
  const { input, output } = files(t, open);
  const { layers } = await quantizeModel(input, output, {
    ...{ calibration, holdout: [unseen], method: 'gptq', bits: 3, format: 'float' },
  });
  // The second layer's inputs, and what its float weights would give for them.
  const { b0, a1 } = (await run(output, unseen)) as { b0: Float32Array; a1: Float32Array };
  const weight = floatsOf(constant('w1', 11));
  const plain = a1.map((_, i) => {
    const [row, neuron] = [Math.floor(i / width), i % width];
    let sum = 0;
    for (let k = 0; k < width; k++) sum += b0[row * width + k]! * weight[k * width + neuron]!;
    return sum;
  });
  const told = layers[1]!.error.own.holdout!;
  const real = apart(a1, plain);
  t.true(Math.abs(told - real) < 1e-3 * real, `${told}, really ${real}`);
});

test('nothing held out: no float network is run where none is needed, and nothing is told against it', async (t) => {
  const { input, output } = files(t, deep);
  const { layers } = await quantizeModel(input, output, {
    ...{ calibration, holdout: 0, method: 'msq', bits: 3 },
  });
  t.deepEqual(
    layers.map(({ error }) => error.againstFloat),
    [layers[0]!.error.own, null, null],
  );
  t.true(layers.every(({ error }) => error.own.calibration! > 0 && error.own.holdout === null));
});

test('issue 21 item 1: compare has both errors of every method, and its last layer that of the outputs', async (t) => {
  const { input } = files(t, deep);
  const { runs } = await compareMethods(input, {
    ...{ calibration, holdout: [unseen], methods: ['gptq', 'msq'], bits: [2], format: 'float' },
  });
  for (const { layers, output, error, measured } of runs) {
    const last = layers.at(-1)!.error.againstFloat!.holdout!;
    t.true(Math.abs(last - output!.error) < 1e-4, `${last}, really ${output!.error}`);
    const squares = layers.reduce((sum, layer) => sum + layer.error.againstFloat!.holdout! ** 2, 0);
    t.true(Math.abs(error.againstFloat!.holdout! - Math.sqrt(squares / 3)) < 1e-12);
    t.is(measured.againstFloat.holdout, 3);
    t.true(error.own.holdout! > 0 && error.own.holdout !== error.againstFloat!.holdout);
  }
});
