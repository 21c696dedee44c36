import { foundWeights } from '../encodings/safetensors/table';
import { type Checkpoint, openCheckpoint } from '../containers/safetensors/checkpoint';
import { checkpointPath, requirePath } from '../options/messages';
import { leftByDefault, unsuitable } from './choose-weights';
import { inspectGguf } from './gguf/inspect';
import { isGgufPath } from './gguf/open';
import { identityOf } from './model-identity';
import { packedWeights, quantizationConfig } from './packed-weights';
import { provenanceKey, readProvenance } from '../runs/provenance';
import type { CheckpointInspection, InspectedTensor } from './types';

/**
 * What a safetensors file, a folder of them or a GGUF file holds: matrices that can be quantized, other tensors, weights that are quantized already.
 * Rejects with VertexqError ERR_VERTEXQ_FILE, ERR_VERTEXQ_SAFETENSORS or ERR_VERTEXQ_GGUF; with the signal's reason when aborted.
 */
export async function inspectCheckpoint(
  input: string,
  { signal }: { signal?: AbortSignal | undefined } = {},
): Promise<CheckpointInspection> {
  requirePath('input', input, checkpointPath);
  if (isGgufPath(input)) return inspectGguf(input, signal);
  const checkpoint = await openCheckpoint(input, signal);
  try {
    const identity = await identityOf(checkpoint);
    const layers: InspectedTensor[] = [];
    const others: InspectedTensor[] = [];
    let files = 0;
    for (const [file, shard] of checkpoint.shards) {
      files += shard.size;
      for (const [name, entry] of shard.tensors) {
        const { dtype, shape, byteLength } = entry;
        const isLayer = unsuitable(name, entry, identity) === undefined && leftByDefault(name) === undefined;
        (isLayer ? layers : others).push({ name, dtype, shape, bytes: byteLength, file });
      }
    }
    const metadata = Object.fromEntries(
      [...checkpoint.shards.values()].flatMap((shard) => [...shard.metadata]),
    );
    const sum = (list: InspectedTensor[]) => list.reduce((total, { bytes }) => total + bytes, 0);
    return {
      input,
      files: [...checkpoint.shards].map(([name, { size }]) => ({ name, bytes: size })),
      layers,
      others,
      quantization: await quantizationOf(quantizationConfig(checkpoint, identity), checkpoint),
      quantizedAlready: [
        ...(identity.quantizedBy === undefined ? [] : [identity.quantizedBy]),
        ...identity.quantizedWeights,
      ],
      metadata,
      provenance: readProvenance(metadata[provenanceKey]),
      bytes: { files, quantizable: sum(layers), others: sum(others) },
    };
  } finally {
    await checkpoint.close();
  }
}

async function quantizationOf(
  fields: Readonly<Record<string, unknown>> | null,
  checkpoint: Checkpoint,
): Promise<CheckpointInspection['quantization']> {
  if (fields === null) return null;
  const text = (name: string) => (typeof fields[name] === 'string' ? fields[name] : 'unknown');
  const method = text('quant_method');
  const own = foundWeights().find((found) => found.method === method);
  const weights = (await packedWeights(checkpoint, fields)).map(({ inspected }) => inspected);
  return { method, format: text(own?.formatKey ?? 'format'), weights };
}
