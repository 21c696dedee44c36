import type { CheckpointOptions } from '../checkpoints/types';
import type { CompareOptions } from '../compare/types';
import { checkpointFormats, ggufTypeNames, helpOf, modelFormats, namesOf } from '../encodings/names';
import type { EvaluateCheckpointOptions } from '../evaluate/language/types';
import type { EvaluateOptions } from '../evaluate/types';
import {
  defaultMethod,
  methodNames,
  methodsThat,
  type MethodOption,
  plainMethod,
  takersOf,
} from '../methods';
import type { ModelOptions } from '../models/types';
import type { JobOptions, QuantizeLayerOptions, QuantizeOptions, WarningOptions } from '../types';
import { data } from './data-rows';
import { defaults } from './defaults';
import { asked, cancelled, served, submitted, worked } from './fleet-rows';
import { checkpointMemory, inParts, ofShard, planned } from './planned-rows';
import { presetNames } from './presets';
import { only, without } from './choose';
import * as dataKinds from './data-kinds';
import * as kinds from './kinds';
import type { Option, Options } from './kinds';
import { evaluated, tuned } from './language-rows';
import { target } from './target-rows';

// Every option of every call: what values it takes, and what help says of it. Checks, flags, files of options and documents come from here;
// what options mean together is checked where it is used.

/** More than anyone waits for, and more than leaves anything of the data: what the addon takes. */
const maxPasses = 1_000_000;
const maxDamping = 1_000_000;
const maxRuns = 100_000;
const mostOwnSamples = 100_000;

/** Help on an option that only some methods take. */
const ofMethods = (option: MethodOption, help: string) => `${takersOf(option).join(', ')}: ${help}`;

const sharing = (fallback: string) =>
  `inputs that share a scale, or "channel": all of a neuron's (default: ${fallback})`;
const alwaysMax = methodsThat(({ scales }) => !scales.includes('search')).join(', ');

const job = {
  threads: {
    kind: kinds.integer(1),
    help: 'threads for the numerical work; results do not depend on it (default: all cores)',
    group: 'Other',
  },
  signal: { kind: kinds.abortSignal },
  onProgress: { kind: kinds.callback },
} satisfies Options<JobOptions>;

const layer = {
  bits: {
    kind: kinds.integer(1, 8),
    help: `bits per weight, 1 to 8 (default: ${defaults.bits})`,
    group: 'Alphabet',
  },
  levels: {
    kind: kinds.integer(2, 256),
    help: 'number of values a weight may take, instead of --bits: 3 is ternary',
    group: 'Alphabet',
  },
  grid: {
    kind: kinds.choiceOrLevels(['integer', 'asymmetric', 'zero-free', 'full-range', 'float-minimum']),
    argument: '<kind>',
    help: 'integer {−K…K}·s; asymmetric {0…L−1}·s with a zero point; zero-free {±½, ±3⁄2, …}·s; full-range {−L/2…L/2−1}·s, no zero point and one level more than integer; float-minimum {0…L−1}·s + m, m any float, which no format here holds (default: asymmetric, in compressed-tensors and gptq full-range; integer for an odd --levels; zero-free for two)',
    group: 'Alphabet',
  },
  groupSize: {
    kind: kinds.integerOr('channel', 1),
    help: sharing('channel'),
    group: 'Alphabet',
  },
  scale: {
    kind: kinds.choice(['search', 'max']),
    argument: '<rule>',
    help: `search: the least output error sets it; max: the largest weight, as ${alwaysMax} needs (default: search; max for ${alwaysMax})`,
    group: 'Alphabet',
  },
  method: {
    kind: kinds.choice(methodNames),
    help: `how weights become codes, see below (default: ${defaultMethod(true)}; without data ${plainMethod})`,
    group: 'Method',
  },
  effort: {
    kind: kinds.integerOr('auto', 0, maxPasses),
    help: ofMethods(
      'effort',
      'how many more answers to recombine after the walk, each pass only lowers the error, 0 is the walk alone (default: auto, by cost)',
    ),
    group: 'Method',
  },
  damping: {
    kind: kinds.between(0, maxDamping),
    help: ofMethods(
      'damping',
      'a share of the mean diagonal added to the second moments; raise it where samples are few (default: by method)',
    ),
    group: 'Method',
  },
  rank: {
    kind: kinds.countOrPart,
    help: ofMethods(
      'rank',
      'directions of the data that the walk holds exactly: a number, a fraction of the inputs, or auto (default: auto)',
    ),
    group: 'Method',
  },
  box: {
    kind: kinds.choice(['cell', 'saturate']),
    argument: '<kind>',
    help: ofMethods(
      'box',
      'where the walk stays: cell, the two levels around each weight; saturate, the whole alphabet (default: cell)',
    ),
    group: 'Method',
  },
  ...job,
} satisfies Options<QuantizeOptions>;

