import { basename } from 'node:path';
import { located, namingMemory, VertexqError } from '../errors';
import { describe } from '../options/messages';
import { fewOf } from '../reports/text';
import { byNames, checksumKey, noChecksum, summedOutput, writeChecksum } from '../runs/own-checksum';
import { type Provenance, provenanceKey, provenanceText } from '../runs/provenance';
import type { LayerReport, SkippedWeight } from '../types';
import { version } from '../version';
import { dataOptionsOf, type CalibrationSet, prepareCalibrationSet } from './calibration-set';
import { aliveValues } from './forward/alive-values';
import { chooseLayers } from './layers/choose-layers';
import { findLayers } from './layers/find-layers';
import type { Layer, SkippedLayer } from './layers/layer';
import { otherWeights, unreadParts } from './layers/other-weights';
import type { ModelSettings } from './model-options';
import type { ModelProto, TensorProto } from '../containers/onnx/onnx_pb';
import { type Serialized, serializeModel } from '../containers/onnx/serialize';
import { dataLength } from '../containers/onnx/tensor';
import { addMetadata, describeValue } from '../containers/onnx/value-info';
import type { OpenModel } from './open-model';
import type { DataOptions, Feeds, ModelOptions } from './types';
import type { Workspace } from '../runs/workspace';
import { assemble, type Replacement } from './write/assemble';
import type { WeightStores } from './write/stores';
import { warn, type Warning } from '../warning-codes';

// The steps from an ONNX file to a quantized one, for those who go them once or several times.

/** What a run takes on, and what it leaves. */
export interface SelectedLayers {
  layers: Layer[];
  skipped: SkippedWeight[];
  /** Of the latter those that are one tensor, in the same order. */
  left: TensorProto[];
  warnings: Warning[];
}

/** The layers to quantize. Rejects where there are none, or one's weight is not what it says: not after hours of work for others. */
export async function selectLayers(
  { file, graph, model, weights }: OpenModel,
  settings: Pick<ModelSettings, 'operators' | 'layers' | 'skip' | 'format' | 'encoding' | 'overrides'>,
): Promise<SelectedLayers> {
  const all = findLayers(graph);
  const found = chooseLayers(all, file, settings, () => otherWeights(graph, all));
  const layers = found.layers.filter((layer) => {
    const reason = settings.encoding.unfit(layer);
    if (reason === undefined) return true;
    found.skipped.push({ name: layer.name, reason, choice: false, tensor: layer.constant.tensor });
    return false;
  });
  const last = found.skipped.at(-1);
  if (layers.length === 0)
    throw new VertexqError(
      'ERR_VERTEXQ_NO_LAYERS',
      `${file} has no layer to quantize in the format "${settings.format}": "${last!.name}" is left, ${last!.reason}`,
    );
  settings.overrides.requireFit(layers, file);
  for (const layer of layers)
    try {
      await weights.check(layer.constant.tensor);
    } catch (error) {
      throw located(`layer "${layer.name}"`, error);
    }
  const unread = unreadParts(model).map((part) => ({
    ...part,
    reason: 'this version does not look for weights in them',
    choice: false,
  }));
  const left = [...found.skipped, ...otherWeights(graph, all)];
  return {
    layers,
    skipped: [...countedOnce(left, layers), ...unread],
    left: left.map(({ tensor }) => tensor),
    warnings: noDefaults(model, layers),
  };
}

/** Since version 4 of the format, an initializer that is an input too is what it is unless something else is fed: its weight can be no more. */
function noDefaults({ graph, irVersion }: ModelProto, layers: readonly Layer[]): Warning[] {
  if (irVersion < 4n) return [];
  const fed = new Set(graph!.input.map(({ name }) => name));
  const lost = [...new Set(layers.map(({ constant }) => constant.tensor.name))].filter((name) =>
    fed.has(name),
  );
  if (lost.length === 0) return [];
  return [
    warn(
      'WARN_VERTEXQ_FED_WEIGHTS',
      `${fewOf(lost.map(describe), 4)}: the network lets these weights be fed in place of its own, the quantized one does not.`,
    ),
  ];
}

/** Weights that are left with their bytes: none where a tensor counts elsewhere, so that sums are right. */
function countedOnce(skipped: readonly SkippedLayer[], layers: readonly Layer[]): SkippedWeight[] {
  const counted = new Set(layers.map(({ constant }) => constant.tensor));
  return skipped.map(({ tensor, ...weight }) => {
    const bytes = counted.has(tensor) ? 0 : dataLength(tensor);
    counted.add(tensor);
    return { ...weight, bytes };
  });
}

