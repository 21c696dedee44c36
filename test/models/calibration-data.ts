import type { ExecutionContext } from 'ava';
import { VertexqError } from '../../lib/errors';
import { type ModelInput, prepareCalibrationSet } from '../../lib/models/calibration-set';
import type { CalibrationData } from '../../lib/models/types';

export const single: ModelInput[] = [{ name: 'x', type: 'float32', dims: ['batch', 3] }];
export const two: ModelInput[] = [
  { name: 'ids', type: 'int64', dims: [null, null] },
  { name: 'mask', type: 'float32', dims: [null, null] },
];

/** Samples begin, begin + 1, …, each as a row of three equal numbers. */
export function rows(samples: number, begin = 0): { data: Float32Array; dims: number[] } {
  return {
    data: Float32Array.from({ length: 3 * samples }, (_, i) => begin + Math.floor(i / 3)),
    dims: [samples, 3],
  };
}

/** Such data is refused, with an error of vertexq or for arguments. */
export async function refuses(
  t: ExecutionContext,
  data: unknown,
  inputs: ModelInput[],
  message: RegExp,
  options: object = {},
): Promise<void> {
  const error = await t.throwsAsync(prepareCalibrationSet(data as CalibrationData, { inputs, ...options }), {
    message,
  });
  t.true(
    error instanceof TypeError || error instanceof RangeError || error instanceof VertexqError,
    String(error),
  );
}
