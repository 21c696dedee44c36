import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';

const root = join(__dirname, '..', '..');
const child = join(root, 'test', 'children', 'quantize.ts');

/** A run that is to be killed. */
export interface KilledRun {
  name: string;
  input: string;
  /** A folder for the output alone, which is emptied. */
  folder: string;
  /** The output's name in it; without one, the folder is the output. */
  file?: string;
  options: object;
}

/** What a process was at when it was killed: being loaded, computing, writing. */
type Part = 'load' | 'work' | 'write';

export interface Kills extends Record<Part, number> {
  /** Runs that went on to their end, and what they found done, in bytes of the input. */
  completed: number;
  resumed: number;
}

interface Ended {
  /** Milliseconds that each part took, as far as it came. */
  took: Record<Part, number>;
  at: Part;
  /** What it told at its end; undefined where it was killed. */
  report: { resumed: number } | undefined;
}

/**
 * Kills runs with SIGKILL at moments spread over all that they do, until `kills` have been. Each is gone on with, by some that are killed too, to the
 * end: which must have the bytes of an undisturbed run. Throws where it has not, or something is under a final name that is not whole.
 */
export async function killAndResume(run: KilledRun, kills: number, random: () => number): Promise<Kills> {
  empty(run.folder);
  const { took, report } = await runChild(run, false);
  if (!report) throw new Error(`${run.name}: an undisturbed run failed`);
  const whole = hashesIn(run.folder);
  const found: Kills = { load: 0, work: 0, write: 0, completed: 0, resumed: 0 };
  const killed = () => found.load + found.work + found.write;
  const kill = async (resume: boolean) => {
    const chance = random();
    const part = chance < 0.1 ? 'load' : chance < 0.7 ? 'work' : 'write';
    const ended = await runChild(run, resume, part, took[part] * random());
    if (!ended.report) found[ended.at]++;
    return ended.report;
  };
  while (killed() < kills) {
    empty(run.folder);
    let ended = await kill(false);
    requireWhole(run, whole, false);
    while (!ended && !isComplete(run, whole) && killed() < kills && random() < 0.4) {
      ended = await kill(true);
      requireWhole(run, whole, false);
    }
    // It may be killed between its end and telling of it: of a folder there is nothing to be gone on with then.
    if (!ended && !isComplete(run, whole)) ended = (await runChild(run, true)).report;
    requireWhole(run, whole, true);
    found.completed++;
    found.resumed += ended?.resumed ?? 0;
  }
  return found;
}

/** Runs the child, which is killed so many milliseconds after a part has begun. */
async function runChild(
  { name, input, folder, file = '', options }: KilledRun,
  resume: boolean,
  part?: Part,
  delay = 0,
): Promise<Ended> {
  const args = ['--import=tsx', child, input, join(folder, file), JSON.stringify({ ...options, resume })];
  const started = performance.now();
  const process_ = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] });
  const begins: Partial<Record<Part, number>> = {};
  let at: Part = 'load';
  const begin = (now: Part) => {
    at = now;
    begins[now] = performance.now();
    if (now === part) setTimeout(() => process_.kill('SIGKILL'), delay);
  };
  begin('load');
  let printed = '';
  let reported: number | undefined;
  process_.stdout.setEncoding('utf8').on('data', (text: string) => {
    printed += text;
    if (begins.work === undefined) begin('work');
    if (begins.write === undefined && printed.includes('writing\n')) begin('write');
    if (printed.includes('{')) reported ??= performance.now();
  });
  await new Promise((resolve) => process_.on('close', resolve));
  const last = printed.trimEnd().split('\n').at(-1)!;
  if (process_.exitCode === 0 && !last.startsWith('{')) throw new Error(`${name}: ${last}`);
  const ended = reported ?? performance.now();
  const { work = ended, write = ended } = begins;
  return {
    took: { load: work - started, work: write - work, write: ended - write },
    at,
    report: last.startsWith('{') ? (JSON.parse(last) as { resumed: number }) : undefined,
  };
}

function empty(folder: string): void {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
}

/** Throws where a file has its name and is not as it should be; at the end where one is missing, or there is another. */
function requireWhole({ name, folder }: KilledRun, whole: ReadonlyMap<string, string>, ended: boolean): void {
  const found = hashesIn(folder);
  for (const [file, hash] of found)
    if (whole.get(file) !== hash) throw new Error(`${name}: ${file} has its name and is not whole`);
  if (!ended) return;
  for (const file of whole.keys()) if (!found.has(file)) throw new Error(`${name}: ${file} is missing`);
  const others = readdirSync(folder).filter((file) => !whole.has(file));
  if (others.length > 0) throw new Error(`${name}: ${others.join(', ')} stayed`);
}

/** Whether all files have their names, and there is nothing else. */
function isComplete({ folder }: KilledRun, whole: ReadonlyMap<string, string>): boolean {
  const names = readdirSync(folder);
  return names.length === whole.size && names.every((name) => whole.has(name));
}

/** The files of a folder that have their names, by their hashes. */
function hashesIn(folder: string): Map<string, string> {
  const names = readdirSync(folder).filter((name) => !/^\.|\.vertexq$/.test(name));
  return new Map(
    names.map((name) => [
      name,
      createHash('sha256')
        .update(readFileSync(join(folder, name)))
        .digest('hex'),
    ]),
  );
}
