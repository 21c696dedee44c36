import { createContext, runInContext } from 'node:vm';
import test from 'ava';
import {
  compareMethods,
  type LayerInput,
  type LayerReport,
  preprocess,
  quantizeLayer,
  VertexqError,
} from '../../lib/index';
import { normals } from './data';
import { inFeatures, layerOf, outFeatures } from './failing';

const methods = ['vertex', 'gptq', 'gpfq', 'maly-saab', 'msq'] as const;

/** Every number of a report must be one that JSON has. */
function isJson(report: object): boolean {
  return Object.values(report).every((value: unknown) =>
    typeof value === 'number'
      ? Number.isFinite(value)
      : typeof value !== 'object' || value === null || isJson(value),
  );
}

function nothingMeasured(report: LayerReport): boolean {
  return report.error.calibration === null && report.sqnrDb === null && isJson(report);
}

test('trust 22: against outputs that are all 0 an error is null, and a warning says why', async (t) => {
  // Two inputs that always agree and weights that cancel: the layer gives 0, its rounded weights do not.
  const rows = Float64Array.from({ length: 40 * 4 }, (_, i) => 1 + (i >> 2) / 7);
  const weight = Float64Array.from([1, -1, 0.3, -0.3, 0.5, 0.25, -0.75, 0]);
  for (const method of methods)
    for (const options of [{ levels: 3 }, { bits: 1 }, { bits: 2, grid: 'zero-free' }] as const) {
      const layer: LayerInput = { weight, outFeatures: 2, inFeatures: 4, activations: rows };
      const { report } = await quantizeLayer(layer, { method, ...options });
      t.true(isJson(report), `${method} ${JSON.stringify(report)}`);
      // Where the fit has no error either the weights may still have changed.
      if (report.error.calibration === null) {
        t.is(report.sqnrDb, null);
        t.true(
          report.warnings.some((warning) => /outputs on the calibration rows are all 0/.test(warning)),
          `${method} ${JSON.stringify(options)}: ${report.warnings.join()}`,
        );
      }
    }
  // Of one row and its multiples, which the weights map to 0 and the rounded ones do not.
  for (const method of ['msq', 'maly-saab', 'gpfq'] as const) {
    const { report } = await quantizeLayer(
      {
        weight: Float32Array.from([1, 0.5]),
        outFeatures: 1,
        inFeatures: 2,
        activations: Float32Array.from([1, -2, 2, -4]),
      },
      { method, levels: 3, ...(method === 'maly-saab' ? {} : { scale: 'max' as const }) },
    );
    t.is(report.error.calibration, null, method);
    t.is(report.sqnrDb, null, method);
    t.true(report.warnings.some((warning) => /outputs on the calibration rows are all 0/.test(warning)));
  }
  // On held-out rows alone.
  const some = layerOf({ weight: Float64Array.from([1, -1, 0.3, -0.3]), outFeatures: 1, inFeatures: 4 });
  const { report } = await quantizeLayer(
    { ...some, activations: normals(80, 4), holdout: rows },
    { method: 'msq', levels: 3 },
  );
  t.true(isJson(report));
});

test('trust 22: targets that are all 0, and targets that the layer cannot reach', async (t) => {
  const activations = normals(20 * inFeatures, 2);
  const zero = new Float64Array(20 * inFeatures);
  for (const method of ['vertex', 'gptq', 'gpfq'] as const)
    for (const grid of ['zero-free', 'integer'] as const) {
      const levels = grid === 'integer' ? 3 : 2;
      const layer = layerOf({ activations, targetActivations: zero });
      const { report } = await quantizeLayer(layer, { method, grid, levels });
      t.true(nothingMeasured(report), `${method} ${grid} ${JSON.stringify(report.error)}`);
      t.true(report.warnings.some((warning) => /are all 0/.test(warning)));
      const held = { ...layer, targetActivations: activations, holdout: activations, targetHoldout: zero };
      const onHeld = await quantizeLayer(held, { method, grid, levels });
      t.is(onHeld.report.error.holdout, null, `${method} ${grid}`);
      t.is(onHeld.report.sqnrDb, null);
      t.true(isJson(onHeld.report));
      t.true(onHeld.report.warnings.some((warning) => /outputs on the held-out rows/.test(warning)));
    }
});

