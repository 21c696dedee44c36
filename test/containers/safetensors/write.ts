import { byteLengthOf } from '../../../lib/containers/safetensors/dtypes';
import type { TensorEntry } from '../../../lib/containers/tensor-file';
import { kindOf, FileLayout, nameTwice, rankOf } from '../../../lib/containers/safetensors/layout';
import { OutputFile } from '../../../lib/files/output-file';
import { describe } from '../../../lib/options/messages';

/** A tensor to write. */
export interface TensorSpec {
  name: string;
  dtype: string;
  shape: readonly number[];
  /** Needed only where the dtype does not tell it. */
  byteLength?: number;
}

/** Where everything of a file will lie: known before any of its data. */
export interface Layout {
  /** The header with its length. */
  head: Uint8Array;
  tensors: Map<string, TensorEntry>;
  /** Bytes of the whole file. */
  size: number;
}

/**
 * The layout of some tensors, of which all names and places are kept. Throws a RangeError for two of one name, ERR_VERTEXQ_FORMAT where it
 * cannot be written.
 */
export function layoutOf(
  specs: readonly TensorSpec[],
  metadata: ReadonlyMap<string, string> = new Map(),
): Layout {
  const maker = new FileLayout();
  const lengths = specs.map(({ dtype, shape, byteLength = byteLengthOf(dtype, shape) }) => byteLength);
  for (const [i, { name, dtype, shape }] of specs.entries()) maker.count(name, dtype, shape, lengths[i]);
  const placed = new Map<string, TensorEntry>();
  for (const [i, { name, dtype, shape }] of specs.entries()) {
    if (name === '__metadata__' || placed.has(name)) throw nameTwice(name);
    const byteLength = lengths[i]!;
    placed.set(name, {
      dtype,
      shape,
      byteLength,
      position: maker.place(name, kindOf(dtype, shape), byteLength),
    });
  }
  const head = Buffer.concat(maker.head(metadata));
  for (const tensor of placed.values()) tensor.position += head.length;
  const inOrder = [...placed].sort(([, a], [, b]) => rankOf(a.dtype) - rankOf(b.dtype));
  return { head, tensors: new Map(inOrder), size: head.length + maker.size };
}

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
