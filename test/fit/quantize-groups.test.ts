import test from 'ava';
import { LayerRows } from '../../lib/fit/layer-rows';
import { rowsKind } from '../../lib/methods';
import { quantizeGroups } from '../../lib/fit/quantize-groups';
import type { LayerSettings, WeightsInput } from '../../lib/fit/layer-settings';
import { checkModelOptions, layerSettings } from '../../lib/models/model-options';
import type { Layer } from '../../lib/models/layers/layer';
import type { Method } from '../../lib/types';
import { random } from '../models/networks';

// Grouped and depthwise convolutions: many small problems.

interface Shape {
  groups: number;
  /** Of each group. */
  channels: number;
  neurons: number;
  kernel: number;
}

/** Pictures whose neighbours are alike, as those that a network sees. */
function pictures(samples: number, channels: number, size: number, seed: number) {
  const noise = random(samples * channels * size ** 2, seed);
  const values = noise.map((value, i) =>
    Math.max(0, value + 0.8 * (noise[i - 1] ?? 0) + 0.6 * (noise[i - size] ?? 0) + 0.3),
  );
  return { values, shape: [samples, channels, size, size] };
}

async function rowsOf(
  { groups, channels, kernel }: Shape,
  { values, shape }: ReturnType<typeof pictures>,
  method: Method,
): Promise<LayerRows> {
  const rows = LayerRows.of(channels * kernel ** 2, rowsKind(method, false), {}, groups);
  const none = { strides: [], dilations: [], pads: [] };
  await rows.addPatches({ values, shape, kernel: [kernel, kernel], ...none });
  return rows;
}

/** A layer with calibration rows of `samples` pictures and held-out ones of as many. */
async function layerWith(shape: Shape, samples: number, size: number, method: Method): Promise<WeightsInput> {
  const { groups, channels, neurons, kernel } = shape;
  const inFeatures = channels * kernel ** 2;
  const outFeatures = groups * neurons;
  const rows = (seed: number) => rowsOf(shape, pictures(samples, groups * channels, size, seed), method);
  return {
    ...{ name: 'layer', kind: 'Conv', inFeatures, outFeatures },
    weight: random(outFeatures * inFeatures, 5),
    calibration: await rows(1),
    holdout: await rows(2),
  };
}

const settingsOf = (method: Method, bits: number, { inFeatures }: WeightsInput): LayerSettings =>
  layerSettings(checkModelOptions({ method, bits, calibration: 'data' }), { inFeatures } as Layer);

const shapes: Shape[] = [
  { groups: 16, channels: 1, neurons: 1, kernel: 3 },
  { groups: 8, channels: 1, neurons: 3, kernel: 5 },
  { groups: 4, channels: 4, neurons: 2, kernel: 3 },
  { groups: 2, channels: 8, neurons: 4, kernel: 1 },
];

for (const { samples, size, what } of [
  { samples: 1, size: 5, what: 'few' },
  { samples: 2, size: 7, what: 'some' },
  { samples: 8, size: 12, what: 'many' },
])
  test(`grouped convolutions, ${what} rows: "vertex" is never worse than "msq" on held-out data`, async (t) => {
    for (const shape of shapes)
      for (const bits of [2, 3, 4]) {
        const errorOf = async (method: Method) => {
          const layer = await layerWith(shape, samples, size, method);
          const { report } = await quantizeGroups(layer, shape.groups, settingsOf(method, bits, layer), {});
          return report.error.holdout!;
        };
        const [vertex, msq] = [await errorOf('vertex'), await errorOf('msq')];
        // The two sum the same data in other ways.
        t.true(vertex <= msq * (1 + 1e-6), `${JSON.stringify(shape)}, ${bits} bits: ${vertex}, msq ${msq}`);
        if (what === 'many') t.true(vertex < 0.95 * msq, `${vertex}, msq ${msq}`);
      }
  });

test('fewer rows than inputs: plain rounding, held-out data or not, and the report tells', async (t) => {
  const shape: Shape = { groups: 6, channels: 2, neurons: 2, kernel: 3 };
  const few = await layerWith(shape, 1, 5, 'vertex');
  t.is(few.calibration!.samples, 9);
  for (const holdout of [few.holdout, null]) {
    const layer = { ...few, holdout };
    const fitted = await quantizeGroups(layer, 6, settingsOf('vertex', 3, layer), {});
    const rounded = await quantizeGroups(layer, 6, settingsOf('msq', 3, layer), {});
    t.deepEqual([fitted.codes, fitted.scales], [rounded.codes, rounded.scales]);
    t.is(fitted.report.method, 'msq');
    t.is(fitted.report.fellBackFrom, 'vertex');
    t.regex(fitted.report.warnings.join(), /9 calibration rows are too few for groups of 18 inputs/);
    // Other methods are what they are called.
    const { report } = await quantizeGroups(layer, 6, settingsOf('gptq', 3, layer), {});
    t.deepEqual([report.method, report.fellBackFrom], ['gptq', null]);
  }
});

test('groups: each gets what it gets alone, on any number of threads', async (t) => {
  const shape: Shape = { groups: 5, channels: 2, neurons: 3, kernel: 2 };
  const layer = await layerWith(shape, 4, 6, 'vertex');
  const settings = settingsOf('vertex', 3, layer);
  const results = [];
  for (const threads of [1, 2, 7]) {
    const { codes, scales, zeroPoints, report } = await quantizeGroups(layer, 5, settings, { threads });
    results.push({ codes, scales, zeroPoints, report: { ...report, seconds: 0 } });
  }
  t.deepEqual(results[1], results[0]);
  t.deepEqual(results[2], results[0]);
  const size = 3 * layer.inFeatures;
  for (let group = 0; group < 5; group++) {
    const alone = {
      ...layer,
      weight: layer.weight.subarray(group * size, (group + 1) * size),
      outFeatures: 3,
      calibration: layer.calibration!.group(group),
      holdout: layer.holdout!.group(group),
    };
    const { codes } = await quantizeGroups(alone, 1, settings, {});
    t.deepEqual(results[0]!.codes.subarray(group * size, (group + 1) * size), codes);
  }
});

test('groups: progress goes up to all neurons, an abort and an exception end the work', async (t) => {
  const shape: Shape = { groups: 40, channels: 1, neurons: 2, kernel: 3 };
  const layer = await layerWith(shape, 4, 6, 'vertex');
  const settings = settingsOf('vertex', 4, layer);
  const seen: number[] = [];
  await quantizeGroups(layer, 40, settings, {
    onProgress: ({ done, total }) => {
      t.is(total, 80);
      seen.push(done);
    },
  });
  t.deepEqual(
    seen,
    Array.from({ length: 40 }, (_, i) => 2 * (i + 1)),
  );
  for (const threads of [1, 3]) {
    const controller = new AbortController();
    let calls = 0;
    const onProgress = () => {
      if (++calls === 5) controller.abort(new Error('enough'));
    };
    await t.throwsAsync(
      quantizeGroups(layer, 40, settings, { threads, signal: controller.signal, onProgress }),
      {
        message: 'enough',
      },
    );
    t.true(calls < 5 + threads);
    const thrown = quantizeGroups(layer, 40, settings, {
      threads,
      onProgress: () => {
        throw new Error('a bad day');
      },
    });
    await t.throwsAsync(thrown, { message: 'a bad day' });
  }
});
