// npm run bench:quality [-- --quick] [-- --neurons n]: output errors of the methods on a real network's layers, into
// docs/quality.md. --quick: few neurons and layers, and the document stays as it is.
import { join } from 'node:path';
import { quantizeLayer } from '../../lib';
import { layerCalibration } from '../../lib/layers/calibration';
import { settingsOf } from '../../lib/layers/quantize-layer';
import { type LayerSettings, quantizeWeights } from '../../lib/layers/quantize-weights';
import type { Method } from '../../lib/types';
import { aligned, fillIn, keep, markdownTable } from '../document';
import { writePlot } from '../plot';
import { sentenceEncoderLayers } from './layers';

const root = join(__dirname, '..', '..');
const words = process.argv.slice(2);
const quick = words.includes('--quick');
const neurons = words.includes('--neurons')
  ? Number(words[words.indexOf('--neurons') + 1])
  : quick
    ? 16
    : 128;

/** Named as in the tables; settings that are no public options among them. Grid: zero-free at 2 bits, where it is best; else asymmetric. */
const methods: Record<string, Partial<LayerSettings> & { method: Method }> = {
  'msq, max scale': { method: 'msq', scale: 'max' },
  msq: { method: 'msq' },
  gpfq: { method: 'gpfq' },
  'gptq, published': { method: 'gptq', scale: 'max', passes: 0 },
  'gptq, strong': { method: 'gptq', passes: 0 },
  gptq: { method: 'gptq' },
  'vertex, effort 0': { method: 'vertex', passes: 0 },
  vertex: { method: 'vertex' },
};
/** What the tables are relative to: the strongest GPTQ of one decoding. */
const rival = 'gptq, strong';
const widths = [2, 3, 4] as const;
const groups = ['channel', 128, 32] as const;

interface Result {
  layer: string;
  bits: number;
  groupSize: number | 'channel';
  method: string;
  calibration: number;
  holdout: number;
  seconds: number;
}

async function measure(): Promise<Result[]> {
  const results: Result[] = [];
  for await (const layer of sentenceEncoderLayers(neurons)) {
    const input = { ...layer, kind: 'Linear' };
    const data = { gram: await layerCalibration(layer, 'gram'), rows: await layerCalibration(layer, 'rows') };
    for (const bits of widths)
      for (const groupSize of groups)
        for (const [method, settings] of Object.entries(methods)) {
          const grid = bits === 2 ? 'zero-free' : 'asymmetric';
          const { report } = await quantizeWeights(
            { ...input, ...data[settings.method === 'msq' ? 'rows' : 'gram'] },
            { ...settingsOf(layer, { method: settings.method, bits, groupSize, grid }), ...settings },
            {},
          );
          const { calibration, holdout } = report.error as { calibration: number; holdout: number };
          results.push({
            layer: layer.name,
            bits,
            groupSize,
            method,
            calibration,
            holdout,
            seconds: report.seconds,
          });
        }
    console.error(layer.name);
    if (quick) break;
  }
  return results;
}

const mean = (values: readonly number[]): number =>
  Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);

/** Held-out errors of a method at a width, layer by layer, over those of another. */
function ratios(
  results: readonly Result[],
  [bits, groupSize]: readonly [number, number | 'channel'],
  method: string,
  base: string,
): number[] {
  const of = (wanted: string): Result[] =>
    results.filter((r) => r.bits === bits && r.groupSize === groupSize && r.method === wanted);
  const bases = of(base);
  return of(method).map(({ holdout }, i) => holdout / bases[i]!.holdout);
}

const settings = widths.flatMap((bits) => groups.map((groupSize) => [bits, groupSize] as const));

/** Geometric means over layers of the held-out error, relative to the rival's. */
function meansTable(results: readonly Result[]): string {
  const names = Object.keys(methods);
  const lines = settings.map((setting) => [
    `${setting[0]} bits, ${setting[1] === 'channel' ? 'per neuron' : `groups of ${setting[1]}`}`,
    ...names.map((name) => mean(ratios(results, setting, name, rival)).toFixed(3)),
  ]);
  const all = names.map((name) =>
    mean(settings.flatMap((setting) => ratios(results, setting, name, rival))).toFixed(3),
  );
  return markdownTable([`relative to ${rival}`, ...names], [...lines, ['**all**', ...all]]);
}

