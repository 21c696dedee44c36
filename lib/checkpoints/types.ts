import type { CheckpointFormat, GgufTypeName } from '../encodings/names';
import type { CalibrationData, DataOptions, ModelOptions, Report } from '../models/types';
import type { Provenance } from '../runs/provenance';
import type { Sensitivity } from '../sensitivity/types';
import type { FitOptions } from '../overrides';
import type { InspectedWeight, QuantizeOptions, WarningOptions } from '../types';

/** What is different for some weights. */
export interface WeightOverride extends Pick<
  FitOptions,
  'bits' | 'levels' | 'grid' | 'groupSize' | 'method'
> {
  /** Globs of the names of tensors or modules; each must match a weight that is quantized. */
  layers: string | readonly string[];
  /** In GGUF files: the type of these tensors; where their rows are no whole blocks of it, another takes over. */
  blockType?: GgufTypeName;
}

/** What is tuned beyond the layer. */
export type Tuning = 'none' | 'scales';

/** Options of `quantizeCheckpoint` and `planCheckpoint`. */
export interface CheckpointOptions
  extends
    QuantizeOptions,
    WarningOptions,
    Pick<ModelOptions, 'preset' | 'time' | 'errorCorrection' | 'weighting'>,
    Omit<DataOptions, 'batchAxis' | 'image'> {
  /**
   * Text, or tokens as the input `input_ids`, that a language model is run on to see what its layers see: each is then fitted to what the
   * quantized layers before it produce. The option `tokenizer` is by default the folder's own.
   */
  calibration?: CalibrationData;
  /**
   * Instead of `calibration`: so many windows of tokens, each of `sequenceLength`, that the float model draws itself at temperature 1, behind the token that begins
   * its texts. The same model and options draw the same ones. All of its weights are in memory meanwhile.
   */
  ownSamples?: number;
  /**
   * Safetensors files of what layers see, by the names of their weights or modules: rows [..., inFeatures], or with `.gram` after the name
   * the Gram matrix [inFeatures, inFeatures]. Layers without get `msq`.
   */
  activations?: string | readonly string[];
  /** Share of the calibration data, or of each layer's recorded rows, kept out of the fit for the reported error (default a tenth); or data of its own. */
  holdout?: number | CalibrationData;
  /**
   * Of a run that is fitted to `calibration` text: into how many parts, 1 to 64, the text and the neurons of each layer are cut. Parts can be done by as many workers at once
   * (`planRun`), or one after the other; what comes of it depends on how many there are, in the last bits of sums and by what each part of a layer chooses for itself, and not on who does them. Default 1.
   */
  parts?: number;
  /**
   * What of the layers of a block is tuned together once all of them are fitted, for the block to give what it gives in the float network. `scales`: by gradients, a fixed number of steps, codes and zero points staying; kept where
   * the error of the block on held-out rows falls, as `tuned` of its layers' reports tells. Takes about twice the time. `none` (default): nothing.
   */
  tuning?: Tuning;
  /**
   * For GGUF files without calibration data: an importance matrix, as `llama-imatrix` writes them (GGUF or `.dat`): scales are those with the least
   * weight error when inputs count by it.
   */
  imatrix?: string;
  /** Default `compressed-tensors`. */
  format?: CheckpointFormat;
  /** Globs of tensor names to quantize; default: `.weight` matrices but embeddings, norms, routers and the head. */
  layers?: string | readonly string[];
  /** Globs of tensor names to leave as they are. */
  skip?: string | readonly string[];
  /**
   * Bytes that the files of weights may take (of a GGUF file all of it): each layer gets the width that this leaves it, by what widths do to the network's outputs, as
   * `calibration` or `sensitivity` tells. The chosen widths are `overrides` behind those given, and in the report; layers whose width `overrides` give keep it.
   */
  targetSize?: number;
  /** Likewise, mean bits of a quantized weight, scales and zero points included. */
  targetBits?: number;
  /**
   * The other way round: how far the outputs may go, in the sensitivity's unit (nats of KL divergence where they are logits, else mean squared error of a row), by the sum of what widths do; the output has the fewest bytes
   * that keep to it.
   */
  targetError?: number;
  /** What `measureSensitivity` found for this input and format, or the file that it was written to; default: it is measured first. */
  sensitivity?: string | Sensitivity;
  /**
   * Bytes that one file of a GGUF output may have: a larger one becomes parts beside `output`, `<name>-00001-of-00003.gguf` and so on, of which readers are given
   * the first.
   */
  maxFileSize?: number;
  /** Other options for single weights. Where several fit a weight, later ones win, option by option. */
  overrides?: readonly WeightOverride[];
  /** Bytes that buffers may take (default 768 MiB). A fit to data takes what its Gram matrices need besides. */
  memory?: number;
  /** Goes on with a run of the same input and options that was interrupted. */
  resume?: boolean;
  /** Whether to go on with a run that other kernels of the CPU had begun (another machine); else it is refused. */
  otherKernels?: boolean;
  /**
   * Weights that are quantized already stay as they are, and the others are quantized; default: they stop the run. Where config.json says
   * that weights are, only with the format `float`.
   */
  allowQuantized?: boolean;
}