test('trust 22: preprocess on rows that the weights map to 0', async (t) => {
  // Where the walk's roundings leave a little.
  for (const [weight, activations] of [
    [
      [-6, -7, 2, 2],
      [-2, 0, 0, -6, 0, 0, 2, -2],
    ],
    [
      [7, -4, 4, -6, 4, 4],
      [0, 0, 0, 4, 0, 6],
    ],
  ] as const)
    for (const levels of [3, 4, 5]) {
      const { residual } = await preprocess(
        {
          weight: Float64Array.from(weight),
          outFeatures: 1,
          inFeatures: weight.length,
          activations: Float64Array.from(activations),
        },
        { levels },
      );
      t.true(residual === null || Number.isFinite(residual), `${weight.join()}: ${residual}`);
    }
  const rows = Float64Array.from({ length: 12 * 6 }, (_, i) => 0.1 * (1 + Math.floor(i / 6)) ** 0.5);
  for (const weight of [
    [1, -1, 0.3, -0.3, 0.1, -0.1],
    [0.7, -0.3, -0.4, 0.9, -0.2, -0.7],
  ]) {
    const done = await preprocess(
      { weight: Float64Array.from(weight), outFeatures: 1, inFeatures: 6, activations: rows },
      { levels: 4 },
    );
    t.true(done.residual === null || Number.isFinite(done.residual), `${done.residual}`);
    t.deepEqual(JSON.parse(JSON.stringify(done.residual)), done.residual);
  }
});

test.serial('trust 31: any number of calls with one signal, and no warning of listeners', async (t) => {
  const warnings: Error[] = [];
  const note = (warning: Error) => warnings.push(warning);
  process.on('warning', note);
  const controller = new AbortController();
  const { signal } = controller;
  await Promise.all(Array.from({ length: 24 }, () => quantizeLayer(layerOf(), { bits: 2, signal })));
  await compareMethods(layerOf(), { methods: ['gptq', 'msq'], bits: [2, 3], signal });
  // Those that wait when it is aborted are all told, whatever the order they came in.
  const large = layerOf({ weight: normals(400 * inFeatures, 1), outFeatures: 400 });
  const waiting = Array.from({ length: 12 }, () => quantizeLayer(large, { effort: 500, signal }));
  setTimeout(() => controller.abort(new Error('enough')), 20);
  const ends = await Promise.allSettled(waiting);
  t.true(ends.every((end) => end.status === 'rejected' && /enough/.test(String(end.reason))));
  await new Promise((resolve) => setTimeout(resolve, 10));
  process.off('warning', note);
  t.deepEqual(
    warnings.map(({ message }) => message),
    [],
  );
});

test('trust 31: arrays and signals of another realm are what they are', async (t) => {
  const realm = createContext({ console });
  const foreign = runInContext(
    '({ Float32Array, Float64Array, ArrayBuffer, Int8Array, SharedArrayBuffer })',
    realm,
  ) as typeof globalThis;
  const here = layerOf();
  t.false(foreign.Float64Array.from([1]) instanceof Float64Array);
  const same = await quantizeLayer(here, { bits: 3 });
  for (const Floats of [foreign.Float64Array, foreign.Float32Array] as const) {
    const layer = layerOf({
      weight: Floats.from(here.weight),
      activations: Floats.from(here.activations!),
      targetActivations: foreign.Float64Array.from(here.activations!),
      holdout: foreign.Float64Array.from(here.activations!),
    });
    const done = await quantizeLayer(layer, { bits: 3 });
    t.is(done.codes.length, outFeatures * inFeatures);
    t.true(done.report.error.calibration! < 0.3);
  }
  const whole = {
    ...here,
    weight: foreign.Float64Array.from(here.weight),
    activations: foreign.Float64Array.from(here.activations!),
  };
  t.deepEqual((await quantizeLayer(whole, { bits: 3 })).codes, same.codes);
  const gram = foreign.Float64Array.from({ length: inFeatures ** 2 }, (_, i) =>
    Number(i % (inFeatures + 1) === 0),
  );
  const { weight } = whole;
  await quantizeLayer({ weight, outFeatures, inFeatures, gram, crossGram: gram }, { method: 'gptq' });
  t.truthy(await preprocess({ weight, outFeatures, inFeatures, gram }));
  // What is of no use stays refused, with a word that tells it apart.
  const bytes = new foreign.Int8Array(36) as unknown as Float32Array;
  await t.throwsAsync(quantizeLayer(layerOf({ weight: bytes })), { message: /not a Int8Array/ });
  const shared = new foreign.Float32Array(new foreign.SharedArrayBuffer(144) as unknown as ArrayBuffer);
  await t.throwsAsync(quantizeLayer(layerOf({ weight: shared })), { message: /SharedArrayBuffer/ });
  for (const [weight, message] of [
    [new Proxy(here.weight, {}), /"weight" to be a Float32Array or Float64Array, not a Proxy$/],
    [Object.create(Float64Array.prototype), /not an object that only inherits from Float64Array$/],
  ] as [Float64Array, RegExp][])
    await t.throwsAsync(quantizeLayer(layerOf({ weight })), { instanceOf: TypeError, message });
  const notASignal = { aborted: false } as AbortSignal;
  await t.throwsAsync(quantizeLayer(here, { signal: notASignal }), { message: /AbortSignal/ });
  const aborted = await t.throwsAsync(
    quantizeLayer(here, { signal: AbortSignal.abort(new VertexqError('ERR_VERTEXQ_FILE', 'stop')) }),
  );
  t.is(aborted?.message, 'stop');
});
