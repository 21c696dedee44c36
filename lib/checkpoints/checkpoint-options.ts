import { weightedBy } from '../models/curvature/weighted-by';
import { type CheckpointFormat, checkpointFormats, namesOf } from '../encodings/names';
import type { CheckpointEncoding } from '../encodings/safetensors/encoding';
import { checkpointEncodings } from '../encodings/safetensors/table';
import { requirePatterns } from '../globs';
import type { LayerSettings } from '../fit/layer-settings';
import { rowsKind, defaultMethod, plainMethod } from '../methods';
import type { Method } from '../types';
import { alphabetKind, correctionFor, groupSizeFor, methodSettings, rankRule } from '../options';
import { fraction } from '../options/kinds';
import { about, refuse } from '../options/messages';
import { checkTime, deadlineOf, requireDataFor } from '../options/relations';
import { defaults } from '../options/defaults';
import { withPreset } from '../options/presets';
import { checkOptions } from '../options/table';
import { forMethod, type Override, overlay, overridesOf } from '../overrides';
import { checkTarget, hasTarget, targetIn } from '../sensitivity/target';
import type { CheckpointOptions } from './types';

/** Inputs of a layer that is not known yet. */
export const anyInputs = 2 ** 20;

/** The options of a checkpoint with defaults filled in; what depends on a weight's size is left for weightSettings. */
export interface CheckpointSettings {
  options: CheckpointOptions;
  activations: readonly string[];
  holdout: number;
  format: CheckpointFormat;
  encoding: CheckpointEncoding;
  layers: readonly string[] | undefined;
  skip: readonly string[];
  overrides: readonly Override[];
  memory: number;
  resume: boolean;
  otherKernels: boolean;
  /** When the run is to be done, as performance.now() tells it; null: when it is. */
  deadline: number | null;
  /** Whether weights that are quantized already may stay as they are. */
  allowQuantized: boolean;
  /** Whether nothing is run, and texts are only counted that the model would draw. */
  isDry?: boolean;
}

/** Whether the network is run on tokens, whoever gives them. */
export const isFittedToText = ({ calibration, ownSamples }: CheckpointOptions): boolean =>
  calibration !== undefined || ownSamples !== undefined;

/** Checks all options, with and without data, before any file is touched. */
export function checkCheckpointOptions(given: CheckpointOptions): CheckpointSettings {
  checkOptions('quantizeCheckpoint', given);
  const hasFits = isFittedToText(given) || given.activations !== undefined;
  const options = { ...withPreset(given, hasFits) };
  const { format = namesOf(checkpointFormats)[0]!, activations = [], layers, skip = [] } = options;
  const isRun = isFittedToText(options);
  if (options.ownSamples !== undefined)
    for (const name of ['calibration', 'activations'] as const)
      if (options[name] !== undefined)
        refuse(
          ['ownSamples', name],
          `The options "ownSamples" and "${name}" exclude each other: the model draws its own texts, or others are given`,
        );
  if (checkpointEncodings[format].network && options.activations !== undefined)
    refuse(
      ['activations', 'format'],
      `The "activations" option is not for the format "${format}", whose weights are fitted by running the network: give "calibration" data`,
    );
  if (checkpointEncodings[format].mix) refuseGrids(options, format);
  if (options.maxFileSize !== undefined && !checkpointEncodings[format].mix)
    refuse(
      ['maxFileSize', 'format'],
      `The "maxFileSize" option is for GGUF files, not for the format "${format}", whose files are as the input has them`,
    );
  if (options.imatrix !== undefined) {
    if (!checkpointEncodings[format].mix)
      refuse(
        ['imatrix', 'format'],
        `The "imatrix" option is for GGUF files, not for the format "${format}": use "gguf:q4_k_m" or another`,
      );
    for (const name of ['calibration', 'ownSamples', 'activations'] as const)
      if (options[name] !== undefined)
        refuse(
          ['imatrix', name],
          `The options "imatrix" and "${name}" exclude each other: the data tells all that an importance matrix does, and more`,
        );
    if (options.scale === 'max')
      refuse(
        ['imatrix', 'scale'],
        'The "imatrix" option has no effect on the scale "max": leave one of them out',
      );
  }
  if (isRun && options.activations !== undefined)
    refuse(
      ['calibration', 'activations'],
      'The options "calibration" and "activations" exclude each other: the network is run here, or what its layers see was recorded elsewhere',
    );
  checkTime(options, isRun);
  requireDataFor(
    options.holdout,
    'calibration", "ownSamples" or "activations',
    isRun || options.activations !== undefined,
  );
  for (const name of ['tokenizer', 'samples', 'maxLength', 'textField', 'skipBroken'] as const)
    if (options[name] !== undefined && options.calibration === undefined)
      refuse([name], `The "${name}" option is about "calibration" data, which is not given`);
  for (const name of [
    'batchSize',
    'sequenceLength',
    'errorCorrection',
    'weighting',
    'tuning',
    'parts',
  ] as const)
    if (options[name] !== undefined && !isRun)
      refuse([name], `The "${name}" option is about "calibration" data or "ownSamples": neither is given`);
  // Of rows that were recorded a part.
  if (!isRun && options.holdout !== undefined)
    about(['holdout'], () => fraction.check('holdout', options.holdout));
  checkTarget(options, isRun);
  if (hasTarget(options) && (checkpointEncodings[format].isPlain || checkpointEncodings[format].network))
    refuse(
      [targetIn(options)!, 'format'],
      checkpointEncodings[format].isPlain
        ? `The format "${format}" takes as many bytes in every width: a target needs "compressed-tensors", "gptq" or "gguf"`
        : `The format "${format}" takes no target: make the network first ("float"), then quantize that`,
    );
  for (const [i, { blockType }] of (options.overrides ?? []).entries())
    if (blockType !== undefined && !checkpointEncodings[format].mix)
      refuse(
        [`overrides[${i}].blockType`, 'format'],
        `The "overrides[${i}].blockType" option is for GGUF files, not for the format "${format}"`,
      );
  const settings: CheckpointSettings = {
    options,
    activations: typeof activations === 'string' ? [activations] : [...activations],
    holdout: typeof options.holdout === 'number' ? options.holdout : defaults.holdout,
    format,
    encoding: checkpointEncodings[format],
    layers: layers === undefined ? undefined : requirePatterns('layers', layers),
    skip: requirePatterns('skip', skip),
    overrides: [],
    memory: options.memory ?? defaults.checkpointMemory,
    resume: options.resume ?? false,
    deadline: deadlineOf(options),
    otherKernels: options.otherKernels ?? false,
    allowQuantized: options.allowQuantized ?? false,
  };
  const hasData = isRun || settings.activations.length > 0;
  const { method } = methodSettings(options, hasData);
  if (options.tuning === 'scales' && checkpointEncodings[format].mix)
    refuse(
      ['tuning', 'format'],
      `The format "${format}" holds scales in few bits of their own: "tuning" (--tuning) needs one whose scales are numbers`,
    );
  if (options.tuning === 'scales' && method === plainMethod)
    refuse(['tuning', 'method'], `The method "${method}" fits no layer to data: there is nothing to tune`);
  if (isRun) correctionFor(options, method);
  if (hasParts(options)) checkParts(options, method);
  weightSettings(settings, [], anyInputs, hasData);
  const check = (override: Override) => {
    const { method } = override.options;
    if (method !== undefined) methodSettings({ method }, hasData);
    if (method !== undefined && hasParts(options)) checkParts(options, method);
    weightSettings(settings, [override], anyInputs, hasData);
  };
  return { ...settings, overrides: overridesOf(options.overrides, check) };
}

