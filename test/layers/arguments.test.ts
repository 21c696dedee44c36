import test from 'ava';
import { preprocess, quantizeLayer, type LayerInput } from '../../lib/index';
import { normals } from './data';
import { fails, inFeatures, layerOf, outFeatures, untyped } from './failing';

test('arrays of the wrong type, length or buffer are refused', async (t) => {
  const detached = normals(36, 1);
  structuredClone(detached, { transfer: [detached.buffer as ArrayBuffer] });
  const shared = new Float32Array(new SharedArrayBuffer(36 * 4));
  for (const name of ['weight', 'activations', 'holdout'] as const) {
    if (name !== 'holdout')
      await fails(
        t,
        untyped({ [name]: detached }),
        {},
        { type: RangeError, message: RegExp(`"${name}".*transferred`) },
      );
    for (const value of [
      shared,
      [1, 2],
      'text',
      new Int32Array(36),
      new DataView(new ArrayBuffer(8)),
      5,
      null,
      {},
    ])
      await t.throwsAsync(quantizeLayer(untyped({ [name]: value })), {
        instanceOf: TypeError,
        message: RegExp(`Expected "${name}"`),
      });
    await t.throwsAsync(quantizeLayer(untyped({ [name]: new Float32Array(37) })), { instanceOf: RangeError });
    await t.throwsAsync(quantizeLayer(untyped({ [name]: new Float32Array(0) })), { instanceOf: RangeError });
  }
  await fails(
    t,
    untyped({ gram: new Float32Array(144), activations: undefined }),
    {},
    { type: TypeError, message: /gram/ },
  );
  await fails(
    t,
    untyped({ weight: new Float32Array(24) }),
    {},
    { type: RangeError, message: /3 × 12 numbers, not 24/ },
  );
  for (const value of [0, -1, 1.5, NaN, Infinity, 2 ** 31]) {
    await fails(
      t,
      untyped({ inFeatures: value }),
      {},
      { type: RangeError, message: /"inFeatures" property/ },
    );
    await fails(
      t,
      untyped({ outFeatures: value }),
      {},
      { type: RangeError, message: /"outFeatures" property/ },
    );
  }
  await fails(t, untyped({ inFeatures: '12' }), {}, { type: TypeError, message: /"inFeatures".*number/ });
  await fails(
    t,
    untyped({ weights: 1 }),
    {},
    { type: TypeError, message: /"weights": did you mean "weight"\?/ },
  );
  for (const value of [null, undefined, 5, 'layer', []])
    await fails(
      t,
      value as unknown as LayerInput,
      {},
      { type: TypeError, message: /to be an object|property/ },
    );
  for (const name of ['targetActivations', 'crossGram'])
    await fails(
      t,
      untyped({ [name]: new Float64Array(144) }),
      {},
      { code: 'ERR_VERTEXQ_UNSUPPORTED', message: RegExp(name) },
    );
  await t.throwsAsync(preprocess({ weight: normals(36, 1), inFeatures, outFeatures }), {
    message: /walk needs data/,
  });
});

test('options: unknown, misspelled, of the wrong type, out of range, contradictory', async (t) => {
  const both: [object, new (message: string) => Error, RegExp][] = [
    [{ bit: 3 }, TypeError, /Unknown option "bit": did you mean "bits"\?/],
    [{ groupsize: 3 }, TypeError, /did you mean "groupSize"\?/],
    [{ completelyDifferent: 3 }, TypeError, /^Unknown option "completelyDifferent"$/],
    [{ grid: 'integr' }, RangeError, /did you mean "integer"\?/],
    [{ box: 'celll' }, RangeError, /"box".*did you mean "cell"\?/],
    [{ bits: 3, levels: 5 }, RangeError, /"bits" and "levels" contradict/],
    [{ levels: 4, grid: 'integer' }, RangeError, /odd number of levels, not 4: use/],
    [{ levels: 5, grid: 'zero-free' }, RangeError, /even number of levels, not 5: use/],
    [{ bits: 1, grid: 'integer' }, RangeError, /use the grid "zero-free"/],
    [{ bits: 1, grid: 'asymmetric' }, RangeError, /use the grid "zero-free"/],
    [{ groupSize: '32' }, TypeError, /"groupSize".*"32"/],
    [{ rank: 'full' }, TypeError, /"rank".*"auto"/],
    [{ signal: {} }, TypeError, /AbortSignal/],
    [{ onProgress: 1 }, TypeError, /function/],
    [{ bits: '4' }, TypeError, /"bits".*number/],
    [{ bits: null }, TypeError, /"bits".*null/],
    [{ threads: 4n }, TypeError, /"threads".*4n/],
  ];
  for (const value of [0, 9, 2.5, NaN, -1, Infinity])
    both.push([{ bits: value }, RangeError, /"bits".*from 1 to 8/]);
  for (const value of [0, 1, 257, 2.5, NaN])
    both.push([{ levels: value }, RangeError, /"levels".*from 2 to 256/]);
  for (const value of [0, -1, 1.5, NaN, Infinity]) {
    both.push(
      [{ groupSize: value }, RangeError, /"groupSize"/],
      [{ threads: value }, RangeError, /"threads"/],
    );
  }
  for (const value of [-1, -0.5, 1.5, NaN, Infinity]) both.push([{ rank: value }, RangeError, /"rank"/]);
  for (const [options, type, message] of both) await fails(t, layerOf(), options, { type, message });
  for (const options of [null, [], 'bits', 4])
    await fails(t, layerOf(), options as unknown as object, { type: TypeError, message: /object/ });

  const quantize: [object, RegExp][] = [
    [{ method: 'maly-sab' }, /did you mean "maly-saab"\?/],
    [{ method: 3 }, /"method" option to be one of/],
    [{ scale: 'serch' }, /did you mean "search"\?/],
    [{ scale: 'search' }, /needs the scale "max"/],
    [{ effort: 2 }, /"effort" option has no effect/],
    [{ damping: 0.1 }, /"damping" option has no effect/],
    [{ method: 'msq', rank: 2 }, /"rank".*does not take it/],
    [{ method: 'msq', box: 'cell' }, /"box".*does not take it/],
  ];
  for (const [options, message] of quantize)
    await t.throwsAsync(quantizeLayer(layerOf(), options), { instanceOf: RangeError, message });
  for (const method of ['vertex', 'gptq', 'gpfq'] as const)
    await t.throwsAsync(quantizeLayer(layerOf(), { method }), {
      code: 'ERR_VERTEXQ_UNSUPPORTED',
      message: /not in this version/,
    });
  await t.throwsAsync(
    quantizeLayer({ weight: normals(36, 1), inFeatures, outFeatures }, { method: 'maly-saab' }),
    {
      instanceOf: RangeError,
      message: /needs calibration data/,
    },
  );
  t.is((await quantizeLayer(layerOf())).report.method, 'maly-saab');
});
