import { VertexqError } from '../errors';
import type { Checkpoint } from '../containers/safetensors/checkpoint';
import { ConfigReader } from '../decoders/config';
import { drawTexts } from '../decoders/draw-texts';
import { type OpenDecoder, openDecoder } from '../decoders/open';
import { widthOf } from '../decoders/shape';
import { type CalibrationSet, prepareCalibrationSet } from '../models/calibration-set';
import { findLayers } from '../models/layers/find-layers';
import type { Layer } from '../models/layers/layer';
import type { Feeds } from '../models/types';
import { dataOptionsOf } from '../options/relations';
import { defaults } from '../options/defaults';
import type { CheckpointSettings } from './checkpoint-options';
import { Turns } from '../yielding';
import type { ModelIdentity } from './model-identity';

/** The network that a checkpoint's weights belong to, and what it is run on. */
export interface CheckpointNetwork {
  opened: OpenDecoder;
  /** By the names of their weights: layers that share one together. */
  layers: ReadonlyMap<string, readonly Layer[]>;
  data: CalibrationSet;
}

/** What every decoder takes: text without padding, so that each token that a layer sees is one of the text. */
export const tokenInputs = [{ name: 'input_ids', type: 'int64', dims: ['batch', 'sequence'] }];

/**
 * Builds the network that a checkpoint's config describes and reads the data that it is to be run on; `tokenizer`: the folder of its own. Rejects with ERR_VERTEXQ_DECODER where
 * it is none that is known; as `prepareCalibrationSet`.
 */
export async function openNetwork(
  checkpoint: Checkpoint,
  { config }: ModelIdentity,
  settings: CheckpointSettings,
  tokenizer: string | null = checkpoint.folder,
): Promise<CheckpointNetwork> {
  const { options } = settings;
  const { calibration, ownSamples, holdout, signal } = options;
  if (!config)
    throw new VertexqError(
      'ERR_VERTEXQ_DECODER',
      `${checkpoint.input} has no config.json, which says what the network computes: give the folder that has it; the method "msq" (--method msq) needs none`,
    );
  const reader = new ConfigReader(config.path, config.fields);
  // What is wrong with the network is said before texts are read.
  const { shape } = openDecoder(checkpoint, reader, 1);
  const length = options.sequenceLength ?? Math.min(defaults.sequenceLength, placesOf(reader, shape));
  const own =
    ownSamples === undefined ? undefined : await ownTexts(checkpoint, reader, [ownSamples, length], settings);
  const data = await prepareCalibrationSet(own ?? calibration!, {
    // What is drawn has its length already.
    ...dataOptionsOf(own ? { batchSize: options.batchSize } : options),
    ...(isText(calibration) && tokenizer !== null && options.tokenizer === undefined ? { tokenizer } : {}),
    ...(isText(calibration) && options.maxLength === undefined ? { sequenceLength: length } : {}),
    ...{ holdout, signal, inputs: tokenInputs, vocabulary: shape.vocabulary },
    alive: ({ input_ids }) => {
      const [texts, length] = input_ids!.dims as [number, number];
      return Promise.resolve({ bytes: 4 * aliveNumbers(shape, texts, length), at: 'a block' });
    },
  });
  const feeds = [...data.fit, ...data.holdout];
  const longest = feeds.reduce((most, { input_ids }) => Math.max(most, input_ids!.dims[1]!), 1);
  const opened = openDecoder(checkpoint, reader, longest, { widens: true });
  await requireKnownTokens(feeds, opened.shape.vocabulary, config.path, new Turns(signal));
  return { opened, layers: layersIn(opened), data };
}

/** What the network draws itself; of a dry run as many tokens. */
async function ownTexts(
  checkpoint: Checkpoint,
  config: ConfigReader,
  dims: readonly [number, number],
  { options, isDry = false }: CheckpointSettings,
): Promise<Feeds> {
  const [count, length] = dims;
  const opened = openDecoder(checkpoint, config, length, { isCached: true });
  const start = config.has('bos_token_id') ? config.count('bos_token_id', undefined, 0) : null;
  if (start !== null && start >= opened.shape.vocabulary)
    throw config.wrong('bos_token_id', `a token below ${opened.shape.vocabulary}`);
  const data = isDry ? new BigInt64Array(count * length) : await drawTexts(opened, start, dims, options);
  return { input_ids: { data, dims: [count, length], type: 'int64' } };
}

/** Numbers of what a block has at once for texts of `length` tokens: scores thrice, and what its layers give. */
export function aliveNumbers(
  { blocks, heads, hidden }: OpenDecoder['shape'],
  texts: number,
  length: number,
): number {
  const widest = blocks.reduce((most, block) => Math.max(most, widthOf(block)), 0);
  return texts * length * (3 * heads * length + 4 * hidden + 3 * widest);
}

/** The layers of a decoder by the names of the tensors that hold their weights. */
export function layersIn({ graph, origins }: OpenDecoder): Map<string, Layer[]> {
  const layers = new Map<string, Layer[]>();
  for (const layer of findLayers(graph).layers) {
    const origin = origins.get(layer.constant.tensor);
    if (!origin || layer.input === null) continue;
    layers.set(origin.tensor, [...(layers.get(origin.tensor) ?? []), layer]);
  }
  return layers;
}

/** Tokens of the longest sequence that the network was made for. */
export const placesOf = (config: ConfigReader, { positions }: OpenDecoder['shape']): number =>
  positions || config.count('max_position_embeddings', 2048);

/** Whether data is files of texts. */
export const isText = (data: unknown): boolean =>
  [data].flat().some((path) => typeof path === 'string' && /\.(txt|jsonl|ndjson)$/i.test(path));

/** Rejects with ERR_VERTEXQ_CALIBRATION at tokens that the model does not have; `model`: where it is told which it has. */
export async function requireKnownTokens(
  feeds: readonly Feeds[],
  vocabulary: number,
  model: string,
  turns: Turns,
): Promise<void> {
  for (const { input_ids } of feeds) {
    if (turns.due) await turns.next();
    for (const id of input_ids!.data as BigInt64Array)
      if (id < 0n || id >= BigInt(vocabulary))
        throw new VertexqError(
          'ERR_VERTEXQ_CALIBRATION',
          `the calibration data has the token ${id}, and the vocabulary of ${model} those from 0 to ${vocabulary - 1}: is the tokenizer the model's?`,
        );
  }
}