const errorCorrection: Option = {
  kind: kinds.flag,
  help: `${methodsThat(({ correctsErrors }) => correctsErrors).join(', ')}: fit each layer to what the float network gives there, to undo errors of the layers before it (default)`,
  negated: 'fit each layer to its own outputs: half of the runs of the network',
  group: 'Method',
};

const preset: Option = {
  kind: kinds.choice(presetNames),
  help: 'how much time to spend, where --method and --effort do not say: fast, gptq; balanced, vertex with what pays; best, vertex with 128 passes (default: balanced; docs/networks.md has what each costs and gives)',
  group: 'Method',
};

const time: Option = {
  kind: kinds.duration,
  help: ofMethods(
    'effort',
    'as 90s, 30m or 2h: when the run is to be done, instead of --effort; what is left goes to more passes. The bytes then depend on the machine',
  ),
  group: 'Method',
};

const weighting: Option = {
  kind: kinds.choice(['none', 'outputs', 'channels', 'both']),
  argument: '<by>',
  help: "what the network, run forward and back, tells fits of how errors are felt in its outputs: outputs, how much in each row of what a layer sees; channels, how those of a layer's output channels go together, so that they make up for each other; both; none, nothing (default: none)",
  group: 'Method',
};

const tuning: Option = {
  kind: kinds.choice(['none', 'scales']),
  argument: '<what>',
  help: 'of language models: what of the layers of a block is tuned together when all of them are fitted, for the block to give what the float one gives; scales keeps their codes (default: none)',
  group: 'Method',
};

/** What may differ from layer to layer of a network. */
const ofLayers = { ...without(layer, 'threads', 'signal', 'onProgress'), errorCorrection };
const blockType = { kind: kinds.choice(ggufTypeNames) };
const ofWeights = { ...only(layer, 'bits', 'levels', 'grid', 'groupSize', 'method'), blockType };
const forSome: Option = { kind: kinds.globs('there are no layers that it is about') };

const warning = { onWarning: { kind: kinds.callback } } satisfies Options<WarningOptions>;

const resuming = {
  resume: { kind: kinds.flag, help: 'go on with a run that was interrupted', group: 'Other' },
  otherKernels: {
    kind: kinds.flag,
    help: 'with --resume: go on although another kind of processor began; the bytes are then those of neither',
    group: 'Other',
  },
} satisfies Partial<Options<ModelOptions>>;

