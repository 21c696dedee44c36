// npm run bench:scale [-- --quick] [-- time memory large sound]: how time grows with depth and memory with size, into docs/scale.md.
// Run nothing else beside it. --quick: small ones, and the document stays as it is. The models are made below .cache, up to 3 GiB.
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { aligned, fillIn, keep } from '../document';
import { type Case, type CaseResult, measureCase } from './case';
import { largeCase, memoryCases, soundCases, timeCases } from './plan';
import { largeTable, memoryTable, soundTable, timeTable } from './tables';

const root = join(__dirname, '..', '..');
const words = process.argv.slice(2);
const quick = words.includes('--quick');

const parts: Record<string, { cases: Case[]; table: (results: CaseResult[]) => string }> = {
  time: { cases: timeCases(quick), table: timeTable },
  memory: { cases: memoryCases(quick), table: memoryTable },
  large: { cases: [largeCase(quick)], table: ([result]) => largeTable(result!) },
  sound: { cases: soundCases(quick), table: soundTable },
};

async function main(): Promise<void> {
  const place = join(root, '.cache', 'scale');
  await rm(place, { recursive: true, force: true }); // what a run that was killed has left
  await mkdir(place, { recursive: true });
  const chosen = Object.keys(parts).filter((name) => words.includes(name));
  for (const name of chosen.length > 0 ? chosen : Object.keys(parts)) {
    const { cases, table } = parts[name]!;
    const results: CaseResult[] = [];
    for (const one of cases) results.push(await measureCase(one, place));
    const text = await aligned(table(results));
    console.log(`\n${name}\n\n${text}`);
    if (quick) continue;
    fillIn(join(root, 'docs', 'scale.md'), name, text);
    await keep(join(root, 'docs', 'scale.json'), name, results);
  }
  await rm(place, { recursive: true, force: true });
}

void main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
