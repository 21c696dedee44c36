import test from 'ava';
import fc from 'fast-check';
import { quantizeCheckpoint, quantizeLayer, quantizeModel, preprocess } from '../../lib/index';
import type { QuantizedLayer, QuantizeOptions } from '../../lib/index';
import { checkpointEncodings } from '../../lib/encodings/safetensors/table';
import { checkpointFormats, isGguf, modelFormats, namesOf } from '../../lib/encodings/names';
import { modelEncodings } from '../../lib/encodings/onnx/table';
import { layerOf, normals, outputNorm, random, relativeError, type Size } from './data';
import { fails, layerOf as anyLayer } from './failing';

// Grids whose codes are counted from 0: levels of one's own, and steps from a minimum that is a float.

/** The levels of ggml's IQ4_NL. */
const iq4nl = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

const methods = ['vertex', 'gptq', 'gpfq', 'maly-saab', 'msq'] as const;

/** The definition: table[code]·scale, or code·scale + minimum. */
function valuesOf(q: QuantizedLayer): Float32Array {
  const groups = Math.ceil(q.inFeatures / q.groupSize);
  return Float32Array.from(q.codes, (code, k) => {
    const group = Math.floor(k / q.inFeatures) * groups + Math.floor((k % q.inFeatures) / q.groupSize);
    return (q.table?.[code] ?? code) * q.scales[group]! + (q.minima?.[group] ?? 0);
  });
}

/** All values of a group. */
function levelsOf(q: QuantizedLayer, group: number): number[] {
  return Array.from(
    { length: q.levels },
    (_, code) => (q.table?.[code] ?? code) * q.scales[group]! + (q.minima?.[group] ?? 0),
  );
}

/** Values are rounded to float32, and far from 0 an error may be hardly more than that. */
const near = (a: number | null, b: number) => a !== null && Math.abs(a - b) <= 2e-6 * Math.abs(b) + 2e-6;

const tables = fc
  .uniqueArray(fc.float({ min: -100, max: 100, noNaN: true }), { minLength: 0, maxLength: 20 })
  .map((levels) => Array.from(new Set([-1, ...levels.map((level) => level + 0), 1])).sort((a, b) => a - b));
const grids = fc.oneof(
  fc.constant<QuantizeOptions>({ grid: iq4nl }),
  fc.constant<QuantizeOptions>({ grid: [-1, 1] }),
  tables.map((grid): QuantizeOptions => ({ grid })),
  fc.integer({ min: 1, max: 7 }).map((bits): QuantizeOptions => ({ bits, grid: 'float-minimum' })),
  fc.integer({ min: 2, max: 128 }).map((levels): QuantizeOptions => ({ levels, grid: 'float-minimum' })),
);

test('uneven grids: codes, values and reported errors agree with the arrays, by every method', async (t) => {
  const shape = fc.record({
    outFeatures: fc.integer({ min: 1, max: 5 }),
    inFeatures: fc.oneof(fc.constantFrom(1, 2, 13, 37), fc.integer({ min: 3, max: 40 })),
    samples: fc.integer({ min: 1, max: 60 }),
    seed: fc.nat(),
    shift: fc.constantFrom(0, 0, 3, -1000),
  });
  const more = fc.record({
    method: fc.constantFrom(...methods),
    groupSize: fc.constantFrom<number | 'channel'>('channel', 1, 4, 16),
  });
  await fc.assert(
    fc.asyncProperty(shape, grids, more, async ({ shift, ...size }, grid, { method, groupSize }) => {
      const layer = layerOf(size);
      const weight = layer.weight.map((w) => w + shift);
      const q = await quantizeLayer({ ...layer, weight }, { ...grid, method, groupSize });
      t.true(q.codes.every((code) => code >= 0 && code < q.levels));
      t.is(q.zeroPoints, null);
      t.deepEqual(
        [q.table !== null, q.minima !== null],
        [Array.isArray(grid.grid), !Array.isArray(grid.grid)],
      );
      const values = valuesOf(q);
      t.deepEqual(q.dequantize(), values);
      const { error, bound } = q.report;
      t.true(near(error.weight, relativeError(weight, values, size.inFeatures)));
      const seen = relativeError(weight, values, size.inFeatures, layer.activations);
      if (error.calibration !== null) t.true(near(error.calibration, seen), `${error.calibration} ${seen}`);
      // Half of the cell that a weight is left in is all that rounding can move it.
      if (method === 'maly-saab' && bound !== null) t.true(error.calibration! <= bound * (1 + 1e-6) + 1e-7);
      t.is(bound !== null, method === 'maly-saab');
      if (q.table) t.is(q.report.sphereGapDb, null);
    }),
    { numRuns: 300 },
  );
});

