import { binding, type NativeFloat, type RowSums } from '../../native/binding';
import { finish, threadsFor } from '../../native/jobs';
import { type Shared, sharedBytes } from '../../native/shared';
import type { Coded } from '../../native/tensors';
import type { JobOptions } from '../../types';
import type { Shape } from '../encoding';
import { bytesOf, type GgufType, unfit } from './table';

/** A layer that was fitted with the type's settings. */
export type BlockCodes = Pick<Coded, 'codes' | 'scales' | 'minima' | 'outFeatures' | 'inFeatures'>;

/**
 * The blocks of a fitted layer, row by row. `firstRow`: the number that messages have for its first. Rejects with
 * ERR_VERTEXQ_SCALE_RANGE where scales, minima or codes are not the type's; with the signal's reason.
 */
export async function packed(
  type: GgufType,
  { codes, scales, minima = null, outFeatures, inFeatures }: BlockCodes,
  options: JobOptions = {},
  firstRow = 0,
): Promise<Shared> {
  const output = roomFor(type, [outFeatures, inFeatures]);
  await finish(
    () =>
      binding().packGgml({
        ...{ type: type.name, rows: outFeatures, cols: inFeatures, firstRow, threads: threadsFor(options) },
        ...{ input: codes, stepValues: scales, minima, output },
      }),
    options.signal,
  );
  return output;
}

/** Rows of a float weight as they lie in a file, and the number that messages have for the first. */
export interface FloatRows {
  data: Uint8Array;
  type: NativeFloat;
  firstRow?: number;
}

/**
 * Blocks of rows of numbers, each rounded to the nearest level of scales that suit the rows best; `importance`: what the square of each
 * input's error counts, the mean square of what the layer sees. With sums of squares: of what that changed, and of the weights. Rejects with
 * ERR_VERTEXQ_NOT_FINITE or ERR_VERTEXQ_SCALE_RANGE, with the signal's reason.
 */
export async function rounded(
  type: GgufType,
  { data, type: inputType, firstRow = 0 }: FloatRows,
  shape: Shape,
  options: JobOptions = {},
  importance: Float32Array | null = null,
): Promise<{ blocks: Shared; norms: RowSums }> {
  const output = roomFor(type, shape);
  const norms = await finish(
    () =>
      binding().roundGgml({
        ...{ type: type.name, rows: shape[0], cols: shape[1], firstRow, threads: threadsFor(options) },
        ...{ input: data, inputType, importance, output },
      }),
    options.signal,
  );
  return { blocks: output, norms };
}

/**
 * The float32 numbers that blocks of whole rows stand for, bit for bit as ggml computes them. Rejects with ERR_VERTEXQ_NOT_FINITE at one that
 * is not finite, naming neuron and input; with the signal's reason.
 */
export async function unpacked(
  type: GgufType,
  blocks: Uint8Array,
  [outFeatures, inFeatures]: Shape,
  options: JobOptions = {},
  firstRow = 0,
): Promise<Float32Array> {
  const valuesTo = new Float32Array(sharedBytes(4 * outFeatures * inFeatures).buffer);
  await finish(
    () =>
      binding().unpackGgml({
        ...{ type: type.name, rows: outFeatures, cols: inFeatures, firstRow, threads: threadsFor(options) },
        ...{ input: blocks, valuesTo },
      }),
    options.signal,
  );
  return valuesTo;
}

/** Sums of squares: of what differs between blocks and the float rows that they were made of, and of these. Rejects as `unpacked`. */
export function blockError(
  type: GgufType,
  blocks: Uint8Array,
  [outFeatures, inFeatures]: Shape,
  reference: FloatRows,
  options: JobOptions = {},
): Promise<RowSums> {
  return finish(
    () =>
      binding().unpackGgml({
        ...{ type: type.name, rows: outFeatures, cols: inFeatures, threads: threadsFor(options) },
        firstRow: reference.firstRow ?? 0,
        ...{ input: blocks, reference: reference.data, referenceType: reference.type },
      }),
    options.signal,
  );
}

function roomFor(type: GgufType, shape: Shape): Shared {
  const reason = unfit(type, shape);
  if (reason !== undefined) throw new RangeError(`A weight cannot be ${type.name}: ${reason}`);
  return sharedBytes(bytesOf(type, shape));
}
