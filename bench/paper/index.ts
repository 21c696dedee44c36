// npm run bench:paper [-- a b c] [--quick]: what docs/paper.md shows. --quick: small, and leaves the documents as they are.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { accuracyTable, errorTable, floatAccuracy, measureAccuracy } from './accuracy';
import { curveTables, gaussianSweep, measure, mnistSweep, type Sweep } from './curves';
import { aligned, fillIn, keep } from '../document';
import { plotAccuracy, plotCurves } from './plots';
import { titles } from './titles';

const root = join(__dirname, '..', '..');
const words = process.argv.slice(2);
const quick = words.includes('--quick');
const folder = quick ? join(root, '.cache', 'paper') : join(root, 'docs');

async function publish(name: string, table: string, result: unknown): Promise<void> {
  const text = await aligned(table);
  console.log(`\n${name}\n\n${text}`);
  await keep(join(folder, 'paper.json'), name, result);
  if (!quick) fillIn(join(folder, 'paper.md'), name, text);
}

async function curves(name: keyof typeof titles, sweep: Sweep): Promise<void> {
  const measured = await measure(sweep, quick ? 2 : 5, quick ? 2 : 5);
  await plotCurves(join(folder, `paper-${name}.svg`), measured, titles[name]);
  await publish(name, curveTables(measured), measured);
}

const experiments: Record<string, () => Promise<void>> = {
  a: () => curves('gaussian', gaussianSweep(quick)),
  b: () => curves('mnist-rows', mnistSweep(quick)),
  c: async () => {
    const float = `Float: ${(100 * (await floatAccuracy())).toFixed(2)} %.`;
    await measureAccuracy(quick, async (outcomes) => {
      await plotAccuracy(join(folder, 'paper-mnist-accuracy.svg'), outcomes);
      const tables = [float, accuracyTable(outcomes), errorTable(outcomes)].join('\n\n');
      await publish('mnist-accuracy', tables, outcomes);
    });
  },
};

async function main(): Promise<void> {
  const named = words.filter((word) => word !== '--quick');
  const unknown = named.find((name) => !(name in experiments));
  if (unknown !== undefined) throw new Error(`No experiment "${unknown}": a, b or c`);
  mkdirSync(folder, { recursive: true });
  for (const name of named.length > 0 ? named : Object.keys(experiments)) {
    const started = performance.now();
    await experiments[name]!();
    console.log(`\n(${name}: ${((performance.now() - started) / 1000).toFixed(0)} s)`);
  }
}

void main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
