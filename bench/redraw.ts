// npm run docs:plots: draws the plots of the documents again, from what was measured (docs/*.json).
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Busy, plotBusy } from './fleet/plot-busy';
import { plotForms } from './native/plots';
import type { Row } from './native/rows';
import { plotCosines } from './networks/plot-cosines';
import type { Result } from './networks/plan';
import type { Outcome } from './paper/accuracy';
import type { Curve } from './paper/curves';
import { plotAccuracy, plotCurves } from './paper/plots';
import { titles } from './paper/titles';
import { type Effort, plotEffort } from './quality/plot-effort';

const docs = join(__dirname, '..', 'docs');
const read = (name: string) => JSON.parse(readFileSync(join(docs, `${name}.json`), 'utf8')) as unknown;

async function main(): Promise<void> {
  const paper = read('paper') as Record<keyof typeof titles, Curve[]> & { 'mnist-accuracy': Outcome[] };
  for (const [name, title] of Object.entries(titles))
    await plotCurves(join(docs, `paper-${name}.svg`), paper[name as keyof typeof titles], title);
  await plotAccuracy(join(docs, 'paper-mnist-accuracy.svg'), paper['mnist-accuracy']);
  await plotCosines(join(docs, 'networks-cosine.svg'), (read('networks') as { runs: Result[] }).runs);
  await plotEffort(join(docs, 'quality-effort.svg'), (read('quality') as { effort: Effort[] }).effort);
  await plotBusy(join(docs, 'fleet-busy.svg'), (read('fleet') as { busy: Busy[] }).busy);
  await plotForms(join(docs, 'performance-forms.svg'), (read('performance') as { rows: Row[] }).rows);
}

void main();
