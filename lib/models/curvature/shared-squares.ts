import { isObject } from '../../realms';
import type { Workspace } from '../../runs/workspace';
import type { Batch } from '../../traversal/forward';
import { type Handed, inOnePiece, type Parts, partsOfBatches } from '../../traversal/parts';
import type { JobOptions } from '../../types';
import { ValueStore } from '../forward/value-store';
import type { ModelLayer } from '../layers/model-layers';
import type { Squares } from './swept';

/** What workers call the squares of a part's rows. */
const name = 'squares';

/**
 * Mean square gradients of all rows, each part's found by the worker that has it and handed to the others: one number a row and layer. `sweep`
 * goes back through the network for some batches.
 */
export async function sharedSquares(
  sweep: (isOwn: (batch: number) => boolean) => Promise<Squares>,
  layers: readonly ModelLayer[],
  batches: readonly Pick<Batch, 'heldOut'>[],
  { count, isOwn, exchange }: Parts,
  workspace: Workspace,
  memory: number,
  { signal }: JobOptions,
): Promise<Squares> {
  const partOf = partsOfBatches(batches, count);
  const all = Array.from({ length: count }, (_, part) => part);
  const batchesOf = (part: number) => [...partOf.keys()].filter((batch) => partOf[batch] === part);
  const missing = new Set<number>();
  for (const part of all) if (isOwn(part) && !(await exchange!.has(name, part))) missing.add(part);
  // A worker that is started anew asks for them again.
  if (missing.size > 0) {
    const own = await sweep((batch) => missing.has(partOf[batch]!));
    for (const part of missing) await exchange!.put(name, part, await handed(own, batchesOf(part)), 'end');
  }
  const reasons = new Map<ModelLayer, string>();
  const store = new ValueStore(workspace, memory / 4, 'shared');
  for (const part of all) await keep(part, (await exchange!.get(name, part))!);
  return {
    reasons,
    toldOf: async (layer, batch) =>
      reasons.has(layer)
        ? undefined
        : ((await store.get('float', String(layers.indexOf(layer)), batch)).data as Float32Array),
  };

  /** Layer by layer, the rows of one batch after the other. */
  async function handed(swept: Squares, own: readonly number[]): Promise<Handed> {
    const arrays: Float32Array[] = [];
    const rows: number[][] = [];
    for (const layer of layers) {
      const found: Float32Array[] = [];
      if (!swept.reasons.has(layer)) for (const batch of own) found.push((await swept.toldOf(layer, batch))!);
      rows.push(found.map(({ length }) => length));
      arrays.push(...found);
    }
    const why = layers.map((layer) => swept.reasons.get(layer) ?? null);
    return { facts: { rows, reasons: why }, bytes: await inOnePiece(arrays, signal) };
  }

  async function keep(part: number, { facts, bytes }: Handed): Promise<void> {
    const own = batchesOf(part);
    if (!isObject(facts) || !areRows(facts['rows'], own.length) || !areReasons(facts['reasons']))
      throw wrong();
    const { rows, reasons: why } = facts as { rows: number[][]; reasons: (string | null)[] };
    if (bytes.length !== 4 * rows.flat().reduce((sum, length) => sum + length, 0)) throw wrong();
    let at = bytes.byteOffset;
    for (const [i, layer] of layers.entries()) {
      if (why[i] !== null) reasons.set(layer, why[i]!);
      for (const [j, length] of rows[i]!.entries()) {
        const data = new Float32Array(bytes.buffer, at, length).slice();
        at += 4 * length;
        await store.put('float', String(i), own[j]!, { data, dims: [length], type: 'float32' });
      }
    }
  }

  function areRows(value: unknown, most: number): boolean {
    return (
      Array.isArray(value) &&
      value.length === layers.length &&
      value.every(
        (one) =>
          Array.isArray(one) &&
          (one.length === 0 || one.length === most) &&
          one.every((length) => Number.isSafeInteger(length) && length >= 0),
      )
    );
  }

  function areReasons(value: unknown): boolean {
    return (
      Array.isArray(value) &&
      value.length === layers.length &&
      value.every((reason) => reason === null || typeof reason === 'string')
    );
  }
}

const wrong = () => new Error('gradients of other data were handed over');
