import test from 'ava';
import { readdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { quantizeModel, type ModelOptions } from '../../lib/index';
import { node, tensor } from '../../lib/containers/onnx/make';
import { feed, files, float, network, random } from './networks';

const model = network({
  nodes: [node('MatMul', ['x', 'w'], ['y'])],
  constants: [tensor('w', [32, 32], random(1024, 1))],
  inputs: [float('x', ['batch', 32])],
});
const calibration = [feed([80, 32], 1)];

/** Each is refused before any work with a message that says what to do. */
const wrong: [object, new (message: string) => Error, RegExp][] = [
  [{ calibraton: 1 }, TypeError, /^Unknown option "calibraton": did you mean "calibration"\?/],
  [{ groupsize: 32 }, TypeError, /did you mean "groupSize"\?/],
  [{ batch_size: 32 }, TypeError, /did you mean "batchSize"\?/],
  [{ qwertyuiop: 1 }, TypeError, /^Unknown option "qwertyuiop"$/],
  [{ format: 'matmulnbit' }, RangeError, /"format".*did you mean "matmulnbits"\?/],
  [{ format: 'gguf' }, RangeError, /"format" option to be one of "matmulnbits", "qdq", "float", not "gguf"/],
  [{ operators: 'Conv' }, TypeError, /"operators" option to be an array of operators, not "Conv"/],
  [{ operators: [] }, TypeError, /"operators" option to be an array of operators, not an empty one/],
  [{ operators: ['Convv'] }, RangeError, /"operators".*did you mean "Conv"\?/],
  [{ operators: ['Conv', 5] }, RangeError, /"operators" option to be one of .*, not 5/],
  [{ externalData: 'yes' }, TypeError, /"externalData" option to be true or false, not "yes"/],
  [{ externaldata: true }, TypeError, /did you mean "externalData"\?/],
  [{ memory: -1 }, RangeError, /"memory" option to be a whole number 0 or more, not -1/],
  [{ memory: '512' }, TypeError, /"memory" option to be a number, not "512"/],
  [{ memory: 0.5 }, RangeError, /"memory" option to be a whole number/],
  [{ method: 'mqs' }, RangeError, /"method".*did you mean "msq"\?/],
  [{ grid: 'zerofree' }, RangeError, /"grid".*did you mean "zero-free"\?/],
  [{ bits: 9 }, RangeError, /"bits" option to be a whole number from 1 to 8, not 9/],
  [{ bits: '4' }, TypeError, /"bits" option to be a number, not "4"/],
  [{ bits: 4, levels: 16 }, RangeError, /"bits" and "levels" contradict each other: give only one/],
  [
    { groupSize: 24 },
    RangeError,
    /"matmulnbits" needs a "groupSize" that is a multiple of 16.*not 24: choose/,
  ],
  [{ groupSize: 0, format: 'float' }, RangeError, /"groupSize".*1 or more, not 0/],
  [{ groupSize: 'chanel' }, TypeError, /"groupSize" option to be a number or "channel"/],
  [{ bits: 8, grid: 'zero-free' }, RangeError, /cannot hold a "zero-free" grid of 256 levels: use/],
  [{ levels: 130, grid: 'zero-free' }, RangeError, /cannot hold a "zero-free" grid of 130 levels: use/],
  [{ batchSize: 0 }, RangeError, /"batchSize".*1 or more, not 0/],
  [{ batchSize: '32' }, TypeError, /"batchSize" option to be a number/],
  [{ calibration: undefined, holdout: 0.2 }, RangeError, /"holdout" option needs "calibration"/],
  [{ holdout: 1 }, RangeError, /"holdout" option to be a fraction from 0 and below 1, or data, not 1/],
  [{ holdout: -0.1 }, RangeError, /"holdout"/],
  [{ calibration: undefined, method: 'maly-saab' }, RangeError, /needs calibration data: only "msq"/],
  [{ calibration: null }, TypeError, /Expected "calibration" to be paths .* not null/],
  [{ layers: 5 }, TypeError, /"layers" option to be a glob or an array of globs, not 5/],
  [{ layers: ['a', ''] }, TypeError, /"layers"/],
  [{ skip: [undefined] }, TypeError, /"skip" option to be a glob/],
  [{ layers: [] }, RangeError, /"layers" option is empty: leave it out/],
  [{ layers: 'z*' }, RangeError, /"z\*" of the "layers" option matches no layer.* It has: y/],
  [{ scale: 'search', method: 'maly-saab' }, RangeError, /needs the scale "max"/],
  [{ method: 'msq', rank: 3 }, RangeError, /"rank" option belongs to the methods "vertex" and "maly-saab"/],
  [{ rank: -1 }, RangeError, /"rank"/],
  [{ effort: -1 }, RangeError, /"effort" option to be a whole number from 0/],
  [{ effort: 1, method: 'gptq' }, RangeError, /"effort" option belongs to the method "vertex"/],
  [{ damping: -1 }, RangeError, /"damping" option to be a number from 0/],
  [{ damping: 1, method: 'gpfq' }, RangeError, /"damping" option belongs to the methods "vertex" and "gptq"/],
  [{ box: 'cell' }, RangeError, /"box" option belongs to the method "maly-saab"/],
  [{ errorCorrection: 'yes' }, TypeError, /"errorCorrection" option to be true or false, not "yes"/],
  [
    { errorCorrection: true, method: 'msq' },
    RangeError,
    /"errorCorrection" option belongs to .* "msq" does not/,
  ],
  [{ errorCorrection: true, method: 'maly-saab' }, RangeError, /"errorCorrection" option belongs to/],
  [{ threads: 0 }, RangeError, /"threads".*1 or more/],
  [{ signal: 'stop' }, TypeError, /"signal" option to be an AbortSignal/],
  [{ onProgress: {} }, TypeError, /"onProgress" option to be a function/],
];

test('options: unknown, misspelled, of the wrong type, out of range, contradictory', async (t) => {
  const { input, output } = files(t, model);
  for (const [options, type, message] of wrong) {
    let worked = false;
    const all = { calibration, onProgress: () => (worked = true), ...options } as ModelOptions;
    const error = await t.throwsAsync(quantizeModel(input, output, all), { message });
    t.true(error instanceof type, `${error.name}: ${error.message}`);
    t.false(worked);
  }
  for (const options of [null, [], 'bits', 4])
    await t.throwsAsync(quantizeModel(input, output, options as unknown as ModelOptions), {
      instanceOf: TypeError,
      message: /options to be an object/,
    });
  t.deepEqual(readdirSync(dirname(input)), ['in.onnx']);
});

test('without options: 4 bits in groups of 32, a tenth held out where there is data', async (t) => {
  const { input, output } = files(t, model);
  const plain = await quantizeModel(input, output);
  t.like(plain.layers[0], { method: 'msq', bits: 4, groupSize: 32, samples: 0 });
  t.is(plain.format, 'matmulnbits');
  const fitted = await quantizeModel(input, output, { calibration });
  // So few rows of noise mislead, as the eight rows held out tell.
  t.like(fitted.layers[0], { method: 'msq', fellBackFrom: 'vertex', bits: 4, groupSize: 32, samples: 72 });
  t.not(fitted.layers[0]!.error.holdout, null);
});
