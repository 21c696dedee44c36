import type { Preset } from '../options/presets';
import type { ModelFormat } from '../encodings/names';
import type { Environment } from '../environment';
import type { FitOptions } from '../overrides';
import type { Provenance } from '../runs/provenance';
import type { BudgetReport } from '../sensitivity/choose';
import type { Sensitivity } from '../sensitivity/types';
import type { LayerReport, QuantizeOptions, SkippedWeight, TensorLike, WarningOptions } from '../types';
import type { DescribedValue } from '../containers/onnx/value-info';
import type { Warning } from '../warning-codes';

/** What counts for more or less in fits. */
export type Weighting = 'none' | 'outputs' | 'channels' | 'both';

/** One run of a network: input name → tensor. */
export type Feeds = Record<string, TensorLike>;

/**
 * Calibration data: paths of files, or feeds. Every feed's inputs have as many samples along their batch axes (the option `batchAxis`); feeds are run as
 * they are given. Files: `.npz` and `.safetensors` of tensors by input name; `.npy` for a single input; `.jsonl`, a sample or a feed a line; with
 * the option `tokenizer` texts, `.txt` or `.jsonl`, a line each; images, `.png`, `.jpg`, `.webp`, or a folder of them.
 */
export type CalibrationData = string | readonly string[] | Feeds | Iterable<Feeds>;

/** How data is read and cut into runs of the network. */
export interface DataOptions {
  /** Samples per run of the network, where the data comes in one piece (default 32, or as many as 1 MiB of inputs and, to quantize, 128 MiB of values within the network hold). */
  batchSize?: number;
  /**
   * Along which axis of the inputs the samples lie: the name of a dimension, or an axis by input, null for an input that is the same
   * for all samples. Default: by the dimensions' names (`batch` and the like, or one that inputs share), else the first. Inputs without
   * such an axis are fed as they are.
   */
  batchAxis?: string | Readonly<Record<string, number | null>>;
  /** For text: the path of a `tokenizer.json`, or of the folder that has it. */
  tokenizer?: string;
  /**
   * For text: it is cut into windows of so many tokens, and run without padding. Default: of checkpoints 512, or what their network has
   * places for; else a text is one sample, cut at `maxLength`.
   */
  sequenceLength?: number;
  /** For text: how many windows (texts, where they are not cut into windows) at most, spread evenly over the documents. */
  samples?: number;
  /** For text: tokens that are left of a longer one, instead of windows. Default: what the tokenizer says, at most 512. */
  maxLength?: number;
  /** For text in `.jsonl` files: the field that holds it (default `text`). */
  textField?: string;
  /** For images and text: what cannot be read is left out, counted and named in a warning. Default: the first of it ends the run. */
  skipBroken?: boolean;
  /** For images. */
  image?: ImageOptions;
}

/**
 * How images become numbers: (pixel · scale − mean) / std, with pixels from 0 to 255, as far as the network takes floats. Reading
 * images needs the package `sharp`.
 */
export interface ImageOptions {
  /** [height, width] in pixels. Default: what the network fixes; where it fixes nothing, the images' own. */
  size?: readonly [number, number];
  /** One number, or one a channel, in the order of `order` (default 0). */
  mean?: number | readonly number[];
  /** Likewise (default 1). */
  std?: number | readonly number[];
  /** Default 1/255. */
  scale?: number;
  /** Order of the channels (default `rgb`). */
  order?: 'rgb' | 'bgr';
  /** Default: by which of the input's dimensions is 1 or 3; else `nchw`. */
  layout?: 'nchw' | 'nhwc';
  /** Where the size is of another shape: `cover` (default) cuts the middle out, `contain` adds black borders, `fill` stretches. */
  fit?: 'cover' | 'contain' | 'fill';
}

