// npm run bench:language [-- --tokens n] [-- --judged n] [-- --settings 3g64,2g32] [-- --methods a,b] [-- --tables]: SmolLM2 quantized with calibration text, into
// docs/language.md. Some settings of plan.ts (bits and group size), some of its methods; what an earlier run has made is kept in .cache/bench-language and gone on with.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { aligned, fillIn, keep } from '../document';
import { judge, quantized, type Result } from './measure';
import { nameOf, plansOf, settings } from './plan';
import { tablesOf } from './tables';

const docs = join(__dirname, '..', '..', 'docs');
const numbers = join(docs, 'language.json');
const words = process.argv.slice(2);
const given = (name: string): string | undefined =>
  words.includes(name) ? words[words.indexOf(name) + 1] : undefined;
const count = (name: string, fallback: number) => Number(given(name) ?? fallback);

const kept = (): Result[] =>
  existsSync(numbers) ? (JSON.parse(readFileSync(numbers, 'utf8')) as { runs: Result[] }).runs : [];

async function publish(runs: readonly Result[]): Promise<void> {
  for (const [name, table] of Object.entries(tablesOf(runs))) {
    const text = await aligned(table);
    console.log(`\n${name}\n\n${text}`);
    fillIn(join(docs, 'language.md'), name, text);
  }
}

async function main(): Promise<void> {
  const judged = count('--judged', 65_536);
  const chosen = given('--settings')?.split(/, */);
  const wanted = given('--methods')?.split(/, */);
  if (!words.includes('--tables'))
    for (const setting of settings) {
      if (chosen?.includes(`${setting.bits}g${setting.groupSize}`) === false) continue;
      const plans = plansOf(setting, count('--tokens', 131_072)).filter(
        ({ method }) => wanted?.includes(method) ?? true,
      );
      for (const plan of plans) {
        const { seconds, rss } = await quantized(plan);
        console.error(`${nameOf(plan)}: ${seconds.toFixed(0)} s, ${(rss / 2 ** 20).toFixed(0)} MiB`);
      }
      const results = await judge(plans, judged);
      const names = new Set(plans.map(nameOf));
      await keep(numbers, 'runs', [...kept().filter((run) => !names.has(nameOf(run))), ...results]);
    }
  await publish(kept());
}

void main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
