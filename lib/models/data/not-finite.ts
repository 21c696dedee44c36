import { VertexqError } from '../../errors';
import { describe } from '../../options/messages';
import type { Turns } from '../../yielding';
import { axisIn, type Batch, type Stretch } from './samples';
import type { CheckedTensor } from './tensor-checks';

/** Elements that are looked at without a pause. */
const atOnce = 2 ** 16;

/**
 * The first number of the data that is NaN, or else infinite, and where it stands: `few.npz: the input "image" of sample 7 has NaN`; null where
 * all are finite. Networks may know what to do with such (masks are infinite): it is told where one does not.
 */
export async function firstNotFinite(batches: readonly Batch[], turns: Turns): Promise<string | null> {
  let infinite: string | null = null;
  for (const { stretches } of batches)
    for (const stretch of stretches)
      for (const [name, tensor] of stretch.piece.tensors) {
        const { data, type } = tensor;
        if (!/^float(16|32|64)$/.test(type)) continue;
        const numbers = data as Float32Array;
        const { from, to, sampleAt } = placesOf(stretch, name, tensor);
        for (let begin = from; begin < to; begin += atOnce) {
          if (turns.due) await turns.next();
          const end = Math.min(to, begin + atOnce);
          for (let at = begin; at < end; at++) {
            const value = type === 'float16' ? oddHalf(numbers[at]!) : numbers[at]!;
            if (Number.isFinite(value) || (infinite !== null && !Number.isNaN(value))) continue;
            const sample = sampleAt(at);
            if (sample !== null && (sample < stretch.begin || sample >= stretch.end)) continue;
            const which = sample === null ? '' : ` of sample ${sample}`;
            const said = `${stretch.piece.where ?? ''}: the input ${describe(name)}${which} has ${value}`;
            if (Number.isNaN(value)) return said;
            infinite = said;
          }
        }
      }
  return infinite;
}

/** What a half is, where it is not finite; else 0. */
const oddHalf = (bits: number) =>
  (bits & 0x7c00) !== 0x7c00 ? 0 : (bits & 0x3ff) !== 0 ? NaN : bits & 0x8000 ? -Infinity : Infinity;

/** Where a tensor's elements of a stretch lie, and the sample, within its piece, of each; null where all samples share the tensor. */
function placesOf({ piece, begin, end }: Stretch, name: string, tensor: CheckedTensor) {
  const axis = axisIn(piece, name, tensor);
  const { dims, data } = tensor;
  const all = { from: 0, to: data.length };
  if (axis === null) return { ...all, sampleAt: () => null };
  const step = dims.slice(axis + 1).reduce((product, dim) => product * dim, 1);
  const sampleAt = (at: number) => Math.floor(at / step) % dims[axis]!;
  return axis === 0 ? { from: begin * step, to: end * step, sampleAt } : { ...all, sampleAt };
}

/** What `work` gives. Where it stumbles over a number that is not finite, its error tells what the data has of such. */
export async function explainingData<Result>(
  found: string | null | undefined,
  work: () => Promise<Result>,
): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (!found || !(error instanceof VertexqError) || error.code !== 'ERR_VERTEXQ_NOT_FINITE') throw error;
    throw new VertexqError(error.code, `${error.message}. ${found}`, { cause: error.cause });
  }
}
