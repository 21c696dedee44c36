import { LayerRows } from '../../fit/layer-rows';
import type { Workspace } from '../../runs/workspace';
import type { JobOptions } from '../../types';
import { ValueStore } from '../forward/value-store';
import type { Layer } from '../layers/layer';
import { hiddenProducts } from './row-squares';

/** A layer with more would need a matrix of more than 2 GiB. */
const mostChannels = 16_384;

/** Sums of the gradients at layers' outputs that a sweep finds: Σ ggᵀ/‖g‖, of the rows that are fitted to. */
export class ChannelGrams<Own extends Layer> {
  private readonly sums = new Map<Own, LayerRows>();
  private readonly store: ValueStore;
  private readonly kept = new Map<Own, { name: string; samples: number }>();
  /** Names so far. */
  private named = 0;
  /** Layers whose gradients are no numbers to sum. */
  private readonly infinite = new Set<Own>();
  /** Those with some that are not 0. */
  private readonly felt = new Set<Own>();

  constructor(
    workspace: Workspace,
    memory: number,
    /** Whether a batch is fitted to. */
    private readonly isFitted: (batch: number) => boolean,
    private readonly options: JobOptions,
  ) {
    this.store = new ValueStore(workspace, memory, 'channels');
  }

  /** Whether a layer's gradients are summed. */
  takes = (layer: Own): boolean => whyAlone(layer) === undefined && !this.infinite.has(layer);

  /** Why a layer has no sums once all are made; undefined where it has. */
  reasonOf(layer: Own): string | undefined {
    if (this.infinite.has(layer)) return 'its gradients are not finite numbers';
    return whyAlone(layer) ?? (this.felt.has(layer) ? undefined : 'its gradients are all 0');
  }

  /**
   * Adds a layer's gradients in a batch, [rows, outFeatures], which may not be kept; `squares`: those of each row summed. A row counts by its gradient's norm, not by the square of that: few rows
   * have most of the squares, and the matrix would be theirs (docs/curvature.md).
   */
  async add(layer: Own, batch: number, gradients: Float32Array, squares: Float32Array): Promise<void> {
    if (!this.isFitted(batch) || gradients.length === 0 || this.infinite.has(layer)) return;
    if (squares.some((square) => !Number.isFinite(square))) {
      this.infinite.add(layer);
      this.sums.delete(layer);
      return;
    }
    if (squares.some((square) => square > 0)) this.felt.add(layer);
    const weights = squares.map((square) => (square > 0 ? 1 / Math.sqrt(square) : 0));
    const own = this.sums.get(layer) ?? LayerRows.of(layer.outFeatures, 'gram', this.options);
    this.sums.set(layer, own);
    await own.add(gradients, undefined, this.options.signal, weights);
  }

  /** Puts the sums of layers away that will get no more. */
  async settle(): Promise<void> {
    for (const [layer, own] of this.sums) {
      const { matrices, samples } = await own.sums(this.options.signal);
      const name = String(this.named++);
      const side = layer.outFeatures;
      if (samples > 0)
        await this.store.put('float', name, 0, { data: matrices[0]!, dims: [side, side], type: 'float64' });
      this.kept.set(layer, { name, samples });
    }
    this.sums.clear();
  }

  /** Those of a layer; null where there are none. To be called once: they are forgotten then. */
  async of(layer: Own): Promise<LayerRows | null> {
    const kept = this.kept.get(layer);
    if (!kept || kept.samples === 0 || !this.felt.has(layer)) return null;
    const { name, samples } = kept;
    const rows = LayerRows.of(layer.outFeatures, 'gram', this.options);
    const matrix = (await this.store.get('float', name, 0)).data as Float64Array;
    const sums = { samples, offered: samples, sumsSingles: true, weights: null, matrices: [matrix] };
    await rows.addSums(sums, this.options.signal);
    this.kept.delete(layer);
    await this.store.drop(name);
    return rows;
  }
}

/** Why the channels of a layer are fitted each by itself whatever its gradients are. */
function whyAlone(layer: Layer): string | undefined {
  const hidden = hiddenProducts(layer);
  if (hidden !== undefined) return hidden;
  const { groups, input, weightIndex, outFeatures } = layer;
  if (layer.node.opType === 'ConvTranspose' || input!.rows.kind === 'patches' || groups > 1)
    return 'it is a convolution';
  if (weightIndex === 0) return 'its weight stands on the left of the product';
  return outFeatures > mostChannels
    ? `it has ${outFeatures} outputs, more than ${mostChannels}: a matrix of their gradients would be too large`
    : undefined;
}