const model = {
  ...layer,
  groupSize: { ...layer.groupSize, help: sharing('32') },
  calibration: {
    kind: dataKinds.samples,
    help: 'samples: .npz, .safetensors, .jsonl, .npy; .txt or .jsonl with --tokenizer; images or a folder of them (see below)',
    group: 'Data',
  },
  holdout: {
    kind: dataKinds.samplesOrFraction,
    help: `share of the samples kept out of the fit for the reported error, or a file of others (default: ${defaults.holdout})`,
    group: 'Data',
  },
  ...data,
  preset,
  time,
  errorCorrection,
  weighting,
  operators: {
    kind: kinds.words('operators'),
    help: 'only weights of these operators, with commas between them, such as MatMul,Gemm (default: all that are known but Gather, which holds embeddings)',
    group: 'Layers',
  },
  layers: {
    kind: kinds.globs('leave it out to quantize every layer'),
    help: 'only layers with such names (vertexq inspect lists them)',
    group: 'Layers',
  },
  skip: { kind: kinds.globs(), help: 'all but layers with such names', group: 'Layers' },
  overrides: { kind: kinds.overrides({ layers: forSome, ...ofLayers }) },
  ...target,
  format: {
    kind: kinds.choiceOf(() => namesOf(modelFormats)),
    get help() {
      return `${helpOf(modelFormats)}; the first is the default`;
    },
    group: 'Output',
  },
  externalData: {
    kind: kinds.flag,
    help: 'weights in <output>_data beside the output, as transformers.js finds them (default: where one file cannot hold them)',
    group: 'Output',
  },
  memory: {
    kind: kinds.bytes(0),
    help: 'as 768M or 2G: activations kept between layers, more go to a file (default: 512M)',
    group: 'Other',
  },
  ...resuming,
  ...warning,
} satisfies Options<ModelOptions>;

const checkpoint = {
  ...layer,
  groupSize: { ...layer.groupSize, help: sharing('32; for checkpoints channel') },
  activations: {
    kind: dataKinds.paths('the path of a safetensors file'),
    help: `safetensors of what layers see: rows, or Gram matrices as <name>.gram, by the names of weights (default: none, ${plainMethod})`,
    group: 'Checkpoints (.safetensors)',
  },
  imatrix: {
    kind: kinds.path("the path of an importance matrix, as llama.cpp's llama-imatrix writes it", '<file>'),
    help: 'GGUF files without calibration data: what inputs count, from llama-imatrix (GGUF or .dat)',
    group: 'Checkpoints (.safetensors)',
  },
  calibration: { kind: dataKinds.samples },
  ownSamples: {
    kind: kinds.integer(1, mostOwnSamples),
    help: 'language models without text: instead of --calibration so many windows of tokens (--sequence-length) that the float model draws itself',
    group: 'Checkpoints (.safetensors)',
  },
  ...inParts,
  holdout: { kind: dataKinds.samplesOrFraction },
  ...without(data, 'batchAxis', 'image'),
  preset,
  errorCorrection,
  time,
  weighting,
  tuning,
  format: {
    kind: kinds.choiceOf(() => namesOf(checkpointFormats)),
    get help() {
      return `models: ${helpOf(modelFormats)}; checkpoints: ${helpOf(checkpointFormats)}; the first of each is the default`;
    },
    group: 'Output',
  },
  layers: { kind: kinds.globs('leave it out to quantize all that is usual') },
  skip: { kind: kinds.globs() },
  overrides: { kind: kinds.overrides({ layers: forSome, ...ofWeights }) },
  ...target,
  maxFileSize: {
    kind: kinds.fileSize,
    help: 'GGUF outputs, as 2GB: one that is larger becomes parts, <name>-00001-of-00003.gguf and so on',
    group: 'Checkpoints (.safetensors)',
  },
  memory: {
    kind: checkpointMemory,
    help: 'as 768M or 2G. Models: activations kept between layers, more go to a file (default: 512M). Checkpoints: buffers (default: 768M)',
    group: 'Other',
  },
  ...resuming,
  ...warning,
  allowQuantized: {
    kind: kinds.flag,
    help: 'leave weights that are quantized already as they are (default: they stop the run)',
    group: 'Checkpoints (.safetensors)',
  },
} satisfies Options<CheckpointOptions>;

const compared = {
  methods: {
    kind: kinds.several(kinds.choice(methodNames), 'words', kinds.isWord),
    help: `of ${methodNames.slice(0, -1).join(', ')} and ${methodNames.at(-1)}, with commas (default: ${methodsThat((of) => of.compared).join(',')})`,
    group: '',
  },
  bits: {
    kind: kinds.several(kinds.integer(1, 8), 'whole numbers', kinds.isWholeNumeral),
    help: `bits per weight, 1 to 8, with commas (default: ${defaults.comparedBits.join(',')})`,
    group: '',
  },
} satisfies Partial<Options<CompareOptions>>;