test('uneven grids: msq rounds each weight to the level that a search of all finds', async (t) => {
  const { weight, outFeatures, inFeatures } = layerOf({
    outFeatures: 6,
    inFeatures: 100,
    samples: 1,
    seed: 3,
  });
  for (const grid of [
    { grid: iq4nl },
    { grid: [-3, -0.125, 0.5, 1] },
    { bits: 3, grid: 'float-minimum' as const },
  ])
    for (const scale of ['max', 'search'] as const) {
      const q = await quantizeLayer({ weight, outFeatures, inFeatures }, { ...grid, scale, groupSize: 32 });
      for (const [k, code] of q.codes.entries()) {
        const group = Math.floor(k / inFeatures) * 4 + Math.floor((k % inFeatures) / 32);
        const levels = levelsOf(q, group);
        const distances = levels.map((level) => Math.abs(level - weight[k]!));
        t.is(code, distances.indexOf(Math.min(...distances)));
        if (scale === 'max') t.true(levels[0]! <= weight[k]! && levels.at(-1)! >= weight[k]!);
      }
    }
});

test('uneven grids: even levels as a table give what the grid of that name gives', async (t) => {
  const layer = layerOf({ outFeatures: 9, inFeatures: 64, samples: 150, seed: 5 });
  for (const method of ['msq', 'gpfq'] as const) {
    const named = await quantizeLayer(layer, { method, bits: 2, grid: 'full-range', groupSize: 16 });
    for (const unit of [1, 2, 0.25]) {
      const own = await quantizeLayer(layer, {
        method,
        grid: [-2, -1, 0, 1].map((l) => l * unit),
        groupSize: 16,
      });
      t.deepEqual(own.dequantize(), named.dequantize());
      t.deepEqual(
        own.codes,
        named.codes.map((code) => code + 2),
      );
      t.deepEqual(
        own.scales,
        named.scales.map((scale) => scale / unit),
      );
      t.deepEqual([own.bits, own.levels], [2, 4]);
    }
  }
});

test('uneven grids: on tiny layers vertex is near the best of all answers', async (t) => {
  for (const options of [{ grid: [-3, -0.5, 0.25, 1] }, { bits: 2, grid: 'float-minimum' as const }]) {
    let [found, best] = [0, 0];
    for (let seed = 0; seed < 6; seed++) {
      const size: Size = { outFeatures: 4, inFeatures: 5, samples: 12, seed };
      const layer = layerOf(size);
      const q = await quantizeLayer(layer, { ...options, effort: 8 });
      for (let k = 0; k < size.outFeatures; k++) {
        const w = layer.weight.subarray(k * 5, k * 5 + 5);
        const levels = levelsOf(q, k);
        const errorOf = (codeAt: (i: number) => number) =>
          outputNorm(
            layer.activations,
            w,
            Float64Array.from(w, (_, i) => levels[codeAt(i)]!),
          ) ** 2;
        found += errorOf((i) => q.codes[k * 5 + i]!);
        let least = Infinity;
        for (let all = 0; all < 4 ** 5; all++)
          least = Math.min(
            least,
            errorOf((i) => Math.floor(all / 4 ** i) % 4),
          );
        best += least;
      }
    }
    t.true(found >= best * (1 - 1e-6) && found <= 1.03 * best, `${found} ${best}`);
  }
});

