import { OutputFile } from '../../files/output-file';
import { describe } from '../../options/messages';
import { layoutOf, type TensorSpec } from './layout';

/**
 * Writes a safetensors file: the header, then one tensor after the other, so that `next` may make each when its turn has come. The file
 * appears when it is complete. Rejects with ERR_VERTEXQ_FILE, ERR_VERTEXQ_FORMAT; RangeError where data has not the length that its
 * tensor takes.
 */
export async function writeSafetensors(
  file: string,
  specs: readonly TensorSpec[],
  next: (name: string) => Uint8Array | Promise<Uint8Array>,
  metadata?: ReadonlyMap<string, string>,
  signal?: AbortSignal,
): Promise<void> {
  const { head, tensors } = layoutOf(specs, metadata);
  const output = await OutputFile.create(file);
  try {
    await output.write(head, 0, signal);
    for (const [name, { byteLength, position }] of tensors) {
      const data = await next(name);
      if (data.length !== byteLength)
        throw new RangeError(`Tensor ${describe(name)} takes ${byteLength} bytes, not ${data.length}`);
      await output.write(data, position, signal);
    }
    signal?.throwIfAborted();
    await output.commit();
  } catch (error) {
    await output.discard();
    throw error;
  }
}
