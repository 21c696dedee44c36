import test from 'ava';
import { compareMethods, type CompareOptions, type LayerInput } from '../../lib/index';
import { node, tensor } from '../../lib/containers/onnx/make';
import { normals } from '../fit/data';
import { feed, files, float, network, random } from '../models/networks';

const layer: LayerInput = {
  weight: normals(36, 1),
  outFeatures: 3,
  inFeatures: 12,
  activations: normals(240, 2),
};
const model = network({
  nodes: [node('MatMul', ['x', 'w'], ['y'])],
  constants: [tensor('w', [32, 32], random(1024, 1))],
  inputs: [float('x', ['batch', 32])],
});

type Refused = [object, new (message: string) => Error, RegExp];

const both: Refused[] = [
  [{ method: 'vertex' }, TypeError, /Unknown option "method": did you mean "methods"\?/],
  [{ levels: 3 }, TypeError, /Unknown option "levels"/],
  [{ methods: 'vertex' }, TypeError, /"methods" option to be an array, not "vertex"/],
  [{ methods: [] }, RangeError, /"methods" option is empty/],
  [{ methods: ['vertx'] }, RangeError, /"methods" option to be one of .*did you mean "vertex"\?/],
  [{ methods: ['msq', 'msq'] }, RangeError, /"methods" option has "msq" twice/],
  [{ bits: 4 }, TypeError, /"bits" option to be an array, not 4/],
  [{ bits: [] }, RangeError, /"bits" option is empty/],
  [{ bits: [2, 9] }, RangeError, /"bits" option to be a whole number from 1 to 8, not 9/],
  [{ bits: ['2'] }, TypeError, /"bits" option to be a number, not "2"/],
  [{ bits: [4, 2, 4] }, RangeError, /"bits" option has 4 twice/],
  [{ bits: [1, 2], grid: 'integer' }, RangeError, /One bit has no "integer" grid/],
  [
    { methods: ['gptq', 'msq'], effort: 2 },
    RangeError,
    /"effort" option belongs to the method "vertex": none/,
  ],
  [{ box: 'cell' }, RangeError, /"box" option belongs to the method "maly-saab": none of the methods/],
  [{ effort: -1 }, RangeError, /"effort"/],
  [{ groupSize: 0 }, RangeError, /"groupSize"/],
  [{ threads: 0 }, RangeError, /"threads"/],
  [{ signal: 1 }, TypeError, /AbortSignal/],
];

test('of a layer: each is refused before any work', async (t) => {
  const refused: Refused[] = [
    ...both,
    [{ calibration: [] }, TypeError, /Unknown option "calibration"/],
    [{ score: () => 1 }, TypeError, /Unknown option "score"/],
    [{ errorCorrection: true }, TypeError, /Unknown option "errorCorrection"/],
  ];
  for (const [options, type, message] of refused) {
    const error = await t.throwsAsync(compareMethods(layer, options as CompareOptions), { message });
    t.true(error instanceof type, `${error.name}: ${error.message}`);
  }
  const bare = { ...layer };
  delete bare.activations;
  await t.throwsAsync(compareMethods(bare), { instanceOf: RangeError, message: /needs calibration data/ });
  const aimed = { ...layer, targetActivations: normals(240, 3) };
  await t.throwsAsync(compareMethods(aimed, { methods: ['vertex', 'msq'] }), {
    instanceOf: RangeError,
    message: /"targetActivations" has no effect on the method "msq"/,
  });
  for (const input of [null, undefined, 5])
    await t.throwsAsync(compareMethods(input as never), {
      instanceOf: TypeError,
      message: /path .*or a layer/,
    });
});

test('of a model: each is refused before any work', async (t) => {
  const { input } = files(t, model);
  const refused: Refused[] = [
    ...both,
    [{ calibration: undefined }, RangeError, /needs the option "calibration"/],
    [{ score: 'accuracy' }, TypeError, /"score" option to be a function, not "accuracy"/],
    [{ format: 'gguf' }, RangeError, /"format"/],
    [{ operators: ['Conv2d'] }, RangeError, /"operators"/],
    [{ externalData: 1 }, TypeError, /"externalData"/],
    [{ memory: -1 }, RangeError, /"memory"/],
    [{ errorCorrection: 1 }, TypeError, /"errorCorrection"/],
    [{ groupSize: 24 }, RangeError, /multiple of 16/],
    [{ layers: 'none*' }, RangeError, /matches no layer/],
    [{ holdout: 1 }, RangeError, /"holdout"/],
  ];
  let worked = false;
  for (const [options, type, message] of refused) {
    const all = { calibration: [feed([80, 32], 1)], onProgress: () => (worked = true), ...options };
    const error = await t.throwsAsync(compareMethods(input, all as CompareOptions), { message });
    t.true(error instanceof type, `${error.name}: ${error.message}`);
  }
  await t.throwsAsync(compareMethods(''), { instanceOf: TypeError, message: /path of an ONNX file/ });
  await t.throwsAsync(compareMethods('absent.onnx', { calibration: [feed([80, 32], 1)] }), {
    code: 'ERR_VERTEXQ_FILE',
  });
  t.false(worked);
});
