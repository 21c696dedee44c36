import { type Checkpoint, entryOf, openCheckpoint } from '../formats/safetensors/checkpoint';
import type { TensorEntry } from '../formats/safetensors/header';
import { describe } from '../options';
import { leftByDefault, unsuitable } from './choose-weights';
import { identityOf } from './model-identity';
import { parseConfig } from './model-config';
import type { CheckpointInspection, InspectedTensor, InspectedWeight } from './types';

/**
 * What a safetensors file or a folder of them holds: matrices that can be quantized, other tensors, weights that are quantized already.
 * Rejects with VertexqError ERR_VERTEXQ_FILE or ERR_VERTEXQ_SAFETENSORS.
 */
export async function inspectCheckpoint(input: string): Promise<CheckpointInspection> {
  if (typeof input !== 'string' || input === '')
    throw new TypeError(
      `Expected the input to be the path of a safetensors file or a folder of them, not ${describe(input)}`,
    );
  const checkpoint = await openCheckpoint(input);
  try {
    const identity = await identityOf(checkpoint);
    const config = identity.config?.fields ?? {};
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
    const sum = (list: InspectedTensor[]) => list.reduce((total, { bytes }) => total + bytes, 0);
    return {
      input,
      files: [...checkpoint.shards].map(([name, { size }]) => ({ name, bytes: size })),
      layers,
      others,
      quantization: await quantizationOf(config['quantization_config'] ?? ownConfig(checkpoint), checkpoint),
      metadata: Object.fromEntries([...checkpoint.shards.values()].flatMap((shard) => [...shard.metadata])),
      bytes: { files, quantizable: sum(layers), others: sum(others) },
    };
  } finally {
    await checkpoint.close();
  }
}

/** What a single file's metadata has of its quantization. */
function ownConfig({ shards }: Checkpoint): unknown {
  for (const shard of shards.values()) {
    const text = shard.metadata.get('quantization_config');
    if (text !== undefined) return parseConfig(text, `${shard.path}: its metadata`);
  }
  return undefined;
}

async function quantizationOf(
  config: unknown,
  checkpoint: Checkpoint,
): Promise<CheckpointInspection['quantization']> {
  if (typeof config !== 'object' || config === null) return null;
  const fields = config as Record<string, unknown>;
  const text = (name: string) => (typeof fields[name] === 'string' ? fields[name] : 'unknown');
  const method = text('quant_method');
  const weights: InspectedWeight[] = [];
  for (const name of checkpoint.places.keys()) {
    const weight = name.endsWith('.weight_packed')
      ? await packedWeight(checkpoint, name.slice(0, -'.weight_packed'.length))
      : name.endsWith('.qweight')
        ? gptqWeight(checkpoint, name.slice(0, -'.qweight'.length), fields['sym'] !== false)
        : undefined;
    if (weight) weights.push(weight);
  }
  return { method, format: method === 'gptq' ? text('checkpoint_format') : text('format'), weights };
}

const bytesOf = (parts: readonly (TensorEntry | undefined)[]) =>
  parts.reduce((sum, part) => sum + (part?.byteLength ?? 0), 0);

/** Of compressed-tensors; undefined where its parts are not what they should be. */
async function packedWeight(checkpoint: Checkpoint, module: string): Promise<InspectedWeight | undefined> {
  const names = ['packed', 'scale', 'shape', 'zero_point'].map((part) => `${module}.weight_${part}`);
  const [packed, scale, size, zeroPoint] = names.map((name) => entryOf(checkpoint, name));
  if (packed?.shape.length !== 2 || scale?.shape.length !== 2) return undefined;
  if (size?.dtype !== 'I64' || size.byteLength !== 16) return undefined;
  const bytes = await checkpoint.shards.get(checkpoint.places.get(names[2]!)!)!.read(names[2]!);
  const [outFeatures, inFeatures] = [...new BigInt64Array(bytes.buffer)].map(Number) as [number, number];
  return {
    name: module,
    shape: [outFeatures, inFeatures],
    bits: Math.floor((32 * packed.shape[1]!) / inFeatures),
    groupSize: Math.ceil(inFeatures / scale.shape[1]!),
    symmetric: !zeroPoint,
    bytes: bytesOf([packed, scale, size, zeroPoint]),
  };
}

function gptqWeight(checkpoint: Checkpoint, module: string, symmetric: boolean): InspectedWeight | undefined {
  const parts = ['qweight', 'qzeros', 'scales', 'g_idx'].map((part) =>
    entryOf(checkpoint, `${module}.${part}`),
  );
  const [codes, zeros, scales] = parts;
  if (codes?.shape.length !== 2 || zeros?.shape.length !== 2 || scales?.shape.length !== 2) return undefined;
  const outFeatures = codes.shape[1]!;
  const bits = (32 * zeros.shape[1]!) / outFeatures;
  const inFeatures = (32 * codes.shape[0]!) / bits;
  return {
    ...{ name: module, shape: [outFeatures, inFeatures], bits, symmetric, bytes: bytesOf(parts) },
    groupSize: Math.ceil(inFeatures / scales.shape[0]!),
  };
}
