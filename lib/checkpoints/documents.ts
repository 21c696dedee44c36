import type { CheckpointEncoding } from '../encodings/safetensors/encoding';
import { type Checkpoint, entryOf } from '../formats/safetensors/checkpoint';
import { indexName } from '../formats/safetensors/index-file';
import { parseJson, withMember } from '../formats/json-text';
import { VertexqError } from '../errors';
import { configName } from './companions';
import { configText } from './model-config';
import type { ModelIdentity } from './model-identity';
import type { Plan } from './plan';
import { outputTensors } from './plan-views';
import { moduleOf, splitName } from './tensor-names';

/** A file of text that a run writes beside the weights. */
export interface Document {
  name: string;
  data: Uint8Array;
}

const headNames = /^(lm_head|embed_out|output)$/;
const embeddingNames = /^(embed_tokens|wte|embed_in|tok_embeddings|word_embeddings|shared)$/;

/**
 * All texts of the output's folder, in the order in which they are written: the index last. They are made before any work, so that what
 * could not be written is known then. Throws ERR_VERTEXQ_FILE.
 */
export function documentsOf(
  checkpoint: Checkpoint,
  { config }: ModelIdentity,
  plan: Plan,
  { configFile }: CheckpointEncoding,
): Document[] {
  const documents: Document[] = [];
  const add = (name: string, text: () => string) => {
    try {
      documents.push({ name, data: Buffer.from(text()) });
    } catch (cause) {
      throw new VertexqError(
        'ERR_VERTEXQ_FILE',
        `The output's ${name} cannot be made: ${(cause as Error).message}`,
        { cause },
      );
    }
  };
  if (checkpoint.folder === null) return documents;
  const { quantization } = plan;
  if (config) add(configName, () => configText(config, quantization, plan.untied));
  if (quantization && configFile !== null)
    add(configFile, () => `${JSON.stringify(quantization, null, 2)}\n`);
  const { index } = checkpoint;
  if (index) add(indexName, () => indexText(index.text, plan));
  return documents;
}

/** The input's index with the places and the size of what is written. */
function indexText(text: string, plan: Plan): string {
  let size = 0;
  const places: [string, string][] = [];
  for (const [tensor, shard, byteLength] of outputTensors(plan)) {
    size += byteLength;
    places.push([tensor, shard]);
  }
  places.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  // First what is small: each edit reads the whole.
  const small = withMember(text, ['weight_map'], {});
  const sized = parseJson(small).members!.get('metadata')?.members
    ? withMember(small, ['metadata', 'total_size'], size)
    : withMember(small, ['metadata'], { total_size: size });
  return withMember(sized, ['weight_map'], Object.fromEntries(places));
}

/**
 * Whether a head that is quantized has to be told apart from the embedding, because the config says, or by its silence lets readers think,
 * that they are one. Throws a RangeError where they are one indeed.
 */
export function unties(checkpoint: Checkpoint, { tied, config }: ModelIdentity, plan: Plan): boolean {
  if (tied === false || !config) return false;
  const head = plan.weights.find(({ name }) => headNames.test(splitName(moduleOf(name))[1]));
  if (!head) return false;
  for (const [name] of checkpoint.places)
    if (embeddingNames.test(splitName(moduleOf(name))[1]) && entryOf(checkpoint, name)?.shape.length === 2)
      return true;
  if (tied === undefined) return false;
  throw new RangeError(
    `"${head.name}" is the embedding too: ${config.path} has "tie_word_embeddings", and no other tensor is there for that. Leave it out with "skip"`,
  );
}
