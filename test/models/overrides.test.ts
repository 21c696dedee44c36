import test from 'ava';
import { existsSync } from 'node:fs';
import { evaluateModel, quantizeModel, type LayerOverride, type ModelOptions } from '../../lib/index';
import { checkModelOptions, layerSettings } from '../../lib/models/model-options';
import { node, tensor } from '../../lib/containers/onnx/make';
import { feed, files, float, network, random } from './networks';

const names = ['block/first', 'block/second', 'head/third'];
const model = network({
  nodes: [
    node('MatMul', ['x', 'a'], ['p'], { name: names[0]! }),
    node('MatMul', ['x', 'b'], ['q'], { name: names[1]! }),
    node('Add', ['p', 'q'], ['r']),
    node('Tanh', ['r'], ['s']),
    node('MatMul', ['s', 'c'], ['y'], { name: names[2]! }),
  ],
  constants: ['a', 'b', 'c'].map((name, i) => tensor(name, [32, 32], random(1024, i + 1))),
  inputs: [float('x', ['batch', 32])],
});
const calibration = [feed([200, 32], 1)];

const settingsOf = (options: ModelOptions, name: string) =>
  layerSettings(checkModelOptions({ calibration, ...options }), { name, inFeatures: 64 });

test('options of single layers, later ones first, the rest as for all', (t) => {
  const options: ModelOptions = {
    bits: 3,
    effort: 2,
    damping: 0.1,
    overrides: [
      { layers: 'head/*', bits: 8, groupSize: 'channel' },
      { layers: ['*third', '*first'], levels: 3, method: 'gptq' },
      { layers: 'block/first', method: 'msq' },
    ],
  };
  t.like(settingsOf(options, names[1]!), {
    method: 'vertex',
    bits: 3,
    levels: 8,
    groupSize: 32,
    passes: 2,
    damping: 0.1,
  });
  t.like(settingsOf(options, names[2]!), {
    method: 'gptq',
    bits: 2,
    levels: 3,
    grid: 'integer',
    groupSize: 64,
    passes: -1,
    damping: 0.1,
  });
  t.like(settingsOf(options, names[0]!), {
    method: 'msq',
    levels: 3,
    groupSize: 32,
    passes: -1,
    damping: -1,
  });
  t.deepEqual(
    settingsOf({ bits: 3 }, 'any'),
    settingsOf({ bits: 3, overrides: [{ layers: 'other', bits: 2 }] }, 'any'),
  );
  // What is for all layers and not for the method of one is left out there.
  t.like(settingsOf({ scale: 'search', overrides: [{ layers: '*', method: 'maly-saab' }] }, 'x'), {
    scale: 'max',
  });
  t.like(settingsOf({ errorCorrection: true, overrides: [{ layers: '*', method: 'msq' }] }, 'x'), {
    method: 'msq',
  });
});

test('each layer of a network gets its own, whatever its neighbours get', async (t) => {
  const { input, output } = files(t, model);
  const options: ModelOptions = { calibration, format: 'float', bits: 2, groupSize: 16, method: 'gptq' };
  const overrides: LayerOverride[] = [
    { layers: names[0]!, method: 'maly-saab', bits: 4 },
    { layers: names[2]!, bits: 6, errorCorrection: false },
  ];
  const { layers } = await quantizeModel(input, output, { ...options, overrides });
  t.deepEqual(
    layers.map(({ name, method, fellBackFrom, bits, errorCorrection }) => [
      name,
      fellBackFrom ?? method,
      bits,
      errorCorrection,
    ]),
    [
      [names[0], 'maly-saab', 4, false],
      [names[1], 'gptq', 2, false],
      [names[2], 'gptq', 6, false],
    ],
  );
  // As if each were the only one.
  const alone = await quantizeModel(input, output, {
    ...options,
    layers: names[0]!,
    method: 'maly-saab',
    bits: 4,
  });
  t.deepEqual(layers[0]!.error, alone.layers[0]!.error);
  const second = await quantizeModel(input, output, { ...options, layers: names[1]! });
  t.deepEqual(layers[1]!.error, second.layers[0]!.error);
  const corrected = await quantizeModel(input, output, {
    ...options,
    overrides: [{ layers: names[2]!, bits: 6 }],
  });
  t.true(corrected.layers[2]!.errorCorrection);
  const { outputs } = await evaluateModel(input, output, { data: feed([50, 32], 9), runs: 0 });
  t.true(outputs[0]!.error! > 0 && outputs[0]!.error! < 1);
});