/** What `quantizeCheckpoint` did. */
export interface CheckpointReport extends Omit<Report, 'files'> {
  /** Of a GGUF output in parts these, the first one first. */
  files?: string[];
  /** Tensors that were copied as they are. */
  copied: { tensors: number; bytes: number };
  /** Bytes of the input whose work an earlier run had done. */
  resumed: number;
}

/** One tensor of a checkpoint. */
export interface InspectedTensor {
  /** As in the file. */
  name: string;
  /** As safetensors and GGUF files name types. */
  dtype: string;
  /** As in the file. */
  shape: readonly number[];
  /** Of its numbers. */
  bytes: number;
  /** The name of the file that holds it. */
  file: string;
}

/** What a checkpoint holds. */
export interface CheckpointInspection {
  /** The file or folder. */
  input: string;
  /** Those with tensors, and their sizes. */
  files: { name: string; bytes: number }[];
  /** Matrices that quantizeCheckpoint would quantize by default. */
  layers: InspectedTensor[];
  /** All other tensors, embeddings and norms among them. */
  others: InspectedTensor[];
  /** What its config says of quantization: null for a float one. */
  quantization: { method: string; format: string; weights: InspectedWeight[] } | null;
  /** What tells that weights are quantized already, by configs and by tensors: where there is any, quantizeCheckpoint stops unless `allowQuantized`. */
  quantizedAlready: string[];
  /** Of the headers of all files: where several have a key, the last one's. */
  metadata: Record<string, string>;
  /** Of files that vertexq wrote: what they come from; else null. */
  provenance: Provenance | null;
  /** Of the files, of the tensors in `layers`, and of those in `others`. */
  bytes: { files: number; quantizable: number; others: number };
}

/** A weight that was read back. */
export interface VerifiedWeight {
  /** The module's, or the tensor's. */
  name: string;
  /** [outFeatures, inFeatures]. */
  shape: readonly [number, number];
  /** null where its own tensor holds values, as in the format `float`. */
  bits: number | null;
  /** Inputs that share a scale; null where its own tensor holds values. */
  groupSize: number | null;
  /** ‖W − Ŵ‖ / ‖W‖, Frobenius; null without an original. */
  error: number | null;
  /** Of all its tensors. */
  bytes: number;
}

/** What reading a quantized checkpoint back has shown. */
export interface Verification {
  /** The checkpoint that was read back. */
  quantized: string;
  /** What it was compared with; null: nothing. */
  original: string | null;
  /** Those in few bits, and those whose values differ from the original. */
  weights: VerifiedWeight[];
  /** Tensors that are, byte for byte, those of the original. */
  identical: { tensors: number; bytes: number };
  /** What is not as it should be, a sentence each. */
  faults: string[];
  /** What could not be compared, and why, a sentence each. */
  notCompared: string[];
  /** How many files, and bytes of them, were compared with the checksums that they were written with, in a folder's manifest or in the file itself; null where there are none, as of what others have written. */
  manifest: { files: number; bytes: number } | null;
  /** Of all of the work. */
  seconds: number;
}
