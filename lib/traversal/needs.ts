import type { LayerNeeds } from '../fit/layer-memory';
import type { Forward } from './forward';
import { kindOf, reportKindOf } from './kind-of';
import type { FitLayer } from './layer';

/** What of a layer counts for more or less: its rows, and how errors of its output channels go together. */
export interface Weighted {
  rows: boolean;
  channels: boolean;
}

/** What the fits to a forward's data take. */
export const needsOf = <Layer extends FitLayer>(
  { stages, samples }: Forward<Layer>,
  weighted: Weighted,
): LayerNeeds[] =>
  stages.flatMap((stage) =>
    stage.layers.map((layer) => ({
      name: `layer "${layer.name}"`,
      ...{ outFeatures: layer.outFeatures, inFeatures: layer.inFeatures, groups: layer.groups },
      method: layer.settings.method,
      kind: kindOf(layer, stage),
      // How many rows a sample gives is known only when its turn comes.
      rows: samples.fit,
      holdoutRows: samples.holdout,
      reportKind: reportKindOf(layer, stage, weighted.rows),
      hasOutputs: weighted.channels,
    })),
  );
