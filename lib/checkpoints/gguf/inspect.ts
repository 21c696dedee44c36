import { basename } from 'node:path';
import { stat } from 'node:fs/promises';
import { GgufFile } from '../../containers/gguf/file';
import type { MetadataValue } from '../../containers/gguf/header';
import { isFloat } from '../../containers/safetensors/dtypes';
import { ggufTypes } from '../../encodings/gguf/table';
import type { GgufTypeName } from '../../encodings/names';
import type { InspectedWeight } from '../../types';
import { leftByDefault } from '../choose-weights';
import { provenanceKey, readProvenance } from '../../runs/provenance';
import type { CheckpointInspection, InspectedTensor } from '../types';

/** Entries and characters of a value that are shown. */
const shown = { entries: 8, characters: 200 };

/** What a GGUF file holds: its keys as `metadata`, its matrices, those in few bits by their types. Rejects with ERR_VERTEXQ_FILE, ERR_VERTEXQ_GGUF. */
export async function inspectGguf(
  input: string,
  signal: AbortSignal | undefined,
): Promise<CheckpointInspection> {
  return GgufFile.with(
    input,
    async ({ header, tensors, paths, size }) => {
      const layers: InspectedTensor[] = [];
      const others: InspectedTensor[] = [];
      const weights: InspectedWeight[] = [];
      for (const [name, { dtype, shape, byteLength: bytes }] of tensors) {
        const isMatrix = shape.length > 1 && name.endsWith('.weight') && leftByDefault(name) === undefined;
        const tensor = { name, dtype, shape, bytes, file: basename(input) };
        (isMatrix && isFloat(dtype) ? layers : others).push(tensor);
        if (!Object.hasOwn(ggufTypes, dtype)) continue;
        const { bits, groupSize, grid } = ggufTypes[dtype as GgufTypeName].settings;
        const [cols, rows] = [shape.at(-1)!, shape.slice(0, -1).reduce((product, dim) => product * dim, 1)];
        weights.push({
          name,
          shape: [rows, cols],
          bits,
          groupSize,
          symmetric: grid !== 'float-minimum',
          bytes,
        });
      }
      const sum = (list: InspectedTensor[]) => list.reduce((total, { bytes }) => total + bytes, 0);
      const told = header.metadata.get(provenanceKey);
      const files: CheckpointInspection['files'] = [];
      for (const path of paths) files.push({ name: basename(path), bytes: (await stat(path)).size });
      const types = [...new Set(weights.map(({ name }) => tensors.get(name)!.dtype))].sort();
      return {
        ...{ input, files, layers, others, quantizedAlready: [] },
        quantization: weights.length === 0 ? null : { method: 'gguf', format: types.join(', '), weights },
        metadata: Object.fromEntries([...header.metadata].map(([key, value]) => [key, textOf(value)])),
        provenance: readProvenance(typeof told === 'string' ? told : undefined),
        bytes: { files: size, quantizable: sum(layers), others: sum(others) },
      };
    },
    { signal },
  );
}

function textOf(value: MetadataValue): string {
  const text = (one: unknown) => (typeof one === 'string' ? JSON.stringify(one) : String(one));
  if (typeof value !== 'object') return cut(String(value));
  const first = Array.from(value.slice(0, shown.entries) as ArrayLike<unknown>, text).join(', ');
  return cut(`${value.length} entries: ${first}${value.length > shown.entries ? ', …' : ''}`);
}

const cut = (text: string) =>
  text.length > shown.characters ? `${text.slice(0, shown.characters)} …` : text;
