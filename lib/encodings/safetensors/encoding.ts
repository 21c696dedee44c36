import type { Checkpoint } from '../../containers/safetensors/checkpoint';
import type { FloatDtype } from '../../containers/safetensors/dtypes';
import type { Encoding, Scheme, Shape } from '../encoding';
import type { Mix } from '../gguf/mixes';
import type { ModelEncoding } from '../onnx/encoding';
import type { Turns } from '../../yielding';
import type { WeightLayout } from './layout';
import type { FoundWeight } from './unpack';
import type { Warning } from '../../warning-codes';

/** A weight with how it is quantized, or null where it stays as it was. The group size is Infinity for a scale per channel. */
export type ConfiguredWeight = readonly [name: string, scheme: Scheme | null];

/** What `config.json` says of the weights. */
export type ReaderConfig = Record<string, unknown>;

/** An encoding of safetensors checkpoints. */
export interface CheckpointEncoding extends Encoding {
  /** Whether readers take weights of layers that have them transposed, [inFeatures, outFeatures]. */
  holdsTransposed: boolean;
  /** Why it cannot hold a weight of this shape; undefined where it can. */
  unfit(shape: Shape, scheme: Scheme): string | undefined;
  /** What a weight becomes that it can hold. */
  layout(shape: Shape, dtype: FloatDtype, scheme: Scheme): WeightLayout;
  /**
   * What loaders find in `config.json`; null where they need nothing. `weights`: all matrices of linear layers, and what holds several;
   * `fused`: what some readers make one of, by path. There may be very many: `turns` lets the event loop go on.
   */
  config(
    weights: readonly ConfiguredWeight[],
    fused: readonly ConfiguredWeight[],
    turns: Turns,
  ): ReaderConfig | null | Promise<ReaderConfig>;
  /** Another file that loaders read it in; null where there is none. */
  configFile: string | null;
  /** What some reader does not take of such weights (docs/readers.md). */
  warnings(weights: readonly ConfiguredWeight[]): Warning[];
  /** Where the output is the checkpoint's network, and no checkpoint: what that holds weights in. */
  network?: ModelEncoding;
  /** Where the output is a GGUF file: the types that its tensors get. */
  mix?: Mix;
  /** How its weights are found in files of others; null where nothing tells them from floats. */
  found: FoundWeights | null;
}

/** Weights that are quantized already. */
export interface FoundWeights {
  /** `quant_method` of a config that tells of them, and under which name it has the format. */
  method: string;
  formatKey: string;
  /** What the names of their codes end with. */
  codes: string;
  /** The weight of a module; undefined where its parts are not what they should be. `config`: what is said of all. */
  weightOf: (
    checkpoint: Checkpoint,
    module: string,
    config: Readonly<Record<string, unknown>>,
  ) => FoundWeight | undefined | Promise<FoundWeight | undefined>;
}
