import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { checkCheckpointOptions } from '../../lib/checkpoints/checkpoint-options';
import {
  cancelRun,
  serveFleet,
  compareMethods,
  evaluateCheckpoint,
  evaluateModel,
  finishRun,
  measureSensitivity,
  type OptionError,
  preprocess,
  quantizeCheckpoint,
  quantizeLayer,
  quantizeModel,
  runShard,
  runStatus,
  runWorker,
  submitRun,
  tuneCheckpoint,
  verifyCheckpoint,
  verifyModel,
  writeCalibrationSet,
} from '../../lib/index';
import { checkModelOptions } from '../../lib/models/model-options';
import { type Call, calls } from '../../lib/options/table';
import { optionsTables } from '../../scripts/options';
import { numbers } from '../checkpoints/make';
import { runFake } from '../cli/fake';

const layer = { weight: numbers(32, 1), outFeatures: 4, inFeatures: 8, activations: numbers(160, 2) };
const nowhere = '/nowhere/in.onnx';

/** Each call with some options, on inputs that are no matter. */
const called: Record<Call, (options: object) => Promise<unknown>> = {
  quantizeLayer: (options) => quantizeLayer(layer, options),
  preprocess: (options) => preprocess(layer, options),
  quantizeModel: (options) => quantizeModel(nowhere, '/nowhere/out.onnx', options),
  quantizeCheckpoint: (options) => quantizeCheckpoint('/nowhere/in', '/nowhere/out', options),
  sensitivityOfModel: (options) => measureSensitivity(nowhere, options),
  sensitivityOfCheckpoint: (options) => measureSensitivity('/nowhere/in.safetensors', options),
  compareLayer: (options) => compareMethods(layer, options),
  compareModel: (options) => compareMethods(nowhere, options),
  evaluateModel: (options) => evaluateModel(nowhere, nowhere, options as { data: string }),
  evaluateCheckpoint: (options) =>
    evaluateCheckpoint('/nowhere/in', '/nowhere/out', options as { data: string }),
  writeCalibrationSet: (options) =>
    writeCalibrationSet(nowhere, '/nowhere/set.jsonl', options as { calibration: string }),
  tuneCheckpoint: (options) =>
    tuneCheckpoint('/nowhere/in', '/nowhere/quantized', '/nowhere/out', options as { calibration: string }),
  verifyModel: (options) => verifyModel('/nowhere/in.onnx', undefined, options),
  verifyCheckpoint: (options) => verifyCheckpoint('/nowhere/in', undefined, options),
  runShard: (options) => runShard('/nowhere/plan.json', options),
  finishRun: (options) => finishRun('/nowhere/plan.json', options),
  submitRun: (options) => submitRun('/nowhere/plan.json', options),
  runWorker: (options) => runWorker({ root: '/nowhere', ...options }),
  runStatus,
  serveFleet: (options) => serveFleet(options),
  cancelRun: (options) => cancelRun('0'.repeat(32), options),
};

test('every option of every call refuses what is none of its values, by its name and path', async (t) => {
  for (const [call, run] of Object.entries(called))
    for (const [name, { kind }] of Object.entries(calls[call as Call])) {
      if (name === 'calibration' || name === 'data' || kind.what.endsWith('or data')) continue; // known when it is read
      const error = await t.throwsAsync(run({ [name]: Symbol('odd') }), undefined, `${call} ${name}`);
      t.true(error instanceof TypeError || error instanceof RangeError, `${call} ${name}: ${error.message}`);
      t.regex(error.message, new RegExp(`${name}|image options`), `${call} ${name}`);
      t.deepEqual((error as OptionError).paths, [name], `${call} ${name}`);
    }
});