const compareModel = {
  ...compared,
  ...without(
    model,
    'preset',
    'method',
    'bits',
    'levels',
    'resume',
    'otherKernels',
    'onWarning',
    'targetSize',
    'targetBits',
    'targetError',
    'sensitivity',
  ),
  externalData: { kind: kinds.flag }, // for the command no file is kept
  score: { kind: kinds.callback },
} satisfies Options<CompareOptions>;

const evaluate = {
  data: {
    kind: dataKinds.samples,
    help: 'held-out samples, as --calibration of "vertexq quantize" takes them',
    group: 'Data',
    required: true,
  },
  ...data,
  runs: {
    kind: kinds.integer(0, maxRuns),
    help: 'how often each network is timed; 0 for not at all (default: 10)',
    group: 'Running',
  },
  accuracyLevel: {
    kind: kinds.integer(0, 4),
    help: 'for networks with DequantizeLinear (qdq): 1 computes products in float32, 4 rounds activations to 8 bits (default: what onnxruntime does, 4)',
    group: 'Running',
  },
  ...job,
  threads: {
    kind: kinds.integer(1),
    help: 'threads of onnxruntime (default: one a core, at most 8)',
    group: 'Running',
  },
  score: { kind: kinds.callback },
} satisfies Options<EvaluateOptions>;

const evaluateCheckpoint = {
  data: evaluate.data,
  ...evaluated,
  ...job,
} satisfies Options<EvaluateCheckpointOptions>;

const quantizeLayer = {
  ...layer,
  blockType: {
    ...blockType,
    help: 'a block type of GGUF files, which tells bits, grid and groups: scales and minima are what its blocks hold',
    group: 'Alphabet',
  },
} satisfies Options<QuantizeLayerOptions>;

const fitting = ['preset', 'bits', 'levels', 'effort', 'time', 'rank', 'box', 'errorCorrection', 'weighting', 'resume', 'otherKernels', 'onWarning', 'targetSize', 'targetBits', 'targetError', 'sensitivity'] as const; // prettier-ignore

/** Of `measureSensitivity`: those that say what is measured, on what, for which output. */
const sensitivityOfModel = without(model, ...fitting, 'externalData');
const sensitivityOfCheckpoint = {
  ...without(checkpoint, ...fitting, 'tuning', 'activations', 'imatrix', 'maxFileSize'),
  calibration: model.calibration,
  holdout: model.holdout,
};

/** The options of each call. */
export const calls = {
  quantizeLayer,
  preprocess: without(layer, 'method', 'scale', 'effort', 'damping'),
  quantizeModel: model,
  quantizeCheckpoint: checkpoint,
  sensitivityOfModel,
  sensitivityOfCheckpoint,
  compareLayer: { ...compared, ...without(layer, 'method', 'bits', 'levels') },
  compareModel,
  evaluateModel: evaluate,
  evaluateCheckpoint,
  writeCalibrationSet: { calibration: model.calibration, ...without(data, 'batchSize'), signal: job.signal },
  tuneCheckpoint: { ...tuned, ...job },
  verifyCheckpoint: job,
  verifyModel: job,
  runShard: { ...ofShard, ...planned, ...job },
  finishRun: { ...planned, ...job },
  submitRun: submitted,
  runWorker: worked,
  runStatus: asked,
  serveFleet: served,
  cancelRun: cancelled,
} as const satisfies Record<string, Readonly<Record<string, Option>>>;
export type Call = keyof typeof calls;

/** Throws a TypeError or RangeError, with the option's path, at an option that the call does not have, or a value that it does not take. */
export function checkOptions(call: Call, options: unknown): void {
  kinds.checkAll(options, calls[call]);
}
