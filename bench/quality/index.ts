// npm run bench:quality [-- --quick] [-- --neurons n]: output errors of the methods on a real network's layers and on problem B, into
// docs/quality.md. --quick: few neurons and layers, and the document stays as it is.
import { join } from 'node:path';
import { quantizeLayer } from '../../lib';
import { aligned, fillIn, keep } from '../document';
import { plotEffort } from './plot-effort';
import { sentenceEncoderLayers } from './layers';
import { measure, rival } from './measure';
import { problemTable } from './problem-b';
import { layersTable, meansTable, summaryTable } from './tables';

const root = join(__dirname, '..', '..');
const words = process.argv.slice(2);
const quick = words.includes('--quick');
const neurons = words.includes('--neurons') ? Number(words[words.indexOf('--neurons') + 1]) : quick ? 16 : 48;

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
        holdout: report.error.own.holdout!,
        calibration: report.error.own.calibration!,
        seconds: report.seconds,
      });
    }
    break;
  }
  return points;
}

async function main(): Promise<void> {
  const document = join(root, 'docs', 'quality.md');
  const results = await measure(neurons, quick ? 1 : Infinity);
  const parts: Record<string, string> = {
    summary: summaryTable(results),
    means: meansTable(results),
    gptq: layersTable(results, rival),
    vertex: layersTable(results, 'vertex'),
    problem: await problemTable(quick ? 8 : 128),
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
  await plotEffort(join(root, 'docs', 'quality-effort.svg'), curve);
}

void main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
