import { VertexqError } from '../errors';
import { readConfig } from '../checkpoints/model-config';
import { openCheckpoint } from '../containers/safetensors/checkpoint';
import type { OpenModel } from '../models/open-model';
import { Graph } from '../models/onnx/graph';
import { Weights } from '../models/onnx/weights';
import { ConfigReader } from './config';
import { type Decoder, decoderOf } from './decoder';
import type { StoredTensor } from './weights';

/** A language model's checkpoint as a network that is read from its shards. */
export interface OpenDecoder extends OpenModel, Decoder {}

/**
 * Opens the language model in a folder, to be run on sequences of up to `longest` tokens. Only headers are read. Rejects with
 * ERR_VERTEXQ_FILE, ERR_VERTEXQ_SAFETENSORS, and ERR_VERTEXQ_DECODER where it is none that is known.
 */
export async function openDecoder(
  folder: string,
  longest: number,
  signal?: AbortSignal,
): Promise<OpenDecoder> {
  const config = await readConfig(folder);
  if (!config)
    throw new VertexqError(
      'ERR_VERTEXQ_DECODER',
      `${folder} has no config.json, which says what the network computes; the method "msq" (--method msq) needs none`,
    );
  const checkpoint = await openCheckpoint(folder, signal);
  try {
    const stored = new Map<string, StoredTensor>();
    let size = 0;
    const dataFiles = [...checkpoint.shards.values()].map(({ path }) => path);
    for (const { path, tensors } of checkpoint.shards.values())
      for (const [name, { dtype, shape, position, byteLength }] of tensors) {
        stored.set(name, { dtype, shape, position, byteLength, path });
        size += byteLength;
      }
    const decoder = decoderOf(new ConfigReader(config.path, config.fields), stored, folder, longest);
    const { model, origins } = decoder;
    const [first, ...others] = [...checkpoint.shards.values()];
    const weights = new Weights(first!.path, first!.identity);
    for (const { path, identity } of others) weights.know(path, identity);
    for (const [tensor, { path, position, length }] of origins)
      weights.locate(tensor, { path, position, length });
    return { ...decoder, file: folder, size, dataFiles, graph: new Graph(model, folder), weights };
  } finally {
    await checkpoint.close();
  }
}
