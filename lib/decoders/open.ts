import { type Checkpoint, entryOf } from '../containers/safetensors/checkpoint';
import { expertMatrices } from '../encodings/safetensors/matrices';
import { Graph } from '../containers/onnx/graph';
import { Weights } from '../containers/onnx/weights';
import type { OpenModel } from '../models/open-model';
import type { PackedWeight } from '../encodings/safetensors/unpack';
import type { ConfigReader } from './config';
import { type Decoder, type DecoderForm, decoderOf } from './decoder';
import type { StoredTensor } from './weights';

/** A language model's checkpoint as a network that is read from its shards. */
export interface OpenDecoder extends OpenModel, Decoder {}

/** A weight in few bits, and its values as the bytes of float32 numbers. */
export interface UnpackedWeight {
  weight: PackedWeight;
  data: () => Promise<Uint8Array>;
}

/**
 * The network of a checkpoint, to be run on sequences of up to `longest` tokens; `unpacked`: weights in few bits, by the names that they have as
 * floats, and the form as `decoderOf` takes it. Nothing more is read. Throws ERR_VERTEXQ_DECODER where it is
 * none that is known.
 */
export function openDecoder(
  checkpoint: Checkpoint,
  config: ConfigReader,
  longest: number,
  { unpacked = new Map(), ...form }: DecoderForm & { unpacked?: ReadonlyMap<string, UnpackedWeight> } = {},
): OpenDecoder {
  const { input, shards } = checkpoint;
  const stored = new Map<string, StoredTensor>();
  const parts = new Set([...unpacked.values()].flatMap(({ weight }) => weight.tensors));
  let size = 0;
  for (const { path, tensors } of shards.values())
    for (const [name, tensor] of tensors) {
      size += tensor.byteLength;
      if (parts.has(name)) continue;
      const experts = expertMatrices(name, tensor, (other) => entryOf(checkpoint, other)) ?? [];
      // Those that lie transposed are no matrices that a network could read.
      if (experts.length === 0 || experts[0]!.stride > 0) stored.set(name, { ...tensor, path });
      else
        for (const { name: own, dtype, shape, position } of experts)
          stored.set(own, { dtype, shape, path, position, byteLength: tensor.byteLength / experts.length });
    }
  for (const [name, { weight }] of unpacked) {
    const { shape } = weight;
    const byteLength = 4 * shape[0] * shape[1];
    stored.set(name, { dtype: 'F32', shape, path: input, position: 0, byteLength, isUnpacked: true });
  }
  const decoder = decoderOf(config, stored, input, longest, form);
  const files = [...shards.values()];
  const [first, ...others] = files;
  const weights = new Weights(first!.path, first!.identity);
  for (const { path, identity } of others) weights.know(path, identity);
  for (const [tensor, place] of decoder.origins) {
    const made = unpacked.get(place.tensor);
    const shard = files.find(({ path }) => path === place.path)!;
    if (made) weights.make(tensor, made.data);
    else if (shard.isMade) weights.make(tensor, () => shard.read(place.tensor));
    else weights.locate(tensor, place);
  }
  const dataFiles = files.map(({ path }) => path);
  return {
    ...decoder,
    file: input,
    size,
    used: size,
    dataFiles,
    graph: new Graph(decoder.model, input),
    weights,
  };
}
