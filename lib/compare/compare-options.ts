import { checkScore } from '../evaluate/score';
import { listMethods, methodOptionNames, methodsThat, takersOf, takes, traitsOf } from '../methods';
import { modelOptionNames } from '../models/option-names';
import type { ModelOptions } from '../models/types';
import {
  checkJobOptions,
  describe,
  quantizeOptionNames,
  requireInteger,
  requireKnown,
  requireMethod,
} from '../options';
import type { JobOptions, Method } from '../types';
import type { CompareOptions } from './types';

const defaultBits: readonly number[] = [2, 3, 4];

const notCompared = ['method', 'levels'];
const sharedNames = (names: readonly string[]) => [
  ...names.filter((name) => !notCompared.includes(name)),
  'methods',
];
const layerNames = sharedNames(quantizeOptionNames);
const modelNames = [...sharedNames(modelOptionNames), 'score'];

/** One method at one width, and all options of that run but what follows it. */
export interface RunPlan {
  method: Method;
  bits: number;
  options: Omit<ModelOptions, keyof JobOptions>;
}

/** Checks what to compare. What each run's options mean is for the run to check. */
export function planRuns(options: CompareOptions, what: 'layer' | 'model', corrects: boolean): RunPlan[] {
  requireKnown(options, what === 'layer' ? layerNames : modelNames);
  checkJobOptions(options);
  checkScore(options.score);
  const defaults = methodsThat(({ compared, correctsErrors }) => compared && (correctsErrors || !corrects));
  const methods = listOf('methods', options.methods, defaults).map((name) => requireMethod(name));
  const widths = listOf('bits', options.bits, defaultBits).map((bits) => requireInteger('bits', bits, 1, 8));
  for (const name of methodOptionNames)
    if (options[name] !== undefined && !methods.some((method) => takes(method, name)))
      throw new RangeError(
        `The "${name}" option belongs to ${listMethods(takersOf(name))}: none of the methods to compare takes it`,
      );
  return widths.flatMap((bits) =>
    methods.map((method) => ({ method, bits, options: optionsFor(options, method, bits) })),
  );
}

function listOf<Item>(name: string, given: readonly Item[] | undefined, fallback: readonly Item[]): Item[] {
  if (given === undefined) return [...fallback];
  if (!Array.isArray(given))
    throw new TypeError(`Expected the "${name}" option to be an array, not ${describe(given)}`);
  if (given.length === 0) throw new RangeError(`The "${name}" option is empty: there is nothing to compare`);
  const twice = (given as Item[]).find((item, i) => given.indexOf(item) < i);
  if (twice !== undefined)
    throw new RangeError(`The "${name}" option has ${describe(twice)} twice: each is tried once`);
  return [...(given as Item[])];
}

/** The shared options that a method takes. */
function optionsFor(options: CompareOptions, method: Method, bits: number): RunPlan['options'] {
  const own: RunPlan['options'] = { ...sharedBy(options), method, bits };
  for (const name of methodOptionNames) if (!takes(method, name)) delete own[name];
  // Both are what these methods would refuse; the others need them.
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
export function nameOf({ method, bits }: RunPlan): string {
  return `${method}, ${bits} ${bits === 1 ? 'bit' : 'bits'}`;
}

/** The options of a run that its jobs need; its progress says which run it is. */
export function jobOptions(options: JobOptions, plans: readonly RunPlan[], runIndex: number): JobOptions {
  const { threads, signal, onProgress } = options;
  return {
    ...(threads === undefined ? {} : { threads }),
    ...(signal === undefined ? {} : { signal }),
    ...(onProgress === undefined
      ? {}
      : {
          onProgress: (progress) =>
            onProgress({ ...progress, run: nameOf(plans[runIndex]!), runIndex, runCount: plans.length }),
        }),
  };
}
