import type { Grid, Method } from '../types';
import type { GgufTypeName } from '../encodings/names';
import type { Warning } from '../warning-codes';

/** What a layer could be stored in: options that `overrides` take. */
export interface Width {
  /** Of a code. */
  bits?: number;
  /** Inputs that share a scale. */
  groupSize?: number | 'channel';
  /** In GGUF files. */
  blockType?: GgufTypeName;
}

/** What one width of one layer does, everything else as it is. */
export interface MeasuredWidth extends Width {
  /** Of the layer in the output. */
  bytes: number;
  /** How far the network's outputs go, in the `unit` of the sensitivity. */
  change: number;
  /** Of the layer's own outputs on the calibration rows, relative; null where these are all 0. */
  error: number | null;
}

/** A layer whose widths have been measured. */
export interface SensitiveLayer {
  /** As `overrides` knows it. */
  name: string;
  /** [outFeatures, inFeatures]. */
  shape: readonly [number, number];
  /** Readers make one of all layers with this name, which need one width; null for one that stands alone. */
  group: string | null;
  /** In the order of their bytes. */
  widths: MeasuredWidth[];
  /** The share of each width's change that is left in a run that corrects errors, which the layers behind take back as far as they can. Missing: not measured, and taken for 1. */
  left?: number;
}

/** What `measureSensitivity` found: what each layer alone, in each width, does to the network's outputs. */
export interface Sensitivity {
  /** Rises when what it holds changes its meaning. */
  schema: 1;
  /** That of vertexq. */
  version: string;
  /** The model, or the checkpoint. */
  input: string;
  /** SHA-256 of what the network is: the headers of its tensors, their sizes. */
  inputHash: string;
  /** Of the numbers that the network was run on. */
  data: { calibration: string; holdout: string };
  /** `estimated`: to second order, from the gradients of the outputs; `measured`: by a run of the network with that layer alone changed. */
  how: 'estimated' | 'measured';
  /** `kl`: mean KL divergence of a row of logits (a token, an image) from the float network's, in nats; `squared-error`: mean squared error of a row of outputs. */
  unit: 'kl' | 'squared-error';
  /** Rows of outputs that were judged. */
  rows: number;
  /** What is the same for all widths. */
  format: string;
  /** By which layers were quantized for it. */
  method: Method;
  /** null: that of the format. */
  grid: Grid | null;
  /** In the order of the network. */
  layers: SensitiveLayer[];
  /** Layers that have no measure, and why: they keep the width that options give them. */
  unmeasured: { name: string; reason: string }[];
  /** Each ends with its code. */
  warnings: Warning[];
  /** Of all of the work. */
  seconds: number;
}

/** `4 bits`, `4 bits in groups of 32`, `Q4_K`. */
export function widthName({ bits, groupSize, blockType }: Width): string {
  if (blockType !== undefined) return blockType;
  if (groupSize === undefined) return `${bits} bits`;
  return `${bits} bits, ${groupSize === 'channel' ? 'a scale a channel' : `groups of ${groupSize}`}`;
}
