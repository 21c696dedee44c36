import type { FloatDtype } from '../formats/safetensors/dtypes';
import { floatBytes } from '../formats/safetensors/dtypes';
import { binding } from '../native/binding';
import { finish } from '../native/jobs';
import { sharedBytes } from './buffers';

/** float32 numbers, in shared memory, of a tensor's bytes. NaN and infinities are left for those who use them to find. */
export async function widened(
  input: Uint8Array,
  type: FloatDtype,
  signal?: AbortSignal,
): Promise<Float32Array> {
  const output = new Float32Array(sharedBytes((4 * input.length) / floatBytes[type]).buffer);
  await finish(() => binding().widen({ input, type, count: output.length, output }), signal);
  return output;
}

/** A checksum of all bytes, which tells whether they are the same ones again. */
export async function checksum(input: Uint8Array): Promise<string> {
  return finish(() => binding().checksum({ input }), undefined);
}
