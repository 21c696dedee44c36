import test from 'ava';
import { preprocess, quantizeLayer, type LayerInput } from '../../lib/index';
import { gramOf, normals } from './data';
import { fails, inFeatures, layerOf, outFeatures, untyped } from './failing';

test('arrays of the wrong type, length or buffer are refused', async (t) => {
  const detached = normals(36, 1);
  structuredClone(detached, { transfer: [detached.buffer as ArrayBuffer] });
  const shared = new Float32Array(new SharedArrayBuffer(36 * 4));
  for (const name of ['weight', 'activations', 'targetActivations', 'holdout', 'targetHoldout'] as const) {
    if (name === 'weight' || name === 'activations')
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
    [{ bits: 3, levels: 5 }, RangeError, /"bits" and "levels" contradict/],
    [{ levels: 4, grid: 'integer' }, RangeError, /odd number of levels, not 4: use/],
    [{ levels: 5, grid: 'zero-free' }, RangeError, /even number of levels, not 5: use/],
    [{ bits: 1, grid: 'integer' }, RangeError, /use the grid "zero-free"/],
    [{ bits: 1, grid: 'asymmetric' }, RangeError, /use the grid "zero-free"/],
    [{ bits: 1, grid: 'full-range' }, RangeError, /use the grid "zero-free"/],
    [{ levels: 7, grid: 'full-range' }, RangeError, /even number of levels, not 7: use/],
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
    [{ method: 'maly-saab', scale: 'search' }, /needs the scale "max"/],
    [{ method: 'maly-saab', box: 'celll' }, /"box".*did you mean "cell"\?/],
    [{ effort: -1 }, /"effort" option to be a whole number from 0 to 1000000, not -1/],
    [{ effort: 1.5 }, /"effort".*not 1\.5/],
    [{ effort: NaN }, /"effort".*not NaN/],
    [{ effort: Infinity }, /"effort".*not Infinity/],
    [{ damping: -0.1 }, /"damping" option to be a number from 0 to 1000000, not -0\.1/],
    [{ damping: NaN }, /"damping".*not NaN/],
    [{ damping: Infinity }, /"damping".*not Infinity/],
  ];
  for (const [options, message] of quantize)
    await t.throwsAsync(quantizeLayer(layerOf(), options), { instanceOf: RangeError, message });
  for (const [options, message] of [
    [{ effort: 'much' }, /"effort" option to be a number or "auto", not "much"/],
    [{ effort: null }, /"effort".*null/],
    [{ damping: '0.1' }, /"damping" option to be a number, not "0\.1"/],
  ] as [object, RegExp][])
    await t.throwsAsync(quantizeLayer(layerOf(), options), { instanceOf: TypeError, message });
  await t.throwsAsync(
    quantizeLayer({ weight: normals(36, 1), inFeatures, outFeatures }, { method: 'maly-saab' }),
    {
      instanceOf: RangeError,
      message: /needs calibration data/,
    },
  );
  t.is((await quantizeLayer(layerOf())).report.method, 'vertex');
});

/** What each method takes besides what all take. */
const taken = {
  vertex: ['effort', 'damping', 'rank', 'search', 'targets'],
  gptq: ['damping', 'search', 'targets'],
  gpfq: ['search', 'targets'],
  'maly-saab': ['rank', 'box'],
  msq: ['search'],
} as const;

test('each method takes its options and refuses those of others by name', async (t) => {
  const options = { effort: 1, damping: 0.01, rank: 3, box: 'saturate' } as const;
  for (const [method, takes] of Object.entries(taken) as [keyof typeof taken, readonly string[]][]) {
    for (const name of ['effort', 'damping', 'rank', 'box'] as const) {
      const call = () => quantizeLayer(layerOf(), { method, [name]: options[name] });
      if (takes.includes(name)) t.is((await call()).report.method, method);
      else
        await t.throwsAsync(call, {
          instanceOf: RangeError,
          message: RegExp(`The "${name}" option belongs to .*: the method "${method}" does not take it`),
        });
    }
    const search = () => quantizeLayer(layerOf(), { method, scale: 'search' });
    if (takes.includes('search')) await t.notThrowsAsync(search);
    else await t.throwsAsync(search, { message: /needs the scale "max"/ });
    t.is((await quantizeLayer(layerOf(), { method, scale: 'max' })).report.method, method);

    const pairs = layerOf({ targetActivations: normals(20 * inFeatures, 5) });
    const crossed = untyped({
      activations: undefined,
      gram: gramOf(normals(20 * inFeatures, 2), inFeatures),
      crossGram: gramOf(normals(20 * inFeatures, 2), inFeatures),
    });
    for (const layer of [pairs, crossed]) {
      const call = () => quantizeLayer(layer, { method });
      if (takes.includes('targets')) t.true((await call()).report.errorCorrection);
      else
        await t.throwsAsync(call, {
          instanceOf: RangeError,
          message: /"(targetActivations|crossGram)" has no effect|sees, and takes no/,
        });
    }
  }
  await t.throwsAsync(preprocess(layerOf({ targetActivations: normals(20 * inFeatures, 5) })), {
    instanceOf: RangeError,
    message: /fits what the layer itself sees, and takes no "targetActivations"/,
  });
});

test('what the float layer saw must fit what the quantized one will see', async (t) => {
  const x = normals(20 * inFeatures, 5);
  const gram = gramOf(x, inFeatures);
  const none = { activations: undefined };
  for (const [changes, type, message] of [
    [
      { targetActivations: normals(19 * inFeatures, 5) },
      RangeError,
      /as many rows as "activations", 20, not 19/,
    ],
    [{ ...none, gram, targetActivations: x }, RangeError, /"targetActivations" needs "activations"/],
    [{ crossGram: gram }, RangeError, /"crossGram".* needs "gram"/],
    [{ ...none, gram, crossGram: new Float32Array(144) }, TypeError, /"crossGram" to be a Float64Array/],
    [{ ...none, gram, crossGram: gram.slice(12) }, RangeError, /"crossGram".*12 × 12 numbers, not 132/],
    [{ targetActivations: x, targetHoldout: x }, RangeError, /"targetHoldout" needs "holdout"/],
    [
      { holdout: x, targetHoldout: x },
      RangeError,
      /"targetHoldout" needs "targetActivations" or "crossGram"/,
    ],
    [
      { targetActivations: x, holdout: x, targetHoldout: x.slice(12) },
      RangeError,
      /as many rows as "holdout", 20, not 19/,
    ],
  ] as [object, new (message: string) => Error, RegExp][])
    await fails(t, untyped(changes), {}, { type, message });
  const bad = x.slice();
  bad[13] = NaN;
  await t.throwsAsync(quantizeLayer(layerOf({ targetActivations: bad })), { code: 'ERR_VERTEXQ_NOT_FINITE' });
});
