import type { Checkpoint } from '../containers/safetensors/checkpoint';
import { Graph } from '../models/onnx/graph';
import { Weights } from '../models/onnx/weights';
import type { OpenModel } from '../models/open-model';
import type { ConfigReader } from './config';
import { type Decoder, decoderOf } from './decoder';
import type { StoredTensor } from './weights';

/** A language model's checkpoint as a network that is read from its shards. */
export interface OpenDecoder extends OpenModel, Decoder {}

/**
 * The network of a checkpoint, to be run on sequences of up to `longest` tokens. Nothing more is read. Throws ERR_VERTEXQ_DECODER where it is
 * none that is known.
 */
export function openDecoder(
  { input, shards }: Checkpoint,
  config: ConfigReader,
  longest: number,
): OpenDecoder {
  const stored = new Map<string, StoredTensor>();
  let size = 0;
  for (const { path, tensors } of shards.values())
    for (const [name, tensor] of tensors) {
      stored.set(name, { ...tensor, path });
      size += tensor.byteLength;
    }
  const decoder = decoderOf(config, stored, input, longest);
  const files = [...shards.values()];
  const [first, ...others] = files;
  const weights = new Weights(first!.path, first!.identity);
  for (const { path, identity } of others) weights.know(path, identity);
  for (const [tensor, place] of decoder.origins) weights.locate(tensor, place);
  const dataFiles = files.map(({ path }) => path);
  return { ...decoder, file: input, size, dataFiles, graph: new Graph(decoder.model, input), weights };
}