test('uneven grids: less error than the even ones of as many bits, where they suit the weights', async (t) => {
  const layer = layerOf({ outFeatures: 32, inFeatures: 96, samples: 300, seed: 8 });
  const next = random(4);
  // Weights that are all far on one side of 0.
  const shifted = { ...layer, weight: layer.weight.map(() => 10 + next()) };
  for (const method of ['vertex', 'gptq', 'gpfq', 'msq'] as const) {
    const effort = method === 'vertex' ? { effort: 4 } : {};
    const errorOf = async (given: typeof layer, options: QuantizeOptions) =>
      (await quantizeLayer(given, { method, ...effort, groupSize: 32, ...options })).report.error
        .calibration!;
    const [uneven, even] = [
      await errorOf(layer, { grid: iq4nl }),
      await errorOf(layer, { bits: 4, grid: 'full-range' }),
    ];
    t.true(uneven < even, `${method} ${uneven} ${even}`);
    const [free, zero] = [
      await errorOf(shifted, { bits: 4, grid: 'float-minimum' }),
      await errorOf(shifted, { bits: 4, grid: 'asymmetric' }),
    ];
    t.true(free < 0.3 * zero, `${method} ${free} ${zero}`);
    t.log(
      `${method}: IQ4_NL's levels ${uneven.toFixed(5)}, full-range ${even.toFixed(5)}; far from 0, with minima ${free.toFixed(6)}, asymmetric ${zero.toFixed(6)}`,
    );
  }
});

test('float minima: groups of one value are that value, and zeros are zeros', async (t) => {
  const { activations } = layerOf({ outFeatures: 1, inFeatures: 8, samples: 40, seed: 2 });
  for (const value of [0, 7.25, -1e5, 1e-30]) {
    const weight = new Float32Array(16).fill(value);
    for (const method of methods) {
      const layer = { weight, outFeatures: 2, inFeatures: 8, activations };
      const q = await quantizeLayer(layer, { method, bits: 4, grid: 'float-minimum', groupSize: 4 });
      t.deepEqual(q.dequantize(), weight, `${method} ${value}`);
      t.is(q.report.error.weight, 0);
    }
  }
});

test('uneven grids: results do not depend on the threads', async (t) => {
  const layer = layerOf({ outFeatures: 70, inFeatures: 80, samples: 200, seed: 6 });
  for (const grid of [{ grid: iq4nl }, { bits: 3, grid: 'float-minimum' as const }])
    for (const method of methods) {
      const [one, three] = await Promise.all(
        [1, 3].map((threads) => quantizeLayer(layer, { ...grid, method, threads, groupSize: 16 })),
      );
      t.deepEqual(
        [one!.codes, one!.scales, one!.minima, one!.table],
        [three!.codes, three!.scales, three!.minima, three!.table],
      );
    }
});

test('uneven grids: the walk alone ends on them', async (t) => {
  const layer = layerOf({ outFeatures: 4, inFeatures: 40, samples: 15, seed: 11 });
  for (const options of [{ grid: iq4nl }, { bits: 3, grid: 'float-minimum' as const }])
    for (const box of ['cell', 'saturate'] as const) {
      const done = await preprocess(layer, { ...options, box });
      t.deepEqual(done.table, Array.isArray(options.grid) ? Float32Array.from(iq4nl) : null);
      t.is(done.minima === null, done.table !== null);
      for (let k = 0; k < 4; k++) {
        const free = new Set(done.free[k]);
        t.true(free.size <= done.rank);
        const levels = Array.from(
          { length: done.levels },
          (_, code) => (done.table?.[code] ?? code) * done.scales[k]! + (done.minima?.[k] ?? 0),
        );
        const far = (w: number) => Math.min(...levels.map((level) => Math.abs(level - w)));
        for (let i = 0; i < 40; i++)
          if (!free.has(i)) t.true(far(done.weight[k * 40 + i]!) < 1e-12 * Math.abs(levels[0]!));
      }
      t.true(done.residual! < 1e-9);
    }
});

