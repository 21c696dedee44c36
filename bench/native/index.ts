// npm run bench:native [-- --quick] [-- walk pipeline ...]: what docs/performance.md shows. Run nothing else beside it.
// --quick, and a selection of parts, leave the document as it is.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { aligned, fillIn, keep } from '../document';
import { plotForms } from './plots';
import type { Row } from './rows';
import { tables } from './tables';

const root = join(__dirname, '..', '..');
const build = join(root, 'build');
const words = process.argv.slice(2);
const memoryTasks = ['gram-8192', 'gram-65536', 'walk-64-1', 'walk-256-1', 'walk-256-2'];

function run(command: string, args: readonly string[]): string {
  const { status, stdout, error } = spawnSync(command, args, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: 1 << 26,
  });
  if (error) throw error;
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${status}\n${stdout}`);
  return stdout;
}

function measure(args: readonly string[]): Row[] {
  return run(join(build, 'bench_native'), args)
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Row);
}

async function main(): Promise<void> {
  run('cmake', ['--build', build, '--target', 'bench_native', '--parallel']);
  const rows = measure(words);
  const whole = words.length === 0;
  if (whole) rows.push(...memoryTasks.flatMap((task) => measure(['memory', task])));
  for (const [name, table] of Object.entries(tables)) {
    const text = await aligned(table(rows));
    if (text.split('\n').length > 2) console.log(`\n${name}\n\n${text}`);
    if (whole) fillIn(join(root, 'docs', 'performance.md'), name, text);
  }
  if (!whole) return;
  await keep(join(root, 'docs', 'performance.json'), 'rows', rows);
  await plotForms(join(root, 'docs', 'performance-forms.svg'), rows);
}

void main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
