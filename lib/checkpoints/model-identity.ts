import { stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { VertexqError } from '../errors';
import { type Checkpoint, entryOf } from '../containers/safetensors/checkpoint';
import type { TensorEntry } from '../containers/tensor-file';
import { expertMatrices, type Matrix, matrixOf } from '../encodings/safetensors/matrices';
import {
  configsIn,
  type ModelConfig,
  quantizationFiles,
  quantizationKeyOf,
  readConfig,
} from './model-config';
import { type QuantizedAlready, quantizedIn } from './quantized-already';
import { moduleOf, splitName } from '../encodings/safetensors/tensor-names';
import { transposedIn } from './transposed';

/** What a checkpoint is a model of, from all that tells it: configs, files beside it, and its tensors' names, types and shapes. */
export interface ModelIdentity {
  /** Of the folder, or beside a file given by itself. */
  config: ModelConfig | undefined;
  modelTypes: readonly string[];
  architectures: readonly string[];
  /** Whether a config says that the head is the embedding; undefined where none says anything. */
  tied: boolean | undefined;
  /** Whether a weight lies [inFeatures, outFeatures]. */
  isTransposed: (name: string) => boolean;
  /** The matrices in a tensor, as they lie there: its own, or those of experts; none where it is of another shape. */
  matricesIn: (name: string, entry: TensorEntry) => readonly Matrix[];
  /** Where a file says that weights are quantized already; undefined where none does. */
  quantizedBy: string | undefined;
  /** What tells of a tensor that it is, or belongs to, a weight that is quantized already. */
  quantized: QuantizedAlready;
  /** Each such weight, in words. */
  quantizedWeights: readonly string[];
}

/** Finds out what a checkpoint is. Rejects with ERR_VERTEXQ_FILE where its config cannot be read. */
export async function identityOf(checkpoint: Checkpoint): Promise<ModelIdentity> {
  const place = checkpoint.folder ?? dirname(checkpoint.input);
  const config = await readConfig(place).catch((error: unknown) => {
    // Beside a file given by itself it may be of something else.
    if (checkpoint.folder === null && error instanceof VertexqError) return undefined;
    throw error;
  });
  const configs = config ? configsIn(config.fields) : [];
  const modelTypes = configs.map(({ fields }) => fields['model_type']).filter(isText);
  const architectures = configs.flatMap(({ fields }) => listOf(fields['architectures'])).filter(isText);
  const ties = configs
    .map(({ fields }) => fields['tie_word_embeddings'])
    .filter((tie) => typeof tie === 'boolean');
  const { of: quantized, found: quantizedWeights } = await quantizedIn(checkpoint);
  const isTransposed = await transposedIn(checkpoint, modelTypes, architectures);
  return {
    ...{ config, modelTypes, architectures, quantized, quantizedWeights, isTransposed },
    matricesIn: (name, entry) =>
      entry.shape.length === 2
        ? [matrixOf(name, entry, isTransposed(name))]
        : (expertMatrices(name, entry, (other) => entryOf(checkpoint, other)) ?? []),
    tied: ties.length === 0 ? undefined : ties.includes(true),
    quantizedBy: await quantizedBy(checkpoint, config, place),
  };
}

const isText = (value: unknown): value is string => typeof value === 'string';
const listOf = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);

async function quantizedBy(
  { shards }: Checkpoint,
  config: ModelConfig | undefined,
  place: string,
): Promise<string | undefined> {
  const key = config && quantizationKeyOf(config.fields);
  if (config && key !== undefined) return `${config.path} has "${key}"`;
  for (const shard of shards.values())
    if (shard.metadata.has('quantization_config'))
      return `the metadata of ${shard.path} has "quantization_config"`;
  for (const name of quantizationFiles)
    if (await isThere(join(place, name))) return `${join(place, name)} is there`;
  return undefined;
}

const isThere = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

/** Throws ERR_VERTEXQ_UNSUPPORTED where weights are quantized already, unless that is allowed and nothing would contradict it. */
export function requireFloat(
  { quantizedBy: said, quantizedWeights }: ModelIdentity,
  input: string,
  allowed: boolean,
  keepsConfig: boolean,
): void {
  const count = quantizedWeights.length;
  if (said === undefined && count === 0) return;
  if (allowed && (said === undefined || keepsConfig)) return;
  const what = [
    ...(said === undefined ? [] : [said]),
    ...(count === 0 ? [] : [`${quantizedWeights[0]}${count === 1 ? '' : `, and ${count - 1} more`}`]),
  ].join('; ');
  throw new VertexqError(
    'ERR_VERTEXQ_UNSUPPORTED',
    `${input} is quantized already: ${what}. ` +
      (allowed
        ? 'What its config says of that and what this format would add cannot stand together: give the float one, or use the format "float"'
        : 'Give the float one; "allowQuantized" (--allow-quantized) leaves such weights as they are and quantizes the others'),
  );
}

const headNames = /^(lm_head|embed_out|output)$/;
const embeddingNames = /^(embed_tokens|wte|embed_in|tok_embeddings|word_embeddings|shared)$/;

/**
 * Whether a head that is quantized has to be told apart from the embedding, because the config says, or by its silence lets readers think,
 * that they are one. Throws a RangeError where they are one indeed.
 */
export function unties(
  checkpoint: Checkpoint,
  { tied, config }: ModelIdentity,
  weights: readonly { name: string }[],
): boolean {
  if (tied === false || !config) return false;
  const head = weights.find(({ name }) => headNames.test(splitName(moduleOf(name))[1]));
  if (!head) return false;
  for (const [name] of checkpoint.places)
    if (embeddingNames.test(splitName(moduleOf(name))[1]) && entryOf(checkpoint, name)?.shape.length === 2)
      return true;
  if (tied === undefined) return false;
  throw new RangeError(
    `"${head.name}" is the embedding too: ${config.path} has "tie_word_embeddings", and no other tensor is there for that. Leave it out with "skip"`,
  );
}
