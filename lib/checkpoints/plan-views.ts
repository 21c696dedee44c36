import { floatBytes } from '../containers/safetensors/dtypes';
import type { SkippedWeight } from '../types';
import type { Turns } from '../yielding';
import { partName } from '../encodings/safetensors/layout';
import type { Plan } from './plan';
import { staysOne } from './planned-weight';

/** All tensors that are written, each with the bytes it takes. */
export function* outputTensors({
  shards,
  weights,
}: Pick<Plan, 'shards' | 'weights'>): Generator<[tensor: string, shard: string, byteLength: number]> {
  let next = 0;
  for (const { name: shard, source } of shards)
    for (const [tensor, { byteLength }] of source.tensors) {
      const first = next;
      while (weights[next]?.tensor === tensor) next++;
      if (first === next || staysOne(weights.slice(first, first + 1))) {
        yield [tensor, shard, byteLength];
        continue;
      }
      for (const { name, layout } of weights.slice(first, next))
        for (const part of layout.parts) yield [partName(name, part), shard, part.byteLength];
    }
}

/** Bytes of the weights that are quantized, before and after. */
export function weightBytes({ weights }: Plan): { before: number; after: number } {
  let [before, after] = [0, 0];
  for (const { shape, dtype, layout } of weights) {
    before += shape[0] * shape[1] * floatBytes[dtype];
    after += layout.byteLength;
  }
  return { before, after };
}

/** The weights that are copied: tensors of floats, and what is quantized already. */
export async function skippedOf(
  { shards, left }: Pick<Plan, 'shards' | 'left'>,
  turns: Turns,
): Promise<SkippedWeight[]> {
  const skipped: SkippedWeight[] = [];
  for (const { source } of shards)
    for (const [name, { dtype, byteLength: bytes }] of source.tensors) {
      if (turns.due) await turns.next();
      const found = left.get(name);
      if (found && (/^B?F/.test(dtype) || found.choice))
        skipped.push({ name, reason: found.reason, bytes, choice: found.choice });
    }
  return skipped;
}
