import { isFloat32Array } from '../realms';

/** Memory that native jobs work on where it lies: of any other they work on copies, as JavaScript could take it away meanwhile. */
export type Shared = Uint8Array<SharedArrayBuffer>;

/** `length` bytes of 0. */
export const sharedBytes = (length: number): Shared => new Uint8Array(new SharedArrayBuffer(length));

export const isShared = ({ buffer }: ArrayBufferView): boolean =>
  Object.prototype.toString.call(buffer) === '[object SharedArrayBuffer]';

/** A copy of numbers in shared memory. */
export function sharedCopy<Values extends Float32Array | Float64Array>(values: Values): Values {
  const { buffer } = sharedBytes(values.byteLength);
  const copy = isFloat32Array(values) ? new Float32Array(buffer) : new Float64Array(buffer);
  copy.set(values);
  return copy as Values;
}
