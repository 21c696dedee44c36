import { environment } from '../environment';
import { floatBytes } from '../containers/safetensors/dtypes';
import { layerErrors, noErrors, storedBits, zeroWarnings } from '../fit/layer-errors';
import { plainMethod } from '../methods';
import { runtimeVersion } from '../models/runtime';
import type { DataCounts } from '../models/types';
import type { Provenance } from '../runs/provenance';
import type { LayerReport } from '../types';
import { Turns } from '../yielding';
import type { CheckpointSettings } from './checkpoint-options';
import type { Findings } from './findings';
import type { Plan } from './plan';
import { skippedOf, weightBytes } from './plan-views';
import { layerName, type PlannedWeight } from './planned-weight';
import type { UnitRunner } from './run-units';
import type { CheckpointReport } from './types';

/** What came of a plan's weights. */
export interface Made {
  layers: LayerReport[];
  /** Bytes of the input whose work an earlier run had done. */
  resumed: number;
  /** Of the files that hold the weights, and of those that were quantized. */
  bytes: number;
  weightsAfter: number;
  /** Of the bytes of units, where there are any. */
  checksums: ReadonlyMap<string, string>;
}

/** Of shards. */
export async function madeOf(plan: Plan, { findings, resumed, checksums }: UnitRunner): Promise<Made> {
  const turns = new Turns();
  const layers: LayerReport[] = [];
  for (const weight of plan.weights) {
    if (turns.due) await turns.next();
    layers.push(layerReport(weight, findings));
  }
  const bytes = plan.shards.reduce((sum, { size }) => sum + size, 0);
  return { layers, resumed, bytes, weightsAfter: weightBytes(plan).after, checksums };
}

/** What a run did. Its seconds are left for the caller. */
export async function reportOf(
  input: string,
  output: string,
  plan: Plan,
  { format }: CheckpointSettings,
  made: Made,
  calibration: DataCounts | null,
  provenance: Provenance,
): Promise<Omit<CheckpointReport, 'seconds'>> {
  const turns = new Turns();
  const kept = plan.left;
  const copied = { tensors: kept.size, bytes: 0 };
  if (kept.size > 0)
    for (const { source } of plan.shards)
      for (const [name, { byteLength }] of source.tensors) if (kept.has(name)) copied.bytes += byteLength;
  return {
    schemaVersion: 1,
    input,
    output,
    format,
    layers: made.layers,
    skipped: await skippedOf(plan, turns),
    bytes: {
      before: plan.shards.reduce((sum, { source }) => sum + source.size, 0),
      after: made.bytes,
      weightsBefore: weightBytes(plan).before,
      weightsAfter: made.weightsAfter,
    },
    warnings: plan.warnings,
    environment: environment(calibration && runtimeVersion()),
    provenance,
    copied,
    calibration,
    resumed: made.resumed,
  };
}

function layerReport(weight: PlannedWeight, findings: Findings): LayerReport {
  const { shape, dtype, layout, settings } = weight;
  const bytes = { before: shape[0] * shape[1] * floatBytes[dtype], after: layout.byteLength };
  const found = findings.of(weight);
  const stored = storedBits(bytes.after, shape);
  if ('report' in found) return { ...found.report, bytes, storedBits: stored };
  const { error, signal, zeroedGroups, seconds } = found;
  const weightError = signal === 0 ? 0 : Math.sqrt(error / signal);
  return {
    name: layerName(weight),
    kind: 'Linear',
    shape: [...shape],
    method: plainMethod,
    fellBackFrom: null,
    errorCorrection: false,
    bits: settings.bits,
    groupSize: settings.groupSize,
    samples: 0,
    rank: 0,
    freeEntries: shape[1],
    error: layerErrors(noErrors, null, weightError),
    weighted: null,
    sqnrDb: null,
    sphereGapDb: null,
    passes: null,
    walked: null,
    damping: null,
    bound: null,
    seconds,
    bytes,
    storedBits: stored,
    warnings: zeroWarnings(weightError, zeroedGroups, shape, settings.groupSize),
  };
}
