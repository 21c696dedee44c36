import { sharedCopy, sharedCopyNow } from '../native/shared';
import type { FloatArray, LayerInput } from '../types';

// What a caller gives stays his: he may change it or transfer it while a call is at work. Few numbers are copied before the call returns.
// Many would hold up the event loop: they are read in parts, and what has changed before its part was read is an error.

/** Bytes of all arrays that are copied at once: some milliseconds. */
const atOnce = 2 ** 24;
/** Numbers of an array that are looked at again. */
const watched = 2 ** 14;

/** Of a layer's properties, those that are arrays. */
export const arrayNames = [
  'weight',
  'activations',
  'targetActivations',
  'holdout',
  'targetHoldout',
  'rowWeights',
  'holdoutWeights',
  'gram',
  'crossGram',
  'outputGram',
] as const;

/** Throws a TypeError where numbers of an array that was given have been changed or transferred: to be called before they are read. */
export type RequireUnchanged = (values: FloatArray, begin: number, end: number) => void;

export interface GivenArrays {
  /** With copies for all arrays but many rows, which are the caller's. */
  layer: LayerInput;
  requireUnchanged: RequireUnchanged;
}

/** Takes a layer's arrays before it first awaits: copies, or what tells whether they have changed. Rejects with a TypeError where they have; with the signal's reason. */
export async function takeArrays(layer: LayerInput, signal?: AbortSignal): Promise<GivenArrays> {
  const arrays = arrayNames.flatMap((name) => {
    const values = layer[name];
    return values === undefined ? [] : [{ name, values }];
  });
  const bytes = arrays.reduce((sum, { values }) => sum + values.byteLength, 0);
  // Two names may have one array.
  const copies = new Map<FloatArray, FloatArray>();
  const taken = (): LayerInput => ({
    ...layer,
    ...Object.fromEntries(arrays.map(({ name, values }) => [name, copies.get(values) ?? values])),
  });
  if (bytes <= atOnce) {
    for (const { values } of arrays) if (!copies.has(values)) copies.set(values, sharedCopyNow(values));
    return { layer: taken(), requireUnchanged: () => {} };
  }
  const watches = new Map(arrays.map(({ name, values }) => [values, new Watch(name, values)]));
  const requireUnchanged: RequireUnchanged = (values, begin, end) => watches.get(values)?.look(begin, end);
  for (const { name, values } of arrays)
    if (!rows.has(name) && !copies.has(values))
      copies.set(
        values,
        await sharedCopy(values, signal, (begin, end) => requireUnchanged(values, begin, end)),
      );
  return { layer: taken(), requireUnchanged };
}

/** Arrays that are read in parts. */
const rows: ReadonlySet<string> = new Set(['activations', 'targetActivations', 'holdout', 'targetHoldout']);

/** Some numbers of an array as they were. */
class Watch {
  private readonly length: number;
  private readonly step: number;
  private readonly were: Float64Array;

  constructor(
    private readonly name: string,
    private readonly values: FloatArray,
  ) {
    this.length = values.length;
    this.step = Math.ceil(values.length / watched);
    this.were = Float64Array.from(
      { length: Math.ceil(values.length / this.step) },
      (_, i) => values[i * this.step]!,
    );
  }

  look(begin: number, end: number): void {
    const { values, step, were } = this;
    let same = values.length === this.length;
    for (let i = Math.ceil(begin / step); same && i * step < end; i++)
      same = Object.is(values[i * step], were[i]);
    if (!same)
      throw new TypeError(
        `"${this.name}" was changed or transferred before it was read: arrays of more than ${atOnce / 2 ** 20} MiB together are read in parts, ` +
          'and must stay as they are until the promise has settled',
      );
  }
}
