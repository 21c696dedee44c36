// npm run bench:quality [-- --quick] [-- --neurons n]: output errors of the methods on a real network's layers, into
// docs/quality.md. --quick: few neurons and layers, and the document stays as it is.
import { join } from 'node:path';
import { quantizeLayer, type QuantizeOptions } from '../../lib';
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

/** Named as in the tables. Grid: zero-free at 2 bits, where it is best; else asymmetric. */
const methods: Record<string, QuantizeOptions> = {
  msq: { method: 'msq', scale: 'max' },
  'msq, searched scale': { method: 'msq' },
  gpfq: { method: 'gpfq' },
  'gptq, largest-weight scale': { method: 'gptq', scale: 'max' },
  gptq: { method: 'gptq' },
  'vertex, effort 0': { method: 'vertex', effort: 0 },
  vertex: { method: 'vertex' },
};
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
  for await (const { name: layer, ...input } of sentenceEncoderLayers(neurons)) {
    for (const bits of widths)
      for (const groupSize of groups)
        for (const [method, options] of Object.entries(methods)) {
          const grid = bits === 2 ? 'zero-free' : 'asymmetric';
          const { report } = await quantizeLayer(input, { ...options, bits, groupSize, grid });
          const { calibration, holdout } = report.error as { calibration: number; holdout: number };
          results.push({ layer, bits, groupSize, method, calibration, holdout, seconds: report.seconds });
        }
    console.error(layer);
    if (quick) break;
  }
  return results;
}

const mean = (values: readonly number[]): number =>
  Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);

/** Geometric means over layers of the held-out error, relative to that of gptq. */
function meansTable(results: readonly Result[]): string {
  const names = Object.keys(methods);
  const cell = (bits: number, groupSize: number | 'channel', method: string): number => {
    const of = (wanted: string): Result[] =>
      results.filter((r) => r.bits === bits && r.groupSize === groupSize && r.method === wanted);
    const base = of('gptq');
    return mean(of(method).map(({ holdout }, i) => holdout / base[i]!.holdout));
  };
  const lines = widths.flatMap((bits) =>
    groups.map((groupSize) => [
      `${bits} bits, ${groupSize === 'channel' ? 'per neuron' : `groups of ${groupSize}`}`,
      ...names.map((name) => cell(bits, groupSize, name).toFixed(3)),
    ]),
  );
  const all = names.map((name) =>
    mean(widths.flatMap((bits) => groups.map((groupSize) => cell(bits, groupSize, name)))).toFixed(3),
  );
  return markdownTable(['relative to gptq', ...names], [...lines, ['**all**', ...all]]);
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
    means: meansTable(results),
    gptq: layersTable(results, 'gptq'),
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