/** `vertex` against each rival over all cases: the mean, the best and the worst. */
function summaryTable(results: readonly Result[]): string {
  return markdownTable(
    ['vertex against', 'mean', 'least', 'most', 'effort 0: mean', 'most'],
    Object.keys(methods)
      .filter((name) => !name.startsWith('vertex'))
      .map((name) => {
        const [full, walk] = ['vertex', 'vertex, effort 0'].map((method) =>
          settings.flatMap((setting) => ratios(results, setting, method, name)),
        ) as [number[], number[]];
        return [name, mean(full), Math.min(...full), Math.max(...full), mean(walk), Math.max(...walk)].map(
          (cell) => (typeof cell === 'number' ? cell.toFixed(3) : cell),
        );
      }),
  );
}

/** Every layer's held-out errors in %. */
function layersTable(results: readonly Result[], method: string): string {
  const layers = [...new Set(results.map(({ layer }) => layer))];
  const columns = widths.flatMap((bits) => groups.map((groupSize) => ({ bits, groupSize })));
  return markdownTable(
    [method, ...columns.map(({ bits, groupSize }) => `${bits}, ${groupSize}`)],
    layers.map((layer) => [
      layer,
      ...columns.map(({ bits, groupSize }) => {
        const found = results.find(
          (r) => r.layer === layer && r.bits === bits && r.groupSize === groupSize && r.method === method,
        )!;
        return (100 * found.holdout).toFixed(2);
      }),
    ]),
  );
}

/** Error against effort and time, on one layer. */
async function effortCurve(): Promise<
  { effort: number; holdout: number; calibration: number; seconds: number }[]
> {
  const points = [];
  for await (const { name, ...input } of sentenceEncoderLayers(neurons)) {
    if (!name.includes('conv1')) continue;
    for (const effort of [0, 2, 4, 8, 16, 32, 64, 128]) {
      const { report } = await quantizeLayer(input, { bits: 2, grid: 'zero-free', effort });
      points.push({
        effort,
        holdout: report.error.holdout!,
        calibration: report.error.calibration!,
        seconds: report.seconds,
      });
    }
    break;
  }
  return points;
}

async function main(): Promise<void> {
  const document = join(root, 'docs', 'quality.md');
  const results = await measure();
  const parts: Record<string, string> = {
    summary: summaryTable(results),
    means: meansTable(results),
    gptq: layersTable(results, rival),
    vertex: layersTable(results, 'vertex'),
  };
  for (const [name, table] of Object.entries(parts)) {
    const text = await aligned(table);
    console.log(`\n${name}\n\n${text}`);
    if (!quick) fillIn(document, name, text);
  }
  if (quick) return;
  const curve = await effortCurve();
  await keep(join(root, 'docs', 'quality.json'), 'layers', results);
  await keep(join(root, 'docs', 'quality.json'), 'effort', curve);
  await writePlot(join(root, 'docs', 'quality-effort.svg'), {
    title: {
      text: 'Error against time, first feed-forward layer, 2 bits per neuron',
      fontSize: 15,
      offset: 14,
    },
    data: {
      values: curve.flatMap(({ seconds, calibration, holdout }) => [
        { seconds, error: calibration, name: 'calibration' },
        { seconds, error: holdout, name: 'held out' },
      ]),
    },
    width: 420,
    height: 260,
    mark: { type: 'line', point: { size: 45 }, strokeWidth: 2.5 },
    encoding: {
      x: { field: 'seconds', type: 'quantitative', scale: { type: 'log' }, title: 'seconds' },
      y: { field: 'error', type: 'quantitative', scale: { zero: false }, title: 'relative output error' },
      color: { field: 'name', type: 'nominal', title: null },
    },
  });
}

void main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
