import test, { type ExecutionContext } from 'ava';
import { rmSync } from 'node:fs';
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
import { node, tensor } from '../../lib/models/onnx/make';
import { type Binding, binding, type NativeCalibration } from '../../lib/native/binding';
import { writeSmall } from '../checkpoints/gguf/models';
import { temporaryFolder } from '../files/temporary-folder';
import { feed, files, network, random } from '../models/networks';

/** Entries of the addon that were called from now on; the call with the number `failing` gets no memory, as the addon says that. */
const calls = { made: [] as string[], failing: -1 };
const none = 'the system had no memory left for the work';

function count(entry: string): void {
  calls.made.push(entry);
  if (calls.made.length - 1 === calls.failing)
    throw Object.assign(new Error(none), { code: 'ERR_VERTEXQ_MEMORY' });
}

type Job = (...given: unknown[]) => unknown;
const counted = (entry: string, job: Job): Job =>
  function (this: unknown, ...given) {
    count(entry);
    return job.apply(this, given);
  };

const addon = binding();
/** Entries that work on what is given. */
const jobs = [
  ...['preprocess', 'quantize', 'roundRows', 'roundMany', 'packRows', 'unpackRows', 'addNextTokens'],
  ...[
    'convert',
    'permute',
    'dequantize',
    'packBlocks',
    'packIntegers',
    'packGgml',
    'roundGgml',
    'unpackGgml',
  ],
  ...['checksum', 'drawOutputs', 'drawClasses'],
] as (keyof Binding)[];
for (const name of jobs) Object.assign(addon, { [name]: counted(name, Reflect.get(addon, name) as Job) });
const Plain = addon.Calibration;
addon.Calibration = function (...given: ConstructorParameters<typeof Plain>): NativeCalibration {
  count('Calibration');
  const made = new Plain(...given);
  for (const name of ['add', 'addPatches', 'setGram'] as const)
    Object.defineProperty(made, name, { value: counted(name, Reflect.get(made, name) as Job) });
  return made;
} as unknown as typeof Plain;

/** Has the first and the last call of each entry in turn get no memory: what is said then. */
async function failures(t: ExecutionContext, run: () => Promise<unknown>): Promise<ReadonlySet<string>> {
  const said = new Set<string>();
  Object.assign(calls, { made: [], failing: -1 });
  await run();
  const { made } = calls;
  t.true(made.length > 0);
  for (const failing of new Set(made.flatMap((entry) => [made.indexOf(entry), made.lastIndexOf(entry)]))) {
    Object.assign(calls, { made: [], failing });
    const error = await t.throwsAsync(run(), { code: 'ERR_VERTEXQ_MEMORY' }, made[failing]);
    if (error) said.add(error.message);
  }
  Object.assign(calls, { made: [], failing: -1 });
  return said;
}

/** Removes an output and what a run that failed has left. */
function removed(output: string): string {
  for (const path of [output, `${output}.vertexq`]) rmSync(path, { recursive: true, force: true });
  return output;
}

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
    for (const message of await failures(t, run)) t.true(message.startsWith(where), message);
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
    for (const message of await failures(t, () => quantizeModel(input, removed(output), options)))
      t.regex(message, /^layer "(conv|fc)": /);
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
    for (const message of await failures(t, run)) t.regex(message, /^\S+(: tensor "[^"]+")?: the system had/);
    await run();
    for (const message of await failures(t, () => verifyCheckpoint(output, folder)))
      t.regex(message, /^\S+: tensor "[^"]+": the system had/);
    if (format.startsWith('gguf')) return;
    const evaluate = () => evaluateCheckpoint(folder, [output], { data: tokens });
    for (const message of await failures(t, evaluate))
      t.regex(
        message,
        /: tensor "[^"]+": the system had|^the logits of sequences of batch \d+: the system had/,
      );
  });
