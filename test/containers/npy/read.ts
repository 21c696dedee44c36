import { ArrayFile } from '../../../lib/containers/npy/npy';
import { type ReadTensor, readTensors, tensorsIn } from '../../../lib/models/data/read-tensors';

/** The array of a `.npy` file. */
export const readNpy = async (path: string): Promise<ReadTensor> => (await readTensors(path, 'x')).get('x')!;

/** The arrays of a `.npz` file. */
export const readNpz = (path: string) => readTensors(path, '');

/** The array of a `.npy` file that is in memory, which messages call `path`. */
export async function parseNpy(bytes: Uint8Array, path: string): Promise<ReadTensor> {
  const nothing = () => Promise.resolve();
  const file = await ArrayFile.alone(
    {
      ...{ path, size: bytes.length, modified: 0n, identity: '', close: nothing, requireUnchanged: nothing },
      fill: (target, position) =>
        Promise.resolve(target.set(bytes.subarray(position, position + target.length))),
    },
    'x',
  );
  return (await tensorsIn(file)).get('x')!;
}