test('errors of options carry the paths of those that they are about', async (t) => {
  for (const [call, options, paths] of [
    ['quantizeLayer', { bits: 9 }, ['bits']],
    ['quantizeLayer', { bits: 4, levels: 3 }, ['bits', 'levels', 'grid']],
    ['quantizeLayer', { method: 'gptq', effort: 2 }, ['effort', 'method']],
    ['quantizeModel', { image: { std: -1 } }, ['image.std']],
    [
      'quantizeModel',
      {
        overrides: [
          { layers: 'a', bits: 3 },
          { layers: 'b', bits: 9 },
        ],
      },
      ['overrides[1].bits'],
    ],
    ['quantizeModel', { overrides: [{ layers: 'a', bist: 3 }] }, ['overrides[0]']],
    ['quantizeModel', { overrides: [{ layers: 'a', method: 'gptq' }] }, ['overrides[0].method']],
    ['quantizeCheckpoint', { format: 'gptq', bits: 5 }, ['format', 'bits', 'levels', 'grid', 'groupSize']],
    ['quantizeCheckpoint', { holdout: 0.1 }, ['holdout']],
    ['compareLayer', { bits: [2, 9] }, ['bits']],
  ] as [Call, object, string[]][]) {
    const error = await t.throwsAsync(called[call](options), undefined, JSON.stringify(options));
    t.deepEqual((error as OptionError).paths, paths, error.message);
  }
});

test('an unknown option of any call is told with the nearest that the call has', async (t) => {
  for (const [call, run] of Object.entries(called))
    for (const name of Object.keys(calls[call as Call]).filter(({ length }) => length > 5))
      await t.throwsAsync(run({ [`${name.slice(0, -1)}q`]: 1 }), {
        instanceOf: TypeError,
        message: new RegExp(`^Unknown option ".*": did you mean "${name}"\\?$`),
      });
});

test('every flag that help shows is an option of the table, and gives it to the library', async (t) => {
  const { calls: made, code } = await runFake([
    ...[
      'quantize',
      'in.onnx',
      '-o',
      'out.onnx',
      '--calibration',
      'a.npz',
      '--bits',
      '3',
      '--image-mean',
      '1,2,3',
    ],
    ...[
      '--image-fit',
      'fill',
      '--batch-axis',
      'x=1',
      '--batch-axis',
      'y=none',
      '--memory',
      '2k',
      '--no-error-correction',
    ],
    ...[
      '--rank',
      '.5',
      '--operators',
      'Conv, Gemm',
      '--skip',
      'a',
      'b',
      '--max-length',
      '5',
      '--tokenizer',
      't.json',
    ],
  ]);
  t.is(code, 0);
  const { signal, onProgress, onWarning, ...options } = made[0]!.options as Record<string, unknown>;
  t.truthy(signal && onProgress && onWarning);
  t.deepEqual(options, {
    calibration: 'a.npz',
    bits: 3,
    image: { mean: [1, 2, 3], fit: 'fill' },
    batchAxis: { x: 1, y: null },
    memory: 2048,
    errorCorrection: false,
    rank: 0.5,
    operators: ['Conv', 'Gemm'],
    skip: ['a', 'b'],
    maxLength: 5,
    tokenizer: 't.json',
  });
});

test('docs/options.md is what the table says: else run npm run docs:options', async (t) => {
  const text = readFileSync(join(__dirname, '../../docs/options.md'), 'utf8');
  t.is(text, await optionsTables());
});

test('lists that the caller changes during a run are as they were when it began', (t) => {
  const [operators, layers, skip] = [['Conv'], ['a*'], ['b*']];
  const settings = checkModelOptions({ operators, layers, skip });
  const activations = ['a.safetensors'];
  const checkpoint = checkCheckpointOptions({ activations, layers });
  for (const list of [operators, layers, skip, activations]) list[0] = 'changed';
  t.deepEqual([settings.operators, settings.layers, settings.skip], [['Conv'], ['a*'], ['b*']]);
  t.deepEqual([checkpoint.activations, checkpoint.layers], [['a.safetensors'], ['a*']]);
});
