import { enoughPatches } from '../../traversal/captured-rows';
import type { RowWeights } from '../../traversal/row-weights';
import type { ModelLayer } from '../layers/model-layers';
import { correctionOf, PowerSums, type RowScale, weightsOf } from './strength';
import { meanOf, type Squares } from './swept';

/**
 * Weights of the rows of layers by what the network's outputs feel of an error there: mean squares of gradients, of a power and with a floor (strength.ts), with
 * the mean 1 over the rows that are fitted to, those of the first so many batches.
 */
export async function outputWeights(
  swept: Squares,
  layers: readonly ModelLayer[],
  batches: number,
): Promise<RowWeights<ModelLayer>> {
  const reasons = new Map(swept.reasons);
  const scales = new Map<ModelLayer, RowScale>();
  for (const layer of layers) {
    if (reasons.has(layer)) continue;
    const found = await scaleOf(swept, layer, batches);
    if (typeof found === 'string') reasons.set(layer, found);
    else scales.set(layer, found);
  }
  return new OutputWeights(swept, reasons, scales);
}

/** How the rows of a layer are weighted; or why they are not. The mean is that of those that are fitted to, in so many batches. */
async function scaleOf(swept: Squares, layer: ModelLayer, batches: number): Promise<RowScale | string> {
  const found = await meanOf(swept, layer, batches);
  if (typeof found === 'string') return found;
  const { mean, rows } = found;
  const sums = new PowerSums(mean, layer.errorCorrection);
  for (let batch = 0; batch < batches; batch++) sums.add((await swept.toldOf(layer, batch))!);
  const isConv = layer.input!.rows.kind === 'patches';
  return sums.choose(layer.inFeatures, isConv ? enoughPatches(layer.inFeatures) : rows);
}

class OutputWeights implements RowWeights<ModelLayer> {
  readonly correctionOf = correctionOf;

  constructor(
    private readonly swept: Squares,
    private readonly reasons: ReadonlyMap<ModelLayer, string>,
    private readonly scales: ReadonlyMap<ModelLayer, RowScale>,
  ) {}

  reasonOf(layer: ModelLayer): string | null {
    return this.reasons.get(layer) ?? null;
  }

  async of(layer: ModelLayer, batch: number): Promise<Float32Array | null> {
    const scale = this.scales.get(layer);
    if (!scale) return null;
    return weightsOf((await this.swept.toldOf(layer, batch))!, scale);
  }
}