test('uneven grids: what is no grid is refused with what it lacks', async (t) => {
  const wrong: [object, new (message: string) => Error, RegExp][] = [
    [{ grid: [] }, RangeError, /2 to 128 levels, not 0/],
    [{ grid: [1] }, RangeError, /2 to 128 levels, not 1/],
    [{ grid: Array.from({ length: 129 }, (_, i) => i - 64) }, RangeError, /2 to 128 levels, not 129/],
    [{ grid: [-1, '0', 1] }, TypeError, /numbers, not "0" as level 1/],
    [{ grid: [-1, NaN, 1] }, RangeError, /finite float32 numbers, not NaN as level 1/],
    [{ grid: [-1, 1e39] }, RangeError, /finite float32 numbers/],
    [{ grid: [1, -1] }, RangeError, /rising numbers: level 1, -1, is not above/],
    [{ grid: [-1, 1, 1 + 1e-12] }, RangeError, /rising numbers: level 2/],
    [{ grid: [0, 1, 2] }, RangeError, /both sides of 0, not from 0 to 2/],
    [{ grid: [-2, -1] }, RangeError, /both sides of 0, not from -2 to -1/],
    [{ grid: iq4nl, bits: 3 }, RangeError, /16 levels, which take 4 bits, and "bits" is 3: leave it out/],
    [{ grid: iq4nl, levels: 15 }, RangeError, /16 levels, and "levels" is 15: leave it out/],
    [
      { grid: 'float-minimum', bits: 8 },
      RangeError,
      /128 levels at most, not 256: use the grid "asymmetric"/,
    ],
    [{ grid: { levels: iq4nl } }, RangeError, /"grid" option to be one of/],
    [{ grid: 'table' }, RangeError, /"grid"/],
  ];
  for (const [options, type, message] of wrong) await fails(t, anyLayer(), options, { type, message });
  await t.notThrowsAsync(quantizeLayer(anyLayer(), { grid: iq4nl, bits: 4 }));
});

test('uneven grids: every format refuses what it cannot hold, before any work', async (t) => {
  const kinds = [
    { grid: 'table', levels: 16, bits: 4, table: Float32Array.from(iq4nl) },
    { grid: 'float-minimum', levels: 16, bits: 4 },
  ] as const;
  for (const kind of kinds) {
    for (const format of namesOf(modelFormats))
      t.throws(() => modelEncodings[format].check({ ...kind, groupSize: 32 }), {
        instanceOf: RangeError,
        message: /cannot hold .*: use the grid "asymmetric"/,
      });
    for (const format of namesOf(checkpointFormats).filter((name) => !isGguf(name)))
      t.throws(() => checkpointEncodings[format].check({ ...kind, groupSize: 32 }), {
        instanceOf: RangeError,
        message: /cannot hold .*: use the grid "asymmetric"/,
      });
  }
  const message = /cannot hold/;
  await t.throwsAsync(quantizeModel('none.onnx', 'out.onnx', { grid: iq4nl }), {
    instanceOf: RangeError,
    message,
  });
  await t.throwsAsync(quantizeCheckpoint('none', 'out', { grid: 'float-minimum' }), {
    instanceOf: RangeError,
    message,
  });
});

test('uneven grids: a weight may be as large or as small as float32 numbers are', async (t) => {
  const { activations } = layerOf({ outFeatures: 1, inFeatures: 16, samples: 40, seed: 2 });
  for (const size of [1e-40, 1e-30, 1e30, 3e38]) {
    const weight = Float32Array.from(normals(16, 4), (w) => Math.max(-1, Math.min(1, w)) * size);
    for (const grid of [{ grid: iq4nl }, { bits: 4, grid: 'float-minimum' as const }])
      for (const method of methods) {
        const layer = { weight, outFeatures: 1, inFeatures: 16, activations };
        const q = await quantizeLayer(layer, { ...grid, method, groupSize: 8 });
        t.true(q.dequantize().every((value) => Number.isFinite(value)));
        t.true(q.report.error.weight < 0.5, `${method} ${size} ${q.report.error.weight}`);
      }
  }
});
