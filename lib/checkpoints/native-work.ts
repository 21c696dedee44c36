import type { FloatDtype } from '../formats/safetensors/dtypes';
import { convert } from '../native/tensors';

/** float32 numbers, in shared memory, of a tensor's bytes. NaN and infinities are left for those who use them to find. */
export async function widened(
  input: Uint8Array,
  type: FloatDtype,
  signal?: AbortSignal,
): Promise<Float32Array> {
  return (await convert(input, type, 'F32', signal)).data;
}
