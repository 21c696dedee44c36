// Memory that is not there: calls of lib/ that ask for some, one of which gets none.
import type { ExecutionContext } from 'ava';
import { rmSync } from 'node:fs';
import { join, sep } from 'node:path';
import type { Binding, NativeLayerRows } from '../../lib/native/binding';
import { binding } from '../../lib/native/binding';

export const none = 'the system had no memory left for the work';

const lib = join(__dirname, '..', '..', 'lib') + sep;
/** Who asked, a line a frame within lib/, and the number of those that get none. */
const calls = { made: [] as string[], failing: -1, watching: false };

type Job = (...given: unknown[]) => unknown;

/** Whether the call that is being made gets nothing. */
function fails(what: string): boolean {
  if (!calls.watching) return false;
  const frames = (new Error().stack ?? '').split('\n').filter((line) => line.includes(lib));
  calls.made.push([what, ...frames].join('\n'));
  return calls.made.length - 1 === calls.failing;
}

function count(entry: string): void {
  if (fails(entry)) throw Object.assign(new Error(none), { code: 'ERR_VERTEXQ_MEMORY' });
}

const counted = (entry: string, job: Job): Job =>
  function (this: unknown, ...given) {
    count(entry);
    return job.apply(this, given);
  };

/** What takes no memory for work, and what may fail without a run that does. */
const others = new Set(['blasInfo', 'lockFile', 'giveBackMemory']);

/** Watches every entry of the addon, those of calibrations too, and every piece of shared memory. */
export function watchMemory(): void {
  const addon = binding();
  for (const [name, entry] of Object.entries(addon))
    if (typeof entry === 'function' && name !== 'LayerRows' && !others.has(name))
      Object.assign(addon, { [name]: counted(name, entry as Job) });
  const Plain = addon.LayerRows;
  addon.LayerRows = function (...given: ConstructorParameters<typeof Plain>): NativeLayerRows {
    count('LayerRows');
    const made = new Plain(...given);
    for (const name of ['add', 'addPatches', 'setGram'] as const)
      Object.defineProperty(made, name, { value: counted(name, Reflect.get(made, name) as Job) });
    return made;
  } as unknown as Binding['LayerRows'];
  const Memory = globalThis.SharedArrayBuffer;
  globalThis.SharedArrayBuffer = new Proxy(Memory, {
    construct(target, given: ConstructorParameters<typeof Memory>) {
      if (fails('SharedArrayBuffer')) throw new RangeError('Array buffer allocation failed');
      return new target(...given);
    },
  });
}

/** Runs `run` once for each place in lib/ that asks for memory, which then gets none: the first time, and the last. What is said, and by whom. */
export async function failures(
  t: ExecutionContext,
  run: () => Promise<unknown>,
): Promise<ReadonlyMap<string, string>> {
  const said = new Map<string, string>();
  Object.assign(calls, { made: [], failing: -1, watching: true });
  await run();
  const { made } = calls;
  t.true(made.length > 0);
  const numbers = new Set(
    [...new Set(made)].flatMap((place) => [made.indexOf(place), made.lastIndexOf(place)]),
  );
  for (const failing of numbers) {
    Object.assign(calls, { made: [], failing });
    const error = await t.throwsAsync(run(), { code: 'ERR_VERTEXQ_MEMORY' }, made[failing]);
    if (error) said.set(error.message, made[failing]!);
  }
  Object.assign(calls, { made: [], failing: -1, watching: false });
  return said;
}

/** Removes an output and what a run that failed has left. */
export function removed(output: string): string {
  for (const path of [output, `${output}.vertexq`]) rmSync(path, { recursive: true, force: true });
  return output;
}
