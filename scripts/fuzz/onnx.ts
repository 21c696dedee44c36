// npm run fuzz:onnx [-- --runs n] [-- --seed s] [-- --first i] [-- --quantize share] [-- --folder path]: mutates real models and
// feeds them to inspectModel, and every so often to quantizeModel, in processes of their own. Anything but success or a
// VertexqError is a finding: the arguments are sound, so that a TypeError or RangeError is none of theirs. Findings are saved.
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { ModelOptions } from '../../lib';
import { corpus, type Original } from './corpus';
import { type Mutant, mutant } from './mutate';
import { setTraps } from './traps';
import { type Outcome, Worker } from './worker';

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '10000' },
    seed: { type: 'string', default: '1' },
    /** To see one case again: --first i --runs 1. */
    first: { type: 'string', default: '0' },
    quantize: { type: 'string', default: '0.1' },
    folder: { type: 'string', default: join(__dirname, '..', '..', '.cache', 'fuzz') },
    workers: { type: 'string', default: '2' },
  },
});
const [runs, seed, first, workers] = [values.runs, values.seed, values.first, values.workers].map(Number) as [
  number,
  number,
  number,
  number,
];
const quantizeShare = Number(values.quantize);

const limits = { milliseconds: 60_000, bytes: 1.5 * 2 ** 30, heap: 512 };
/** An error's text is for people. */
const longestMessage = 4000;

const formats = ['matmulnbits', 'float'] as const;

function optionsOf({ choose, bytes }: Mutant): ModelOptions {
  const groupSize = choose.of([16, 32, 128]);
  const scale = choose.of(['max', 'search'] as const);
  // The search takes its time on large weights, and has nothing to do with how they are read.
  return {
    method: 'msq',
    scale: bytes.length > 4e6 ? 'max' : scale,
    format: choose.of(formats),
    groupSize,
  };
}

const isFinding = ({ kind, message }: Outcome): boolean =>
  (kind !== 'ok' && !kind.startsWith('ERR_VERTEXQ_')) || message.length > longestMessage;

/** Goes through the cases that are left, in a folder of its own. */
async function lane(
  originals: readonly Original[],
  next: () => number | null,
  report: Report,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'vertexq-fuzz-'));
  setTraps(folder);
  const worker = new Worker(limits);
  const file = join(folder, 'case.onnx');
  try {
    for (let run = next(); run !== null; run = next()) {
      const made = mutant(originals, seed, run);
      writeFileSync(file, made.bytes);
      const quantize = made.choose.chance(quantizeShare)
        ? { output: join(folder, 'out.onnx'), options: optionsOf(made) }
        : null;
      const outcome = await worker.run({ file, quantize });
      report.add(run, made, quantize?.options ?? null, outcome, file);
    }
  } finally {
    worker.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

class Report {
  readonly kinds = new Map<string, number>();
  findings = 0;
  private slowest = { milliseconds: 0, run: 0 };
  private largest = { peak: 0, run: 0 };

  constructor(private readonly folder: string) {}

  add(
    run: number,
    { name, mutations }: Mutant,
    options: ModelOptions | null,
    outcome: Outcome,
    file: string,
  ): void {
    const { kind, message, milliseconds, peak } = outcome;
    this.kinds.set(kind, (this.kinds.get(kind) ?? 0) + 1);
    if (milliseconds > this.slowest.milliseconds) this.slowest = { milliseconds, run };
    if (peak > this.largest.peak) this.largest = { peak, run };
    if (!isFinding(outcome)) return;
    this.findings++;
    mkdirSync(this.folder, { recursive: true });
    const saved = join(this.folder, `${seed}-${run}`);
    copyFileSync(file, `${saved}.onnx`);
    const facts = { seed, run, model: name, mutations, options, kind, milliseconds, peak, message };
    writeFileSync(`${saved}.json`, `${JSON.stringify(facts, null, 2)}\n`);
    console.log(`finding ${saved}.onnx: ${name}, ${mutations.join(' + ')}: ${kind} ${firstLine(message)}`);
  }

  print(): void {
    for (const [kind, count] of [...this.kinds].sort((a, b) => b[1] - a[1])) console.log(`${count} ${kind}`);
    const { slowest, largest } = this;
    console.log(`slowest: ${(slowest.milliseconds / 1000).toFixed(1)} s, run ${slowest.run}`);
    console.log(`most memory: ${(largest.peak / 2 ** 20).toFixed(0)} MiB, run ${largest.run}`);
    console.log(`${this.findings} findings in ${runs} runs, seed ${seed}`);
  }
}

const firstLine = (text: string): string => text.split('\n')[0]!.slice(0, 150);

async function main(): Promise<void> {
  const originals = await corpus();
  let at = first;
  const next = (): number | null => (at < first + runs ? at++ : null);
  const report = new Report(values.folder);
  const started = performance.now();
  const ticking = setInterval(
    () => console.error(`${at - first} of ${runs} in ${((performance.now() - started) / 1000).toFixed(0)} s`),
    30_000,
  );
  try {
    await Promise.all(Array.from({ length: workers }, () => lane(originals, next, report)));
  } finally {
    clearInterval(ticking);
  }
  report.print();
  if (report.findings > 0) process.exitCode = 1;
}

void main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
