import { lstat, readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { kernels } from '../../environment';
import { namingMemory, VertexqError } from '../../errors';
import { plainPath } from '../../files/plain-path';
import { describe } from '../../options/messages';
import { type Difference, firstDifference } from '../../runs/difference';
import type { RunFiles } from '../../runs/run-files';
import { warn, type Warning } from '../../warning-codes';
import { checkCheckpointOptions, type CheckpointSettings } from '../checkpoint-options';
import { shardPaths } from '../output-files';
import { withPrepared } from '../prepare';
import type { Prepared } from '../prepared';
import { addCheckpointPaths } from '../run-files';
import type { CheckpointOptions } from '../types';
import { dataPaths, decidingOf, plannedInput } from './plan-file';
import { readPlan, type ReadPlan, unfit } from './read-plan';
import type { PlanFile, PlannedRunOptions } from './types';

/** A plan that is of what is here. */
export interface OpenPlan {
  plan: PlanFile;
  prepared: Prepared;
  /** Where the input is. */
  input: string;
  /** Where the output goes in the end. */
  output: string;
  /** Where results are kept. */
  folder: string;
  warnings: Warning[];
}

/** The folder beside an output in which results are kept. */
export const resultsOf = (planId: string, output: string): string =>
  join(dirname(output), `.vertexq-${planId.slice(0, 32)}`);

/**
 * Runs `use` on a plan. Of what it says nothing is believed: it is made anew from its input and options, and any difference rejects with ERR_VERTEXQ_PLAN.
 * `madeIn`: where the output is made, by the folder of results; default: at its place.
 */
export async function withPlan<Result>(
  files: RunFiles,
  given: string | PlanFile,
  { input, output: to, memory, otherKernels = false, ...job }: PlannedRunOptions,
  use: (opened: OpenPlan) => Promise<Result>,
  madeIn?: (folder: string) => string,
): Promise<Result> {
  const read = await readPlan(given);
  const { plan, called } = read;
  const warnings = requireKernels(read, otherKernels);
  const options: CheckpointOptions = { ...plan.options, ...job, ...(memory !== undefined && { memory }) };
  await requireOptions(read, options);
  const from = input ?? plan.input;
  const output = plainPath(to ?? plan.output);
  if (basename(output) !== basename(plan.output))
    throw new RangeError(
      `Expected the "output" option to be a path that ends in ${describe(basename(plan.output))}, as in the plan, not ${describe(output)}`,
    );
  const folder = resultsOf(plan.id, output);
  await addCheckpointPaths(files, from, output, options);
  const made = madeIn ? join(madeIn(folder), basename(output)) : output;
  const onPrepared = async (prepared: Prepared) => {
    requireSame(called, plan, await decidingOf(prepared, plan.input, plan.output, plan.kernels));
    await requireNotThere(prepared, output);
    return use({ plan, prepared, input: from, output, folder, warnings });
  };
  return namingMemory(from, () => withPrepared(files, from, made, options, onPrepared, false, plan.kernels));
}

/** Throws ERR_VERTEXQ_PLAN where this machine computes with other kernels; if it may, returns what to say of it. */
function requireKernels({ called, plan }: ReadPlan, isAllowed: boolean): Warning[] {
  const own = kernels();
  const { blas, simd } = plan.kernels;
  if (own.blas === blas && own.simd === simd) return [];
  const told = `it is for kernels of ${describe(blas)} and ${describe(simd)}, and this machine has ${own.blas} and ${own.simd}`;
  if (isAllowed)
    return [
      warn(
        'WARN_VERTEXQ_OTHER_KERNELS',
        `${called}: ${told}: the output may differ in its last bits from what either would have written.`,
      ),
    ];
  throw unfit(
    called,
    `${told}, which may round otherwise. Set OPENBLAS_CORETYPE and VERTEXQ_SIMD to what the plan has where this processor can, plan with what all of them can, or give "otherKernels" (--other-kernels)`,
  );
}

/** Throws ERR_VERTEXQ_PLAN at options that no plan has, and where data is not what it was. */
async function requireOptions({ called, plan }: ReadPlan, options: CheckpointOptions): Promise<void> {
  let settings;
  try {
    settings = checkCheckpointOptions(plan.options);
  } catch (cause) {
    throw unfit(called, `its options are wrong: ${(cause as Error).message}`, cause);
  }
  requireUnits(plan.input, settings);
  // Before anyone looks into them: no file is read that the plan does not know already.
  for (const path of dataPaths(options)) {
    const planned = plan.inputs.find(({ name }) => name === path);
    requireEqual(called, planned, await plannedInput(path, path), describe(path));
  }
}

/** Throws ERR_VERTEXQ_PLAN, naming what differs, where a plan is not of what is here. */
function requireSame(
  called: string,
  { summary: _, ...plan }: PlanFile,
  own: Omit<PlanFile, 'summary'>,
): void {
  for (const [i, input] of own.inputs.entries())
    requireEqual(called, plan.inputs[i], input, `the input's ${describe(input.name)}`);
  for (const [i, file] of own.files.entries())
    requireEqual(called, plan.files[i], file, `the output's ${describe(file.name)}`);
  for (const [i, unit] of own.units.entries()) requireEqual(called, plan.units[i], unit, `units[${i}]`);
  for (const name of ['inputs', 'files', 'units'] as const)
    requireEqual(called, plan[name].length, own[name].length, `the number of ${name}`);
  const rest = ({ inputs: _i, files: _f, units: _u, ...others }: typeof own) => others;
  requireEqual(called, rest(plan), rest(own), 'it');
}

function requireEqual(called: string, planned: unknown, own: unknown, what: string): void {
  let found: Difference | undefined;
  try {
    found = firstDifference(planned, own, '');
  } catch (cause) {
    throw unfit(called, `${what} is nested more deeply than any plan`, cause);
  }
  if (found)
    throw unfit(called, `${told(found, what)}. What is read has been written since, or the plan was changed`);
}

const told = ({ where, before, now }: Difference, what: string) =>
  `${where === '' ? '' : `"${where}" of `}${what} was ${short(before)} and is now ${short(now)}`;
const short = (text = 'not given') => (text.length > 80 ? `${text.slice(0, 77)}...` : text);

/** Throws ERR_VERTEXQ_EXISTS where the output is there already; an empty folder may be. */
export async function requireNotThere(prepared: Prepared, output: string): Promise<void> {
  const [first] = shardPaths({ ...prepared, output });
  const path = prepared.isFile ? first! : output;
  const found = await lstat(path).catch(() => undefined);
  const isFree = !found || (!prepared.isFile && found.isDirectory() && (await readdir(path)).length === 0);
  if (!isFree)
    throw new VertexqError(
      'ERR_VERTEXQ_EXISTS',
      `${path} is there already: remove it, or plan for another output`,
    );
}

/** Throws ERR_VERTEXQ_UNSUPPORTED where a run cannot be done by several. */
export function requireUnits(input: string, { options, format, encoding }: CheckpointSettings): void {
  const why = encoding.network
    ? `the format "${format}" is one network`
    : options.ownSamples !== undefined
      ? 'each worker would have to draw the texts of "ownSamples": draw them once, and give them as "calibration"'
      : options.tuning === 'scales'
        ? 'scales are tuned ("tuning") on all of the text at once'
        : options.time !== undefined
          ? 'what is made by the clock ("time") would not be the same twice'
          : isOfFiles(options)
            ? undefined
            : 'other processes can read "calibration", "holdout" and "tokenizer" only where they are paths of files';
  if (why === undefined) return;
  throw new VertexqError(
    'ERR_VERTEXQ_UNSUPPORTED',
    `${input} cannot be planned for several workers, as ${why}. "vertexq quantize" does it`,
  );
}

/** Whether data is where a path leads. */
function isOfFiles({ calibration = [], holdout = [] }: CheckpointOptions): boolean {
  return [calibration, typeof holdout === 'number' ? [] : holdout]
    .flat()
    .every((path) => typeof path === 'string');
}