test('overrides that are wrong say where, before any work', async (t) => {
  const { input, output } = files(t, model);
  const cases: [unknown, new () => Error, RegExp][] = [
    [5, TypeError, /"overrides" option to be an array of objects, .* not 5/],
    [{ layers: '*', bits: 2 }, TypeError, /"overrides" option to be an array/],
    [[5], TypeError, /^overrides\[0\]: Expected the options to be an object, not 5/],
    [[null], TypeError, /^overrides\[0\]: Expected the options to be an object, not null/],
    [[{ bits: 2 }], TypeError, /^overrides\[0\]: Expected "layers", a glob or an array of globs/],
    [[{ layers: '*' }], RangeError, /^overrides\[0\]: There is nothing but "layers"/],
    [[{ layers: [], bits: 2 }], RangeError, /^overrides\[0\]: The "layers" option is empty/],
    [
      [
        { layers: '*', bits: 2 },
        { layers: 7, bits: 2 },
      ],
      TypeError,
      /^overrides\[1\]: Expected the "layers" option to be a glob/,
    ],
    [[{ layers: '*', bitz: 2 }], TypeError, /^overrides\[0\]: Unknown option "bitz": did you mean "bits"\?/],
    [[{ layers: '*', format: 'float' }], TypeError, /^overrides\[0\]: Unknown option "format"/],
    [[{ layers: '*', threads: 2 }], TypeError, /Unknown option "threads"/],
    [
      [{ layers: '*', bits: 9 }],
      RangeError,
      /^overrides\[0\]: Expected the "bits" option to be a whole number from 1 to 8, not 9/,
    ],
    [[{ layers: '*', bits: '4' }], TypeError, /^overrides\[0\]: Expected the "bits" option to be a number/],
    [[{ layers: '*', bits: 4, levels: 3 }], RangeError, /^overrides\[0\]: .*contradict each other/],
    [[{ layers: '*', method: 'gtpq' }], RangeError, /^overrides\[0\]: .*did you mean "gptq"\?/],
    [
      [{ layers: '*', method: 'msq', effort: 3 }],
      RangeError,
      /^overrides\[0\]: The "effort" option belongs to/,
    ],
    [[{ layers: '*', groupSize: 24 }], RangeError, /^overrides\[0\]: .*multiple of 16/],
    [
      [{ layers: 'bock/*', bits: 2 }],
      RangeError,
      /"bock\/\*" of the "overrides\[0\]\.layers" option matches no layer of .*in\.onnx\. It has: block\/first/,
    ],
    [
      [
        { layers: '*first', grid: 'asymmetric' },
        { layers: 'block/*', bits: 1 },
      ],
      RangeError,
      /^layer "block\/first", of overrides\[0\] and overrides\[1\]: The "asymmetric" grid needs 3 levels/,
    ],
  ];
  for (const [overrides, type, message] of cases) {
    let worked = false;
    const options = { calibration, overrides, onProgress: () => (worked = true) } as ModelOptions;
    await t.throwsAsync(quantizeModel(input, output, options), { instanceOf: type, message });
    t.false(worked);
  }
  await t.throwsAsync(quantizeModel(input, output, { overrides: [{ layers: '*', method: 'gptq' }] }), {
    message: /^overrides\[0\]: The method "gptq" needs calibration data/,
  });
  t.false(existsSync(output));
});