/** Whether sums and fits are made part by part. */
export const hasParts = ({ parts = 1 }: Pick<CheckpointOptions, 'parts'>): boolean => parts > 1;

/** Throws a RangeError at what cannot be done part by part. */
function checkParts({ parts, tuning, time, weighting }: CheckpointOptions, method: Method): void {
  if (weightedBy(weighting).channels)
    refuse(
      ['parts', 'weighting'],
      `The options "parts" and "weighting": "${weighting}" exclude each other: parts fit neurons that are not to depend on those of others`,
    );
  if (tuning === 'scales')
    refuse(
      ['parts', 'tuning'],
      'The options "parts" and "tuning" exclude each other: scales are tuned on all of the text at once. Tune afterwards (vertexq tune)',
    );
  if (time !== undefined)
    refuse(
      ['parts', 'time'],
      'The options "parts" and "time" exclude each other: parts that are made by the clock would not be the same twice',
    );
  if (rowsKind(method, false, true) === 'rows')
    refuse(
      ['parts', 'method'],
      `The method "${method}" needs all rows, not sums of them, which is what ${parts} parts hand to each other: use another method, or one part`,
    );
}

/** Throws a RangeError where an output is called a GGUF file and would be none. */
export function requireNamed(
  output: string,
  { encoding, format }: Pick<CheckpointSettings, 'encoding' | 'format'>,
): void {
  if (!encoding.mix && /\.gguf$/i.test(output))
    refuse(
      ['format'],
      `${output} is called a GGUF file, and the format "${format}" makes none: give the "format" option (--format) "gguf:q4_0" or one like it`,
    );
}

/** Throws a RangeError at what the block types of GGUF files leave no choice of. */
function refuseGrids(options: CheckpointOptions, format: CheckpointFormat): void {
  const fixed = ['bits', 'levels', 'grid', 'groupSize'] as const;
  const all = [
    ['', options] as const,
    ...(options.overrides ?? []).map((own, i) => [`overrides[${i}].`, own] as const),
  ];
  for (const [place, own] of all)
    for (const name of fixed)
      if (own[name] !== undefined)
        refuse(
          [`${place}${name}`, 'format'],
          `The "${place}${name}" option is not for the format "${format}": a block type has its own grid and groups. Use another format, as "gguf:q8_0"`,
        );
  if (options.activations !== undefined)
    refuse(
      ['activations', 'format'],
      `The "activations" option is not for the format "${format}" yet: give "calibration" data, text on which the network is run`,
    );
}

/** The settings of a weight with such overrides. Without data its method is the plain one, whatever the options say. */
export function weightSettings(
  { options, encoding }: Pick<CheckpointSettings, 'options' | 'encoding'>,
  own: readonly Override[],
  inFeatures: number,
  hasData: boolean,
): LayerSettings {
  const overlaid = overlay(options, own);
  if (!hasData) overlaid.options.method = plainMethod;
  const merged = forMethod(overlaid.options.method ?? defaultMethod(hasData), overlaid);
  const settings: LayerSettings = {
    ...alphabetKind(merged, (levels) => encoding.gridFor(levels)),
    ...methodSettings(merged, hasData),
    groupSize: groupSizeFor(merged, inFeatures, encoding.groupSize),
    ...rankRule(merged, inFeatures, 'auto'),
  };
  about(['format', 'bits', 'levels', 'grid', 'groupSize'], () => encoding.check(settings));
  return settings;
}