/** Options of `quantizeModel` and `planModel`. */
export interface ModelOptions extends QuantizeOptions, DataOptions, WarningOptions {
  /** What the network is run on to see its layers' inputs. Only `msq` does without. */
  calibration?: CalibrationData;
  /** Share of the calibration samples kept out of the fit for the reported error (default a tenth), or data of its own. */
  holdout?: number | CalibrationData;
  /**
   * How much time to spend, where `method` and `effort` do not say: `fast`, `gptq`; `balanced`, `vertex` with what pays, the default; `best`,
   * `vertex` with 128 passes. Needs data.
   */
  preset?: Preset;
  /**
   * Seconds in which the run is to end, from its beginning: all that is left besides what every run takes goes to passes of `vertex`, in place of `effort`, equally much to each layer. How many they were is in the report; they, and so
   * the output's bytes, depend on how fast the machine is. A run takes at least what it takes without passes, and warns where that is longer.
   */
  time?: number;
  /**
   * Whether each layer is fitted to the outputs that the float network has there, so that it makes up for the errors of the layers
   * before it. Takes a second run of the network for each layer. Default: true for `vertex`, `gptq` and `gpfq`, the methods that can.
   */
  errorCorrection?: boolean;
  /**
   * How much each row of what layers see counts in their fits. `outputs`: by the mean square gradient of the log likelihood of the network's own
   * answers (of other outputs: of random signs on them) at the layer's output, for which the float network is run forward and back; layers that no gradient reaches
   * count all rows alike, and warnings say why. `channels`: the gradients tell instead how errors of a layer's output channels go together, so that channels make up for each other
   * (docs/curvature.md). `both`: each of these. `none` (default): all alike, and each channel by itself.
   */
  weighting?: Weighting;
  /**
   * `matmulnbits` (default): com.microsoft.MatMulNBits nodes for MatMul and Gemm, DequantizeLinear for other operators; `qdq`:
   * DequantizeLinear for all; `float`: values on the grid, in the original layout.
   */
  format?: ModelFormat;
  /**
   * Operators whose weights are quantized, such as `Conv`. Default: all that are known but `Gather`, which looks up embeddings: these
   * are rounded without regard to data.
   */
  operators?: readonly string[];
  /** Whether weights go to files beside the output. Default: where one file cannot hold them, which are 2 GiB. */
  externalData?: boolean;
  /** Bytes of activations that may be kept in memory from one layer to the next (default 2^29); more go to a file beside the output. */
  memory?: number;
  /** Goes on with a run of the same input, data and options that was interrupted. */
  resume?: boolean;
  /** Whether to go on with a run that other kernels of the CPU had begun (another machine); else it is refused. */
  otherKernels?: boolean;
  /**
   * Bytes that the output's files may take: each layer gets the width, and if `groupSize` is not given the groups, that this leaves it, by what widths do to the network's outputs, as
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
  /** Globs of layer names to quantize; default all. */
  layers?: string | readonly string[];
  /** Globs of layer names to leave as they are. */
  skip?: string | readonly string[];
  /** Other options for single layers. Where several fit a layer, later ones win, option by option. */
  overrides?: readonly LayerOverride[];
}

/** How some layers are quantized, where that differs from the others. */
export interface LayerOverride extends FitOptions {
  /** Globs of layer names; each must match one. */
  layers: string | readonly string[];
}

/** How much data the layers were fitted to, and how much was kept out of that; null is what data of its kind does not have. */
export interface DataCounts {
  /** What layers were fitted to. */
  fit: { documents: number | null; samples: number; tokens: number | null };
  /** What they were judged by. */
  holdout: { documents: number | null; samples: number; tokens: number | null };
}

/** What `quantizeModel` did. As JSON: docs/report.schema.json. */
export interface Report {
  /** Rises when what a report holds changes its meaning or goes; what is new does not raise it. */
  schemaVersion: 1;
  /** The command line that it is of, as a shell takes it; left out where there was none. */
  command?: string;
  /** The model, or the checkpoint. */
  input: string;
  /** What was written. */
  output: string;
  /** The output and, before it, the files of its external data. */
  files: string[];
  /** As the option of that name. */
  format: string;
  /** In the order of their quantization. */
  layers: LayerReport[];
  /** Weights that are left as they are, each with the reason. */
  skipped: SkippedWeight[];
  /** Of the input and of the output. */
  bytes: {
    /** The files. */
    before: number;
    after: number;
    /** The quantized layers' weights alone. */
    weightsBefore: number;
    weightsAfter: number;
  };
  /** null where no network was run. */
  calibration: DataCounts | null;
  /** How widths were chosen to meet a target; left out where there was none. */
  budget?: BudgetReport;
  /** Bytes of the input's weights whose work an earlier run had done. */
  resumed: number;
  /** Of the whole run. */
  seconds: number;
  /** About the run, each ending with its code; those about a layer are with the layer. */
  warnings: Warning[];
  /** What the numbers depend on besides input and options. */
  environment: Environment;
  /** What decides the output's bytes; the output says it too (docs/report.md). */
  provenance: Provenance;
}

/** One weight of a network that can be quantized. */
export interface InspectedLayer {
  /** The node's. */
  name: string;
  /** The ONNX operator. */
  kind: string;
  /** [outFeatures, inFeatures]. */
  shape: [number, number];
  /** The name of the initializer. */
  weight: string;
  /** How many weights. */
  parameters: number;
  /** In the file. */
  bytes: number;
}

/** What an ONNX file holds. */
export interface Inspection {
  /** The model's file. */
  input: string;
  /** Of ONNX. */
  irVersion: number;
  /** The version of each domain of operators; the empty one is ONNX itself. */
  opsets: Record<string, number>;
  /** What says that it has made the file, with its version. */
  producer: string;
  /** Without initializers. */
  inputs: DescribedValue[];
  /** In the order of the file. */
  outputs: DescribedValue[];
  /** In the order of the graph. */
  layers: InspectedLayer[];
  /** Weights of operators that hold some and cannot be quantized in this version, by operator. */
  others: { kind: string; count: number; bytes: number }[];
  /** Of files that vertexq wrote: what they come from; else null. */
  provenance: Provenance | null;
  /** How many nodes of each operator the main graph has. */
  operators: Record<string, number>;
  /** Of the file with its external data, of the weights of `layers`, and of the other initializers. */
  bytes: { file: number; quantizable: number; otherWeights: number };
}
