import { listMethods, methodOptionNames, methodsThat, takersOf, takes, traitsOf } from '../methods';
import type { ModelOptions } from '../models/types';
import { defaults } from '../options/defaults';
import { checkOptions } from '../options/table';
import type { JobOptions, Method } from '../types';
import type { CompareOptions } from './types';

/** One method at one width, with all options of that run but those of the job (threads, signal, progress). */
export interface RunChoice {
  method: Method;
  bits: number;
  options: Omit<ModelOptions, keyof JobOptions>;
}

/** Checks what to compare. What each run's options mean is for the run to check. */
export function chooseRuns(options: CompareOptions, what: 'layer' | 'model', corrects: boolean): RunChoice[] {
  checkOptions(what === 'layer' ? 'compareLayer' : 'compareModel', options);
  const {
    methods = methodsThat(({ compared, correctsErrors }) => compared && (correctsErrors || !corrects)),
    bits: widths = defaults.comparedBits,
  } = options;
  for (const name of methodOptionNames)
    if (options[name] !== undefined && !methods.some((method) => takes(method, name)))
      throw new RangeError(
        `The "${name}" option belongs to ${listMethods(takersOf(name))}: none of the methods to compare takes it`,
      );
  return widths.flatMap((bits) =>
    methods.map((method) => ({ method, bits, options: optionsFor(options, method, bits) })),
  );
}

/** The shared options that a method takes. */
function optionsFor(options: CompareOptions, method: Method, bits: number): RunChoice['options'] {
  const own: RunChoice['options'] = { ...sharedBy(options), method, bits };
  for (const name of methodOptionNames) if (!takes(method, name)) delete own[name];
  // These methods would refuse the two options, which the others are to have.
  const { scales, correctsErrors } = traitsOf(method);
  if (own.scale && !scales.includes(own.scale)) delete own.scale;
  if (!correctsErrors && own.errorCorrection === true) delete own.errorCorrection;
  return own;
}

function sharedBy({
  methods: _methods,
  bits: _bits,
  score: _score,
  threads: _threads,
  signal: _signal,
  onProgress: _onProgress,
  ...shared
}: CompareOptions) {
  return shared;
}

/** How a run is called in progress. */
export function nameOf({ method, bits }: RunChoice): string {
  return `${method}, ${bits} ${bits === 1 ? 'bit' : 'bits'}`;
}

/** The options of a run that its jobs need; its progress says which run it is. */
export function jobOptions(options: JobOptions, choices: readonly RunChoice[], runIndex: number): JobOptions {
  const { threads, signal, onProgress } = options;
  return {
    ...(threads === undefined ? {} : { threads }),
    ...(signal === undefined ? {} : { signal }),
    ...(onProgress === undefined
      ? {}
      : {
          onProgress: (progress) =>
            onProgress({ ...progress, run: nameOf(choices[runIndex]!), runIndex, runCount: choices.length }),
        }),
  };
}
