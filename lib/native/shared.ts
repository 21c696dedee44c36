import { outOfMemory } from '../errors';
import { isFloat32Array, isFloat64Array } from '../realms';
import { inParts } from '../yielding';

/** Memory that native jobs work on where it lies: of any other they work on copies, as JavaScript could take it away meanwhile. */
export type Shared = Uint8Array<SharedArrayBuffer>;

/** `length` bytes of 0. Throws ERR_VERTEXQ_MEMORY where there is no room for them. */
export function sharedBytes(length: number): Shared {
  try {
    return new Uint8Array(new SharedArrayBuffer(length));
  } catch (cause) {
    throw outOfMemory(`no room for ${length} bytes in one piece`, cause);
  }
}

export const isShared = ({ buffer }: ArrayBufferView): boolean =>
  Object.prototype.toString.call(buffer) === '[object SharedArrayBuffer]';

type Numbers = Uint8Array | Int8Array | Float32Array | Float64Array;

/** A copy of numbers in shared memory. `before` is called with each part's place in them. Rejects with the signal's reason. */
export async function sharedCopy<Values extends Uint8Array | Float32Array | Float64Array>(
  values: Values,
  signal?: AbortSignal,
  before?: (begin: number, end: number) => void,
): Promise<Values> {
  const copy = roomFor(values);
  await copyInParts(values, copy, signal, before);
  return copy as Values;
}

/** The same at once: of few numbers. */
export function sharedCopyNow<Values extends Float32Array | Float64Array>(values: Values): Values {
  const copy = roomFor(values);
  copy.set(values);
  return copy as Values;
}

function roomFor(values: Uint8Array | Float32Array | Float64Array) {
  const { buffer } = sharedBytes(values.byteLength);
  if (isFloat32Array(values)) return new Float32Array(buffer);
  return isFloat64Array(values) ? new Float64Array(buffer) : new Uint8Array(buffer);
}

/** Copies numbers, and lets the event loop go on now and then. */
export function copyInParts(
  from: Numbers,
  to: Numbers,
  signal?: AbortSignal,
  before?: (begin: number, end: number) => void,
): Promise<void> {
  const part = (begin: number, end: number) => {
    before?.(begin, end);
    to.set(from.subarray(begin, end), begin);
  };
  return inParts(from.length, part, signal);
}