/** The calibration data of `options`, which must have some, cut for a run of the network up to its layers. Without `runs` nothing is run to learn how. */
export async function prepareData(
  opened: OpenModel,
  layers: readonly Layer[],
  {
    calibration,
    holdout,
    signal,
    ...options
  }: Pick<ModelOptions, 'calibration' | 'holdout' | 'signal' | keyof DataOptions>,
  runs = true,
): Promise<CalibrationSet> {
  return prepareCalibrationSet(calibration!, {
    ...dataOptionsOf(options),
    ...{ holdout, signal },
    inputs: opened.graph.inputs.map(describeValue),
    ...(runs && { alive: (feeds: Feeds) => aliveValues(opened, layers, feeds, signal) }),
  });
}

/** A quantized network, in files of the workspace. */
export interface WrittenModel extends Serialized {
  /** Each layer's report, with its bytes in the file. */
  layers: LayerReport[];
  /** Bytes of the quantized layers' weights. */
  weights: { before: number; after: number };
}

/** What of a run's settings is told in its output, and how that is written. */
export type ToldSettings = Pick<
  ModelSettings,
  'method' | 'kind' | 'groupSize' | 'errorCorrection' | 'externalData'
> & { format: string };

/** What an output says of itself besides; null where it is not kept. */
export type Told = ToldSettings & { provenance: Provenance | null };

/** Puts quantized weights into a model, which is changed, and writes it to a workspace, as `name`. */
export async function writeModel(
  { model, weights }: OpenModel,
  replacements: readonly Replacement[],
  stores: WeightStores,
  name: string,
  workspace: Workspace,
  settings: Told,
  signal: AbortSignal | undefined,
): Promise<WrittenModel> {
  assemble(model, replacements, stores.names);
  const layers = replacements.map(({ report }) => report);
  addMetadata(model, metadataOf(model, layers, settings));
  const { files } = await serializeModel(model, weights, basename(name), {
    externalData: settings.externalData,
    create: (file) => workspace.create(file),
    begun: stores.begunFiles,
    signal,
  });
  if (settings.provenance) await namingMemory(name, () => seal(files, workspace, signal));
  return { files, layers, weights: weightTotals(replacements) };
}

/** Has the network's file, the last, say the checksum of all. */
async function seal(
  files: Serialized['files'],
  workspace: Workspace,
  signal: AbortSignal | undefined,
): Promise<void> {
  const network = files.at(-1)!;
  const data = byNames(files.slice(0, -1), ({ name }) => name);
  const others = data.map(({ name, bytes }) => summedOutput(workspace.file(name), bytes));
  await writeChecksum(workspace.file(network.name), network.bytes, others, signal);
}

/** Layers that a run before quantized, and this one does not see any more, stay told. */
function metadataOf(
  model: ModelProto,
  layers: readonly LayerReport[],
  settings: Told,
): Record<string, string> {
  const bits = new Map(Object.entries(layersBefore(model)));
  for (const layer of layers) bits.set(layer.name, layer.bits);
  return {
    'vertexq.version': version,
    'vertexq.options': JSON.stringify({
      method: settings.method,
      bits: settings.kind.bits,
      levels: settings.kind.levels,
      grid: settings.kind.grid,
      groupSize: settings.groupSize,
      format: settings.format,
      errorCorrection: settings.errorCorrection,
    }),
    'vertexq.layers': JSON.stringify(Object.fromEntries(bits)),
    ...(settings.provenance && {
      [provenanceKey]: provenanceText(settings.provenance),
      [checksumKey]: noChecksum,
    }),
  };
}

function layersBefore({ metadataProps }: ModelProto): object {
  try {
    const told: unknown = JSON.parse(
      metadataProps.find(({ key }) => key === 'vertexq.layers')?.value ?? '{}',
    );
    return typeof told === 'object' && told !== null && !Array.isArray(told) ? told : {};
  } catch {
    return {}; // another's, or damaged
  }
}

/** A tied weight counts once. */
function weightTotals(replacements: readonly Replacement[]) {
  const seen = new Set<unknown>();
  const totals = { before: 0, after: 0 };
  for (const { stored, report } of replacements) {
    if (seen.has(stored)) continue;
    seen.add(stored);
    totals.before += report.bytes.before;
    totals.after += report.bytes.after;
  }
  return totals;
}
