import { VertexqError } from '../../errors';
import { describe } from '../../options';
import { alignmentOf, byteLengthOf } from './dtypes';
import { maxHeaderBytes, prefixBytes, type TensorEntry } from './header';

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

/** Data begins at a multiple of this, so that it can be used where it lies. */
const alignment = 8;

/**
 * The layout of some tensors, those with the widest elements first, so that all are aligned; else in the order given. Throws a RangeError for two of one name, ERR_VERTEXQ_FORMAT where it cannot be
 * written.
 */
export function layoutOf(
  specs: readonly TensorSpec[],
  metadata: ReadonlyMap<string, string> = new Map(),
): Layout {
  const members: string[] = [];
  if (metadata.size > 0)
    members.push(
      `"__metadata__":{${[...metadata].map((entry) => entry.map((text) => JSON.stringify(text)).join(':')).join(',')}}`,
    );
  const tensors = new Map<string, TensorEntry>();
  let end = 0;
  const ordered = [...specs].sort((a, b) => alignmentOf(b.dtype) - alignmentOf(a.dtype));
  for (const { name, dtype, shape, byteLength = byteLengthOf(dtype, shape) } of ordered) {
    if (byteLength === undefined || !Number.isSafeInteger(end + byteLength))
      throw new VertexqError(
        'ERR_VERTEXQ_FORMAT',
        `tensor ${describe(name)}, ${dtype} [${shape.join(', ')}], has no length that can be written`,
      );
    if (name === '__metadata__' || tensors.has(name))
      throw new RangeError(
        `Two things in one file would be called ${describe(name)}: tensors of a safetensors file have names of their own`,
      );
    tensors.set(name, { dtype, shape, byteLength, position: end });
    members.push(
      `${JSON.stringify(name)}:{"dtype":${JSON.stringify(dtype)},"shape":[${shape.join(',')}],"data_offsets":[${end},${end + byteLength}]}`,
    );
    end += byteLength;
  }
  const text = Buffer.from(`{${members.join(',')}}`);
  const length = Math.ceil(text.length / alignment) * alignment;
  if (length > maxHeaderBytes)
    throw new VertexqError(
      'ERR_VERTEXQ_FORMAT',
      `the header of ${tensors.size} tensors takes ${length} bytes, and at most ${maxHeaderBytes} are allowed`,
    );
  const head = Buffer.alloc(prefixBytes + length, ' ');
  head.writeBigUInt64LE(BigInt(length));
  text.copy(head, prefixBytes);
  for (const tensor of tensors.values()) tensor.position += head.length;
  return { head, tensors, size: head.length + end };
}
