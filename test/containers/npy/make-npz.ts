import { zipSync } from 'fflate';
import type { NpyData } from '../../../lib/containers/npy/npy';
import { formatNpy } from './format-npy';

/** A `.npz` file of `arrays` by name, deflated unless `compress` is false. Throws TypeError and RangeError. */
export function formatNpz(
  arrays: ReadonlyMap<string, { data: NpyData; dims: readonly number[]; type?: string }>,
  { compress = true } = {},
): Uint8Array {
  const files = [...arrays].map(([name, array]) => [`${name}.npy`, formatNpy(array)] as const);
  // The earliest date that zip has: the same arrays give the same bytes.
  return zipSync(Object.fromEntries(files), { level: compress ? 6 : 0, mtime: new Date(1980, 0, 1) });
}
