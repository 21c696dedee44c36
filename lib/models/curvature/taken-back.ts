import { fitGroups } from '../../fit/quantize-groups';
import type { LayerSettings, WeightsInput } from '../../fit/layer-settings';
import { plainMethod } from '../../methods';
import type { CapturedRows } from '../../traversal/captured-rows';
import type { JobOptions } from '../../types';
import { outerNode } from '../layers/layer';
import type { ModelLayer } from '../layers/model-layers';
import { type Graph, usedBy } from '../onnx/graph';

/** Squares of the errors of outputs that come of errors of inputs: as they are, and where the fit corrects them. */
export interface BroughtErrors {
  uncorrected: number;
  corrected: number;
}

/**
 * What errors of a layer's inputs bring to its outputs, on held-out rows where there are any: with its weight nearly as it is, and with the weight that is fitted to give what the float network gives
 * (error correction). `rows`: pairs of what the network with errors and the float network give; `settings`: of many bits, so that rounding counts for little.
 */
export async function broughtErrors(
  layer: Pick<WeightsInput, 'name' | 'kind' | 'weight' | 'outFeatures' | 'inFeatures'>,
  groups: number,
  { calibration, holdout }: CapturedRows,
  settings: LayerSettings,
  options: JobOptions,
): Promise<BroughtErrors> {
  const judged = holdout ?? calibration;
  const squareOf = async (method: LayerSettings['method']) => {
    const own = { ...layer, calibration, holdout: judged };
    const { norms } = await fitGroups(own, groups, { ...settings, method }, options);
    return (norms.holdout?.againstFloat?.error ?? 0) ** 2;
  };
  return { uncorrected: await squareOf(plainMethod), corrected: await squareOf(settings.method) };
}

/**
 * The value that all that a layer's output does to a network's outputs goes through, where that is one that other layers see; by layer. Whatever a layer gets wrong comes to the
 * outputs by those layers alone, and they may take it back.
 */
export function valuesBehind(graph: Graph, layers: readonly ModelLayer[]): Map<ModelLayer, string> {
  const seenBy = new Map<object, Set<string>>();
  for (const layer of layers) {
    const node = outerNode(layer);
    if (layer.input) seenBy.set(node, (seenBy.get(node) ?? new Set()).add(layer.input.value));
  }
  // null: by several ways, or to the outputs as it is.
  const behind = new Map<string, string | null>(graph.proto.output.map(({ name }) => [name, null]));
  const both = (one: string | null | undefined, other: string | null | undefined) =>
    one === undefined ? other : other === undefined || one === other ? one : null;
  const ofNode = new Map<object, string | null | undefined>();
  for (const node of [...graph.order].reverse()) {
    const own = node.output.map((name) => behind.get(name)).reduce(both, undefined);
    ofNode.set(node, own);
    for (const name of usedBy(node)) {
      const next = both(behind.get(name), seenBy.get(node)?.has(name) ? name : own);
      if (next !== undefined) behind.set(name, next);
    }
  }
  return new Map(
    layers.flatMap((layer) => {
      const value = ofNode.get(outerNode(layer));
      return typeof value === 'string' ? [[layer, value] as const] : [];
    }),
  );
}

/** Of what layers do to a network's outputs the share that is left where the layers behind them correct errors; `brought`: by the value that those see. */
export function sharesLeft(
  graph: Graph,
  layers: readonly ModelLayer[],
  brought: ReadonlyMap<string, BroughtErrors>,
): Map<ModelLayer, number> {
  const behind = valuesBehind(graph, layers);
  const seeing = new Map<string, ModelLayer[]>();
  for (const layer of layers) {
    const value = layer.input?.value;
    if (value !== undefined) seeing.set(value, [...(seeing.get(value) ?? []), layer]);
  }
  const shares = new Map<ModelLayer, number>();
  const shareOf = (layer: ModelLayer): number => {
    const known = shares.get(layer);
    if (known !== undefined) return known;
    const value = behind.get(layer);
    const own = value === undefined ? undefined : brought.get(value);
    // What is left behind them is taken back in part by those behind these.
    const next = value === undefined ? [] : (seeing.get(value) ?? []).map(shareOf);
    const isKnown = own !== undefined && own.uncorrected > 0;
    const share = isKnown ? Math.min(1, own.corrected / own.uncorrected) * Math.max(...next, 0) : 1;
    shares.set(layer, share);
    return share;
  };
  for (const layer of [...layers].reverse()) shareOf(layer);
  return shares;
}
