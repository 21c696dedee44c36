import { environment } from '../environment';
import { floatBytes } from '../formats/safetensors/dtypes';
import { plainMethod } from '../methods';
import type { LayerReport } from '../types';
import type { CheckpointSettings } from './checkpoint-options';
import { bytesOf, specsOf } from '../encodings/safetensors/layout';
import { layerName, type Plan, type PlannedWeight, skippedOf, weightBytes } from './plan';
import type { UnitRunner } from './run-units';
import type { CheckpointReport } from './types';

/** What a run did. Its seconds and the bytes of its files are left for the caller. */
export function reportOf(
  input: string,
  output: string,
  plan: Plan,
  { format }: CheckpointSettings,
  runner: UnitRunner,
): Omit<CheckpointReport, 'seconds'> {
  const { before, after } = weightBytes(plan);
  const layers = plan.weights.map((weight) => layerReport(weight, runner));
  const kept = plan.left;
  const copied = { tensors: kept.size, bytes: 0 };
  for (const { source } of plan.shards)
    for (const [name, { byteLength }] of source.tensors) if (kept.has(name)) copied.bytes += byteLength;
  return {
    input,
    output,
    format,
    layers,
    skipped: skippedOf(plan),
    bytes: {
      before: plan.shards.reduce((sum, { source }) => sum + source.size, 0),
      after: plan.shards.reduce((sum, { layout }) => sum + layout.size, 0),
      weightsBefore: before,
      weightsAfter: after,
    },
    warnings: plan.warnings,
    environment: environment(),
    copied,
    resumed: runner.resumed,
  };
}

function layerReport(weight: PlannedWeight, { facts }: UnitRunner): LayerReport {
  const { shape, dtype, layout, settings } = weight;
  const found = [...(facts.get(weight) ?? [])].sort((a, b) => a.row - b.row);
  const bytes = {
    before: shape[0] * shape[1] * floatBytes[dtype],
    after: bytesOf(specsOf(layout)),
  };
  let [error, signal, seconds] = [0, 0, 0];
  for (const { facts: part } of found) {
    if ('report' in part) return { ...part.report, bytes };
    error += part.error;
    signal += part.signal;
    seconds += part.seconds;
  }
  return {
    name: layerName(weight),
    kind: 'Linear',
    shape,
    method: plainMethod,
    fellBackFrom: null,
    errorCorrection: false,
    bits: settings.bits,
    groupSize: settings.groupSize,
    samples: 0,
    rank: 0,
    freeEntries: shape[1],
    error: { calibration: null, holdout: null, weight: signal === 0 ? 0 : Math.sqrt(error / signal) },
    sqnrDb: null,
    sphereGapDb: null,
    passes: null,
    walked: null,
    damping: null,
    bound: null,
    seconds,
    bytes,
    warnings: [],
  };
}
