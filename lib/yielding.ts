import { setImmediate } from 'node:timers/promises';

/** How long the event loop waits at most. */
const slice = 15;
/** Milliseconds of a turn that is short, and how many of those go by between two looks at the clock at most. */
const shortTurn = 0.01;
const fewTurns = 16;

/**
 * For long loops on the main thread: `await turns.next()` in each turn lets the event loop go on now and then, and throws the
 * signal's reason once it is aborted. `due` says whether to wait, which spares the promise.
 */
export class Turns {
  private since = performance.now();
  /** When the clock was last looked at, after how many questions it is again, and how many are left: where turns are short, looking takes longest. */
  private looked = this.since;
  private step = 1;
  private left = 1;

  constructor(private readonly signal?: AbortSignal) {}

  get due(): boolean {
    if (--this.left > 0) return false;
    const now = performance.now();
    // No more than twice as many as have just been short: the next ones may be long.
    this.step = now - this.looked < shortTurn * this.step ? Math.min(fewTurns, 2 * this.step) : 1;
    this.left = this.step;
    this.looked = now;
    return now - this.since > slice;
  }

  throwIfAborted(): void {
    this.signal?.throwIfAborted();
  }

  async next(): Promise<void> {
    await setImmediate();
    this.throwIfAborted();
    this.since = performance.now();
  }
}

/** Items that are sorted or merged without a pause. */
const atOnce = 4096;

/** A sorted copy of what may be long. */
export async function sortedInTurns<Item>(
  list: readonly Item[],
  compare: (a: Item, b: Item) => number,
  turns: Turns,
): Promise<Item[]> {
  let runs: Item[][] = [];
  for (let i = 0; i < list.length; i += atOnce) {
    if (turns.due) await turns.next();
    runs.push(list.slice(i, i + atOnce).sort(compare));
  }
  while (runs.length > 1) {
    const longer: Item[][] = [];
    for (let i = 0; i < runs.length; i += 2)
      longer.push(await mergedInTurns(runs[i]!, runs[i + 1] ?? [], compare, turns));
    runs = longer;
  }
  return runs[0] ?? [];
}

async function mergedInTurns<Item>(
  left: readonly Item[],
  right: readonly Item[],
  compare: (a: Item, b: Item) => number,
  turns: Turns,
): Promise<Item[]> {
  const all: Item[] = [];
  for (let i = 0, j = 0; i < left.length || j < right.length;) {
    if (all.length % atOnce === 0 && turns.due) await turns.next();
    const takesLeft = j === right.length || (i < left.length && compare(left[i]!, right[j]!) <= 0);
    all.push(takesLeft ? left[i++]! : right[j++]!);
  }
  return all;
}

/** Elements gone through between two looks at the clock. */
const elementsAtOnce = 2 ** 16;

/** Calls `part` for the ranges that [0, count) falls into, and lets the event loop go on now and then. Rejects with the signal's reason. */
export async function inParts(
  count: number,
  part: (begin: number, end: number) => void,
  signal?: AbortSignal,
): Promise<void> {
  const turns = new Turns(signal);
  for (let begin = 0; begin < count; begin += elementsAtOnce) {
    if (turns.due) await turns.next();
    part(begin, Math.min(count, begin + elementsAtOnce));
  }
}

/** The index of the first element that `wanted` holds for; −1 where there is none. Rejects with the signal's reason. */
export async function indexWhere<Element>(
  values: ArrayLike<Element>,
  wanted: (element: Element) => boolean,
  signal?: AbortSignal,
): Promise<number> {
  let found = -1;
  const search = (begin: number, end: number) => {
    for (let i = begin; i < end && found < 0; i++) if (wanted(values[i]!)) found = i;
  };
  await inParts(values.length, search, signal);
  return found;
}
