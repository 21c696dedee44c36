import test, { type ExecutionContext } from 'ava';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import {
  type CheckpointOptions,
  compareMethods,
  evaluateCheckpoint,
  evaluateModel,
  finishRun,
  measureSensitivity,
  type ModelOptions,
  planRun,
  quantizeCheckpoint,
  quantizeLanguageModel,
  quantizeModel,
  runShard,
  verifyCheckpoint,
} from '../../lib/index';
import { node, tensor, valueInfo } from '../../lib/containers/onnx/make';
import { TensorProto_DataType as DataType } from '../../lib/containers/onnx/onnx_pb';
import { writeSmall } from '../checkpoints/gguf/models';
import { temporaryFolder } from '../files/temporary-folder';
import { feed, files, network, random } from '../models/networks';
import { failures, removed, watchMemory } from './scarce';

watchMemory();

/** Every failure of a run names what it was about. */
async function allNamed(
  t: ExecutionContext,
  run: () => Promise<unknown>,
  named = /^\S.*: (the system had|no room for)/,
): Promise<void> {
  const said = await failures(t, run);
  for (const [message, place] of said) t.regex(message, named, place);
}

const tokens = {
  input_ids: {
    data: BigInt64Array.from({ length: 48 }, (_, i) => BigInt((i * i + 7 * i) % 250)),
    ...{ dims: [4, 12], type: 'int64' },
  },
};

function model(t: ExecutionContext) {
  return files(
    t,
    network({
      nodes: [
        node('Conv', ['x', 'c'], ['h'], { name: 'conv' }),
        node('Add', ['h', 'b'], ['s']),
        node('Flatten', ['s'], ['f']),
        node('Gemm', ['f', 'w'], ['y'], { name: 'fc' }),
      ],
      constants: [
        tensor('c', [4, 2, 3, 3], random(72, 1)),
        tensor('b', [4, 1, 1], random(4, 3)),
        tensor('w', [16, 4], random(64, 2)),
      ],
    }),
  );
}
const calibration = Array.from({ length: 12 }, (_, i) => feed([2, 2, 4, 4], i));

for (const [name, options] of Object.entries({
  gptq: { calibration, method: 'gptq' },
  'vertex, groups': { calibration, groupSize: 8, format: 'qdq' },
  'without data': {},
  'a target': { calibration, targetBits: 8 },
} as Record<string, ModelOptions>))
  test.serial(`memory errors are named: a network, ${name}`, async (t) => {
    const { input, output } = model(t);
    await allNamed(t, () => quantizeModel(input, removed(output), options));
  });

test.serial('memory errors are named: compare and sensitivity of a network', async (t) => {
  t.timeout(600_000);
  const { input } = model(t);
  await allNamed(t, () => compareMethods(input, { calibration, bits: [3] }));
  await allNamed(t, () => measureSensitivity(input, { calibration }));
});

test.serial('memory errors are named: eval of a network whose outputs are in float16', async (t) => {
  const { input, output } = files(
    t,
    network({
      nodes: [
        node('Flatten', ['x'], ['f']),
        node('Gemm', ['f', 'w'], ['s'], { name: 'fc' }),
        node('Cast', ['s'], ['y'], { attributes: { to: BigInt(DataType.FLOAT16) } }),
      ],
      constants: [tensor('w', [32, 4], random(128, 2))],
      outputs: [valueInfo('y', DataType.FLOAT16)],
    }),
  );
  await quantizeModel(input, output, { groupSize: 16 });
  await allNamed(t, () => evaluateModel(input, output, { data: calibration, runs: 1 }));
});

for (const [name, options] of Object.entries({
  'compressed-tensors': { format: 'compressed-tensors', groupSize: 32 },
  'gguf:q4_k_m': { format: 'gguf:q4_k_m' },
  'gptq, calibrated': { format: 'gptq', groupSize: 32, method: 'gptq', calibration: tokens },
  'compressed-tensors, calibrated': {
    format: 'compressed-tensors',
    groupSize: 32,
    method: 'gptq',
    calibration: tokens,
  },
  'gguf:q4_k_m, calibrated': { format: 'gguf:q4_k_m', method: 'gptq', calibration: tokens },
} as Record<string, CheckpointOptions>))
  test.serial(`memory errors are named: a checkpoint, ${name}`, async (t) => {
    t.timeout(600_000);
    const folder = join(temporaryFolder(t), 'in');
    writeSmall(folder, 'llama', 'F16');
    const output = join(temporaryFolder(t), name.startsWith('gguf') ? 'out.gguf' : 'out');
    await allNamed(t, () => quantizeCheckpoint(folder, removed(output), options));
    if (options.calibration) return;
    await quantizeCheckpoint(folder, removed(output), options);
    await allNamed(t, () => verifyCheckpoint(output, folder));
    await allNamed(t, () => evaluateCheckpoint(folder, [output], { data: tokens }));
    if (name.startsWith('gguf'))
      await allNamed(t, () => evaluateCheckpoint(output, [output], { data: tokens }));
  });

test.serial('memory errors are named: sensitivity of a checkpoint', async (t) => {
  t.timeout(600_000);
  const folder = join(temporaryFolder(t), 'in');
  writeSmall(folder, 'llama', 'F16');
  await allNamed(t, () => measureSensitivity(folder, { calibration: tokens }));
});

test.serial('memory errors are named: plan, work and finish', async (t) => {
  t.timeout(600_000);
  const [folder, place] = [join(temporaryFolder(t), 'in'), temporaryFolder(t)];
  writeSmall(folder, 'llama', 'F16');
  const output = join(place, 'out');
  await allNamed(t, async () => {
    // Results of a run that failed would be gone on with.
    rmSync(place, { recursive: true });
    mkdirSync(place);
    const plan = await planRun(folder, output, { groupSize: 32 });
    await runShard(plan);
    await finishRun(plan);
  });
});

test.serial('memory errors are named: a language model as a network', async (t) => {
  t.timeout(600_000);
  const folder = join(temporaryFolder(t), 'in');
  writeSmall(folder, 'llama', 'F16');
  const output = join(temporaryFolder(t), 'out');
  await allNamed(t, () =>
    quantizeLanguageModel(folder, removed(output), {
      calibration: tokens,
      groupSize: 32,
      format: 'onnx',
      method: 'gptq',
    }),
  );
});
