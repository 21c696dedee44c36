import { requireMemory } from '../../files/input-file';
import type { NpyArray, NpyData } from '../../containers/npy/npy';
import type { ArrayChecks } from '../../containers/npy/npz';
import { SafetensorsFile } from '../../containers/safetensors/file';
import { convert } from '../../native/tensors';
import { describe } from '../../options/messages';
import { indexWhere } from '../../yielding';
import { calibrationError } from './tensor-checks';

type View = (buffer: ArrayBuffer) => NpyData;

/** What the dtypes become. Halves become float32, as they do from `.npy` files. */
const readers: Record<string, { type: string; from: View | 'F16' | 'BF16' }> = {
  F64: { type: 'float64', from: (buffer) => new Float64Array(buffer) },
  F32: { type: 'float32', from: (buffer) => new Float32Array(buffer) },
  F16: { type: 'float32', from: 'F16' },
  BF16: { type: 'float32', from: 'BF16' },
  I64: { type: 'int64', from: (buffer) => new BigInt64Array(buffer) },
  I32: { type: 'int32', from: (buffer) => new Int32Array(buffer) },
  I16: { type: 'int16', from: (buffer) => new Int16Array(buffer) },
  I8: { type: 'int8', from: (buffer) => new Int8Array(buffer) },
  U64: { type: 'uint64', from: (buffer) => new BigUint64Array(buffer) },
  U32: { type: 'uint32', from: (buffer) => new Uint32Array(buffer) },
  U16: { type: 'uint16', from: (buffer) => new Uint16Array(buffer) },
  U8: { type: 'uint8', from: (buffer) => new Uint8Array(buffer) },
  BOOL: { type: 'bool', from: (buffer) => new Uint8Array(buffer) },
};

/**
 * The tensors of a safetensors file by name, after `checks` of the header. Rejects with ERR_VERTEXQ_FILE, ERR_VERTEXQ_SAFETENSORS, ERR_VERTEXQ_MEMORY;
 * ERR_VERTEXQ_CALIBRATION at a dtype that no input takes.
 */
export function readSafetensors(path: string, checks: ArrayChecks = {}): Promise<Map<string, NpyArray>> {
  const use = async (file: SafetensorsFile) => {
    checks.names?.([...file.tensors.keys()]);
    let bytes = 0;
    for (const [name, { dtype, shape, byteLength }] of file.tensors) {
      if (!Object.hasOwn(readers, dtype))
        throw calibrationError(
          path,
          `the tensor ${describe(name)} is ${dtype}: expected one of ${Object.keys(readers).join(', ')}`,
        );
      checks.array?.(name, shape, readers[dtype]!.type);
      bytes += byteLength;
    }
    requireMemory(bytes, path);
    const arrays = new Map<string, NpyArray>();
    for (const [name, { dtype, shape }] of file.tensors) {
      const { type, from } = readers[dtype]!;
      checks.signal?.throwIfAborted();
      const read = await file.read(name);
      if (dtype === 'BOOL' && (await indexWhere<number>(read, (byte) => byte > 1, checks.signal)) >= 0)
        throw calibrationError(path, `the tensor ${describe(name)} is BOOL and has other bytes than 0 and 1`);
      const data =
        typeof from === 'string' ? (await convert(read, from, 'F32', checks.signal)).data : from(read.buffer);
      arrays.set(name, { data, dims: [...shape], type });
    }
    return arrays;
  };
  return SafetensorsFile.with(path, use, { signal: checks.signal });
}
