import { binding, type RowSums } from '../native/binding';
import { finish, threadsFor } from '../native/jobs';
import type { JobOptions } from '../types';
import { roundBlocks } from './gguf/round-blocks';
import { layerName, type PlannedWeight } from './planned-weight';

/** Fewer bytes are rounded on one thread: to start others would take longer. */
const oneThreadBytes = 2 ** 16;

/** Rows of a weight of so many, as they lie in a file. */
interface Rows {
  data: Uint8Array;
  rows: number;
  cols: number;
  firstRow: number;
  outFeatures: number;
}

/** Room for codes, scales and zero points; of blocks for those of the rows from `begin` on. */
interface Room {
  codes: Uint8Array;
  scales: Uint8Array | null;
  zeroPoints: Uint8Array | null;
  begin: number;
}

/** Rounds rows by themselves. Sums over them: of squares of what that changed, and of the weights. Rejects as native jobs and `roundBlocks` do. */
export async function roundRows(
  weight: Pick<PlannedWeight, 'name' | 'dtype' | 'settings' | 'layout' | 'stride' | 'importance'>,
  given: Rows,
  { codes, scales, zeroPoints, begin }: Room,
  options: JobOptions,
): Promise<RowSums> {
  const { dtype, settings, layout, stride, importance } = weight;
  const { data, rows, cols, firstRow, outFeatures } = given;
  if (layout.block) {
    const own = { ...given, name: layerName(weight), dtype, importance };
    const { blocks, norms } = await roundBlocks(layout.block, own, settings, options);
    codes.set(blocks, ((firstRow - begin) * blocks.length) / rows);
    return norms;
  }
  return finish(
    () =>
      binding().roundRows({
        ...{ input: data, type: dtype, rows, cols, codes, scales, zeroPoints },
        ...(stride > 0 && { stride: rows }),
        ...{ groupSize: settings.groupSize, grid: settings.grid, levels: settings.levels },
        ...{ scale: settings.scale, bits: settings.bits, ...layout.packing, outFeatures, firstRow },
        threads: data.length < oneThreadBytes ? 1 : threadsFor(options),
      }),
    options.signal,
  );
}
