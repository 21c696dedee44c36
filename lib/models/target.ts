import { basename } from 'node:path';
import { plainPath } from '../files/plain-path';
import { plainMethod } from '../methods';
import { plannedProvenance, type Provenance } from '../runs/provenance';
import type { RunFiles } from '../runs/run-files';
import { Workspace } from '../runs/workspace';
import { type BudgetReport, chooseWidths, type ChosenWidths, type Target } from '../sensitivity/choose';
import { fittingSensitivity } from '../sensitivity/store';
import { corrects, whereCorrected } from '../sensitivity/corrected';
import { hasTarget, withoutTarget } from '../sensitivity/target';
import { modelLayers } from './layers/model-layers';
import { alphabetsOf, measureModel, modelHash } from './measure-sensitivity';
import { checkModelOptions } from './model-options';
import { selectLayers } from './model-steps';
import { openModel } from './open-model';
import { PlannedBytes } from './planned-bytes';
import { quantizeInto } from './quantize-into';
import { addModelPaths } from './run-files';
import { runtimeVersion } from './runtime';
import type { LayerOverride, ModelOptions } from './types';
import { warn, type Warning } from '../warning-codes';

/** Options with the widths that a target leaves. */
interface TargetedModel {
  options: ModelOptions;
  /** null where there was no target. */
  budget: BudgetReport | null;
  warnings: Warning[];
}

/** `targetedModel`, where there is a target; else at once, so that the caller may change what he gave. */
export function withWidths(
  files: RunFiles,
  input: string,
  to: string,
  given: ModelOptions,
): TargetedModel | Promise<TargetedModel> {
  checkModelOptions(given);
  if (hasTarget(given)) return targetedModel(files, input, to, { ...given });
  return { options: withoutTarget(given), budget: null, warnings: [] };
}

/**
 * Chooses widths so that a network meets its target, and gives them as overrides. How large the output becomes is told by rounding the network without data, into a file that is
 * thrown away. Rejects as `measureModel`, with ERR_VERTEXQ_BUDGET where the target is out of reach, with ERR_VERTEXQ_SENSITIVITY where the sensitivity is of another network or format.
 */
async function targetedModel(
  files: RunFiles,
  input: string,
  to: string,
  given: ModelOptions,
): Promise<TargetedModel> {
  const { format } = checkModelOptions(given);
  const options = withoutTarget(given);
  const { signal, sensitivity: found } = given;
  signal?.throwIfAborted();
  // What stands in the way of an output is said before widths are measured.
  await addModelPaths(files, input, to, given);
  await files.check();
  const sensitivity =
    found === undefined
      ? await measureModel(input, given)
      : await fittingSensitivity(found, input, format, async () => modelHash(await openModel(input)));
  const planning = planningOptions(options);
  const optionsWith = (chosen: readonly ChosenWidths[]): ModelOptions => ({
    ...planning,
    overrides: [...(planning.overrides ?? []), ...(chosen as readonly LayerOverride[])],
  });
  const weights = (chosen: readonly ChosenWidths[]) => weightsOf(input, optionsWith(chosen));
  // As long as what the output will say of itself.
  const runtime = options.calibration === undefined ? null : runtimeVersion();
  const told = (chosen: readonly ChosenWidths[]) => {
    const overrides = [...(options.overrides ?? []), ...chosen];
    return plannedProvenance({ ...options, overrides }, format, runtime);
  };
  const { targetSize, targetBits, targetError } = given;
  const target: Target =
    targetError !== undefined
      ? { change: targetError, of: 'files' }
      : targetSize === undefined
        ? { bytes: Math.floor((targetBits! * (await weights([])).count) / 8), of: 'weights' }
        : { bytes: targetSize, of: 'files' };
  const sizeOf = async (chosen: readonly ChosenWidths[]) =>
    target.of === 'files'
      ? roundedSize(input, to, optionsWith(chosen), told(chosen))
      : (await weights(chosen)).bytes;
  const { report, warnings } = await chooseWidths(
    corrects(given) ? whereCorrected(sensitivity) : sensitivity,
    target,
    sizeOf,
    signal,
  );
  const overrides = [...(options.overrides ?? []), ...(report.overrides as LayerOverride[])];
  return { options: { ...options, overrides }, budget: report, warnings };
}

/** What is said where an output has become larger than was foreseen. */
export function aboveTarget(budget: BudgetReport | null, bytes: number): Warning[] {
  if (budget?.target.of !== 'files' || budget.target.change !== undefined || bytes <= budget.target.bytes)
    return [];
  return [
    warn(
      'WARN_VERTEXQ_ABOVE_TARGET',
      `The files take ${bytes} bytes, ${bytes - budget.target.bytes} more than the target: products that are turned round, which only data tells of, are written in other ways than was foreseen.`,
    ),
  ];
}

/** What of options decides how large things become: nothing is fitted. */
function planningOptions({ overrides, ...given }: ModelOptions): ModelOptions {
  const { format, grid, groupSize, operators, layers, skip, externalData, memory, threads, signal } = given;
  const own = { format, grid, groupSize, operators, layers, skip, externalData, memory, threads, signal };
  return {
    ...(Object.fromEntries(Object.entries(own).filter(([, value]) => value !== undefined)) as ModelOptions),
    ...{ method: plainMethod, scale: 'max' },
    ...(overrides && { overrides: alphabetsOf(overrides) }),
  };
}

/** Of the quantized weights: numbers, and bytes in the output. */
async function weightsOf(input: string, options: ModelOptions): Promise<{ count: number; bytes: number }> {
  const settings = checkModelOptions(options);
  const opened = await openModel(input, settings.encoding);
  const layers = modelLayers((await selectLayers(opened, settings)).layers, opened.weights, settings);
  const planned = new PlannedBytes(opened, layers, settings, true);
  const own = layers.filter((layer) => planned.alikeOf(layer)[0] === layer);
  return {
    count: own.reduce((sum, { outFeatures, inFeatures }) => sum + outFeatures * inFeatures, 0),
    bytes: own.reduce((sum, layer) => sum + planned.of(layer), 0),
  };
}

/** What metadata of a fitted network may have more of than that of a rounded one: names of methods. */
const room = 16;

/** Bytes of the files of an output. */
async function roundedSize(
  input: string,
  to: string,
  options: ModelOptions,
  told: Provenance,
): Promise<number> {
  const settings = checkModelOptions(options);
  const opened = await openModel(input, settings.encoding);
  const { layers } = await selectLayers(opened, settings);
  const workspace = Workspace.temporary();
  try {
    const name = basename(plainPath(to));
    const { files } = await quantizeInto(
      workspace,
      name,
      opened,
      layers,
      null,
      settings,
      options,
      null,
      told,
    );
    return files.reduce((sum, { bytes }) => sum + bytes, room);
  } finally {
    await workspace.end();
  }
}
