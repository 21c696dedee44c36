import { weightedBy } from './curvature/weighted-by';
import { namingMemory } from '../errors';
import { basename, dirname, join } from 'node:path';
import { layerMemory, requireLayerMemory } from '../fit/layer-memory';
import { plainMethod } from '../methods';
import { type PlannedTensor, type RunPlan, runPlan } from '../runs/plan';
import { RunFiles } from '../runs/run-files';
import { needsOf } from '../traversal/needs';
import type { CalibrationSet } from './calibration-set';
import { ModelForward } from './forward/model-forward';
import { isSeen } from './layers/layer';
import { type ModelLayer, modelLayers } from './layers/model-layers';
import type { SelectedLayers } from './model-steps';
import { maxMessageBytes } from '../containers/onnx/codec';
import { typeNameOf } from '../containers/onnx/element-types';
import { dataNames } from '../containers/onnx/serialize';
import { dataLength, dimsOf } from '../containers/onnx/tensor';
import { PlannedBytes } from './planned-bytes';
import { prepareModel } from './prepare';
import { withWidths } from './target';
import type { ModelOptions } from './types';
import { Workspace } from '../runs/workspace';

interface PlannedLayer extends PlannedTensor {
  shape: readonly [number, number];
  /** Of those that share its codes: a tied weight counts once. */
  isFirst: boolean;
}

/** Of each weight: as float32, as float64 for the engine, its codes. */
const roundingMemory = ({ outFeatures, inFeatures }: ModelLayer) => 13 * outFeatures * inFeatures;

/**
 * What `quantizeModel` would do: the network and its data are read, nothing is run and nothing written. Rejects as it does before it runs
 * the network, but that whether the output could be written is not looked at.
 */
export async function planModel(input: string, output: string, given: ModelOptions = {}): Promise<RunPlan> {
  return planModelWith(new RunFiles(), input, output, given);
}

/** `planModel` of a run that reads and writes other files too. */
export async function planModelWith(
  runFiles: RunFiles,
  input: string,
  to: string,
  given: ModelOptions,
): Promise<RunPlan> {
  return namingMemory(input, () => plan(runFiles, input, to, given));
}

async function plan(runFiles: RunFiles, input: string, to: string, given: ModelOptions): Promise<RunPlan> {
  const widths = withWidths(runFiles, input, to, given);
  const targeted = widths instanceof Promise ? await widths : widths;
  const { output, settings, opened, found, data } = await prepareModel(
    runFiles,
    input,
    to,
    targeted.options,
    true,
  );
  const layers = modelLayers(found.layers, opened.weights, settings);
  // Nothing is made of its workspace while it does not run.
  const needs = data
    ? needsOf(
        new ModelForward(opened, layers, data, new Workspace(output), 0),
        weightedBy(settings.weighting),
      )
    : [];
  let fits = 0;
  for (const fit of needs) {
    requireLayerMemory(fit);
    fits = Math.max(fits, layerMemory(fit));
  }
  const planned = plannedLayers(layers, new PlannedBytes(opened, layers, settings, data !== null));
  const sum = (of: (layer: PlannedLayer) => number) =>
    planned.reduce((total, layer) => total + (layer.isFirst ? of(layer) : 0), 0);
  const weightsBefore = sum(({ bytes }) => bytes.before);
  const weightsAfter = sum(({ bytes }) => bytes.after);
  const after = opened.used - weightsBefore + weightsAfter;
  return runPlan(
    {
      ...{ input, output, format: settings.format },
      files: filesOf(output, after, settings.externalData),
      tensors: [...planned.map(({ isFirst: _, ...layer }) => layer), ...leftTensors(found)],
      skipped: found.skipped,
      bytes: { before: opened.size, after, weightsBefore, weightsAfter },
      fitted: data ? layers.filter(isSeen).length : 0,
      ...{ tokens: null, seconds: null },
      memory: bytesOf(data) + layers.reduce((most, layer) => Math.max(most, roundingMemory(layer)), fits),
      warnings: [...found.warnings, ...targeted.warnings, ...(data?.warnings ?? [])],
      ...(targeted.budget && { budget: targeted.budget }),
    },
    sum(({ shape }) => shape[0] * shape[1]),
  );
}

function plannedLayers(layers: readonly ModelLayer[], planned: PlannedBytes): PlannedLayer[] {
  return layers.map((layer) => {
    const { name, constant, outFeatures, inFeatures } = layer;
    const { method, bits, groupSize } = layer.settings;
    const { tensor } = constant;
    const after = planned.of(layer);
    return {
      ...{ name, dtype: typeNameOf(tensor.dataType), shape: [outFeatures, inFeatures] as const },
      ...{ action: 'quantize', reason: null, method: isSeen(layer) ? method : plainMethod, bits, groupSize },
      ...{ bytes: { before: dataLength(tensor), after }, isFirst: planned.alikeOf(layer)[0] === layer },
    };
  });
}

const leftTensors = ({ skipped, left }: SelectedLayers): PlannedTensor[] =>
  skipped.map(({ name, reason, bytes }, i) => ({
    ...{ name, dtype: left[i] ? typeNameOf(left[i].dataType) : null, shape: left[i] ? dimsOf(left[i]) : [] },
    ...{ action: 'copy', reason, method: null, bits: null, groupSize: null },
    bytes: { before: bytes, after: bytes },
  }));

/** Data of its own, where it is asked for or one file cannot hold all. */
function filesOf(output: string, bytes: number, externalData: boolean | undefined): string[] {
  const name = basename(output);
  const isOne = !(externalData ?? bytes > maxMessageBytes);
  return [...(isOne ? [] : dataNames(name, bytes)), name].map((file) => join(dirname(output), file));
}

/** Of the numbers that the network would be fed. */
function bytesOf(data: CalibrationSet | null): number {
  let bytes = 0;
  for (const feed of data ? [...data.fit, ...data.holdout] : [])
    for (const { data: numbers } of Object.values(feed))
      bytes += ArrayBuffer.isView(numbers) ? numbers.byteLength : 0;
  return bytes;
}
