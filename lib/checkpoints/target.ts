import { namingMemory } from '../errors';
import { anyGguf } from '../encodings/names';
import { plainMethod } from '../methods';
import { checkpointPath, refuse, requirePath } from '../options/messages';
import { runtimeVersion } from '../models/runtime';
import { plannedProvenance, type Provenance } from '../runs/provenance';
import type { RunFiles } from '../runs/run-files';
import { type BudgetReport, chooseWidths, type ChosenWidths, type Target } from '../sensitivity/choose';
import { fittingSensitivity } from '../sensitivity/store';
import { corrects, whereCorrected } from '../sensitivity/corrected';
import { hasTarget, withoutTarget } from '../sensitivity/target';
import { Turns } from '../yielding';
import { checkCheckpointOptions, type CheckpointSettings, requireNamed } from './checkpoint-options';
import { planGguf } from './gguf/plan';
import { inputHash, measureCheckpoint, withoutMethods } from './measure-sensitivity';
import { type Plan, planOf } from './plan';
import { weightBytes } from './plan-views';
import { runsNetwork, withPrepared } from './prepare';
import type { Prepared } from './prepared';
import { addCheckpointPaths } from './run-files';
import { openSource, type Source } from './source';
import type { CheckpointOptions, WeightOverride } from './types';
import type { Warning } from '../warning-codes';

/** `withPrepared`, with widths that meet the target, if there is one. `use`: with how they were chosen. */
export async function withTarget<Result>(
  files: RunFiles,
  input: string,
  to: string,
  given: CheckpointOptions,
  use: (prepared: Prepared, budget: BudgetReport | null) => Promise<Result>,
  isDry = false,
): Promise<Result> {
  requirePath('input', input, checkpointPath);
  requirePath('output', to, checkpointPath);
  const settings = checkCheckpointOptions(given);
  // Without a target at once: the caller may change what he gave.
  const { options, budget, warnings } = hasTarget(given)
    ? await targeted(files, input, to, { ...given }, settings)
    : { options: withoutTarget(given), budget: null, warnings: [] };
  if (!hasTarget(given) && settings.format === anyGguf)
    refuse(['format'], 'The format "gguf" chooses a type for each tensor by a target: give "targetSize", "targetBits" or "targetError", or a format such as "gguf:q4_k_m"'); // prettier-ignore
  const told = (prepared: Prepared) => {
    prepared.plan.warnings.push(...warnings);
    return use(prepared, budget);
  };
  return namingMemory(input, () => withPrepared(files, input, to, options, told, isDry));
}

/** Options with the widths that a target leaves. */
interface Targeted {
  options: CheckpointOptions;
  budget: BudgetReport;
  warnings: Warning[];
}

/**
 * Chooses widths so that a checkpoint meets its target, and gives them as overrides. Rejects as `measureCheckpoint`, with ERR_VERTEXQ_BUDGET where the target is out of reach, with ERR_VERTEXQ_SENSITIVITY where the
 * sensitivity is of another network or format.
 */
async function targeted(
  files: RunFiles,
  input: string,
  to: string,
  given: CheckpointOptions,
  settings: CheckpointSettings,
): Promise<Targeted> {
  const options = withoutTarget(given);
  requireNamed(to, settings);
  given.signal?.throwIfAborted();
  // What stands in the way of an output is said before widths are measured.
  await addCheckpointPaths(files, input, to, given);
  await files.check();
  const { signal } = given;
  const planning = planningOptions(options);
  const measured = given.sensitivity === undefined ? await measureCheckpoint(input, given) : null;
  const source = await openSource(input, checkCheckpointOptions(planning));
  try {
    const sensitivity =
      measured ??
      (await fittingSensitivity(given.sensitivity!, input, settings.format, () => inputHash(source.inputs)));
    const turns = new Turns(signal);
    const runtime = runsNetwork(settings) ? runtimeVersion() : null;
    const planWith = (chosen: readonly ChosenWidths[]) => {
      const overrides = [...(planning.overrides ?? []), ...asOverrides(chosen)];
      const told = [...(options.overrides ?? []), ...asOverrides(chosen)];
      const provenance = plannedProvenance({ ...options, overrides: told }, settings.format, runtime);
      return planned(source, checkCheckpointOptions({ ...planning, overrides }), provenance, turns);
    };
    const target = targetOf(given, await planWith([]));
    const sizeOf = async (chosen: readonly ChosenWidths[]) => {
      const plan = await planWith(chosen);
      return target.of === 'files' ? filesBytes(plan) : weightBytes(plan).after;
    };
    const { report, warnings } = await chooseWidths(
      corrects(given) ? whereCorrected(sensitivity) : sensitivity,
      target,
      sizeOf,
      signal,
    );
    const overrides = [...(options.overrides ?? []), ...asOverrides(report.overrides)];
    return { options: { ...options, overrides }, budget: report, warnings };
  } finally {
    await source.close();
  }
}

const filesBytes = ({ shards }: Plan) => shards.reduce((sum, { size }) => sum + size, 0);
const asOverrides = (chosen: readonly ChosenWidths[]) => chosen as readonly WeightOverride[];

function targetOf({ targetSize, targetBits, targetError }: CheckpointOptions, plan: Plan): Target {
  if (targetError !== undefined) return { change: targetError, of: 'files' };
  if (targetSize !== undefined) return { bytes: targetSize, of: 'files' };
  const numbers = plan.weights.reduce((sum, { shape }) => sum + shape[0] * shape[1], 0);
  return { bytes: Math.floor((targetBits! * numbers) / 8), of: 'weights' };
}

/** What of options decides how large things become: nothing is fitted. */
function planningOptions({ overrides, ...given }: CheckpointOptions): CheckpointOptions {
  const { format, grid, groupSize, layers, skip, allowQuantized, maxFileSize, memory, signal } = given;
  const own = { format, grid, groupSize, layers, skip, allowQuantized, maxFileSize, memory, signal };
  const options = Object.fromEntries(Object.entries(own).filter(([, value]) => value !== undefined));
  return {
    ...options,
    method: plainMethod,
    ...(overrides && { overrides: withoutMethods(overrides) }),
  };
}

/** Where everything would lie, without data. */
function planned(
  { model, checkpoint, identity }: Source,
  settings: CheckpointSettings,
  provenance: Provenance,
  turns: Turns,
): Promise<Plan> {
  return model
    ? planGguf(model, settings, null, provenance, turns)
    : planOf(checkpoint, settings, null, null, identity, provenance);
}
