import test from 'ava';
import { join } from 'node:path';
import {
  type CheckpointFormat,
  compareMethods,
  evaluateCheckpoint,
  type LayerInput,
  type ModelOptions,
  preprocess,
  quantizeCheckpoint,
  quantizeLayer,
  quantizeModel,
  verifyCheckpoint,
} from '../../lib/index';
import { node, tensor } from '../../lib/containers/onnx/make';
import { writeSmall } from '../checkpoints/gguf/models';
import { temporaryFolder } from '../files/temporary-folder';
import { feed, files, network, random } from '../models/networks';
import { failures, none, removed, watchMemory } from './scarce';

watchMemory();

test.serial('memory errors past the estimate name the layer that is given', async (t) => {
  const [outFeatures, inFeatures] = [4, 8];
  const layer: LayerInput = {
    ...{ outFeatures, inFeatures, weight: random(32, 1), activations: random(320, 2) },
    ...{ targetActivations: random(320, 3), holdout: random(80, 4), targetHoldout: random(80, 5) },
  };
  const alone = { outFeatures, inFeatures, weight: layer.weight, activations: layer.activations! };
  const runs = [
    () => quantizeLayer(layer),
    () => preprocess(alone),
    () => compareMethods(alone, { bits: [3] }),
  ];
  const where = 'the layer (4 × 8): ';
  for (const run of runs)
    for (const message of (await failures(t, run)).keys()) t.true(message.startsWith(where), message);
  t.true((await failures(t, runs[0]!)).has(`${where}held-out data: ${none}`));
});

test.serial('so in a network', async (t) => {
  const { input, output } = files(
    t,
    network({
      nodes: [
        node('Conv', ['x', 'c'], ['h'], { name: 'conv' }),
        node('Flatten', ['h'], ['f']),
        node('Gemm', ['f', 'w'], ['y'], { name: 'fc' }),
      ],
      constants: [tensor('c', [4, 2, 3, 3], random(72, 1)), tensor('w', [16, 4], random(64, 2))],
    }),
  );
  const calibration = Array.from({ length: 12 }, (_, i) => feed([2, 2, 4, 4], i));
  for (const options of [
    {},
    { calibration },
    { calibration, method: 'gptq', format: 'qdq' },
    { format: 'float' },
  ] as ModelOptions[])
    for (const message of (await failures(t, () => quantizeModel(input, removed(output), options))).keys())
      t.regex(message, /^(layer "(conv|fc)"|out\.onnx: )/);
});

const tokens = {
  input_ids: {
    data: BigInt64Array.from({ length: 48 }, (_, i) => BigInt((i * i + 7 * i) % 250)),
    ...{ dims: [4, 12], type: 'int64' },
  },
};

for (const format of ['compressed-tensors', 'gguf:q4_0'] as CheckpointFormat[])
  test.serial(`so in a checkpoint, written and read back: ${format}`, async (t) => {
    const folder = join(temporaryFolder(t), 'in');
    writeSmall(folder, 'llama', 'F16');
    const output = join(temporaryFolder(t), format.startsWith('gguf') ? 'out.gguf' : 'out');
    const run = () => quantizeCheckpoint(folder, removed(output), { format });
    // What is copied belongs to no one weight: then it is the file.
    for (const message of (await failures(t, run)).keys())
      t.regex(message, /^\S+(: tensor "[^"]+")?: (the system had|no room for)/);
    await run();
    // What is compared with the manifest belongs to files.
    for (const message of (await failures(t, () => verifyCheckpoint(output, folder))).keys())
      t.regex(
        message,
        /^(\S+: tensor "[^"]+"|\S+\/(config|tokenizer|tokenizer_config)\.json|\S+\.(safetensors|gguf)): (the system had|no room for)/,
      );
    if (format.startsWith('gguf')) return;
    const evaluate = () => evaluateCheckpoint(folder, [output], { data: tokens });
    for (const message of (await failures(t, evaluate)).keys())
      t.regex(
        message,
        /(: tensor "[^"]+"|^the logits of (all sequences|sequences of batch \d+)): (the system had|no room for)/,
      );
  });
