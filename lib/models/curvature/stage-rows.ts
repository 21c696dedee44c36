import type { Calibration } from '../../fit/calibration';
import { type CapturedRows, RowCapture, type WeightsOfRows } from '../../traversal/captured-rows';
import type { Batch, Seen, Stage } from '../../traversal/forward';
import { kindOf } from '../../traversal/kind-of';
import type { FitLayer } from '../../traversal/layer';
import type { JobOptions } from '../../types';
import type { ModelLayer } from '../layers/model-layers';

/** What a layer sees of a stage. */
interface LayerRows {
  /** Of the float network: what fits are made to. */
  fitted: Calibration;
  /** All of its rows, weighted. */
  judged: Calibration;
  /** Its rows that no fit has seen. */
  unseen: Calibration | null;
  /** What a network with errors gives, and what the float one does; null where nothing is corrected. */
  pairs: CapturedRows | null;
}

/** Collects what layers see of a stage's value, in the float network and in one with errors before it. */
export class StageRows {
  private readonly plain: RowCapture;
  private readonly weighted: RowCapture;
  private readonly unfitted: RowCapture;
  private readonly pairs: RowCapture;
  private readonly paired: ReadonlySet<ModelLayer>;
  /** Where a network picks rows by their values, those of the float network may be others. */
  private arePaired = true;
  private isHeldOut = false;

  constructor(
    stage: Stage<ModelLayer>,
    layers: readonly ModelLayer[],
    paired: readonly ModelLayer[],
    options: JobOptions,
  ) {
    const kindIn = (errorCorrection: boolean) => (layer: FitLayer) =>
      kindOf({ ...layer, errorCorrection }, stage);
    const capture = (own: readonly ModelLayer[], isWeighted: boolean, isPaired: boolean) =>
      new RowCapture(stage.target, own, { kindOf: kindIn(isPaired), isWeighted: () => isWeighted }, isPaired, options); // prettier-ignore
    this.plain = capture(layers, false, false);
    this.weighted = capture(layers, true, false);
    this.unfitted = capture(layers, false, false);
    this.pairs = capture(paired, false, true);
    this.paired = new Set(paired);
  }

  async add(
    { seen, float = seen }: Seen,
    { heldOut, share }: Batch,
    weightsOf: WeightsOfRows,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    this.isHeldOut ||= heldOut;
    await (heldOut ? this.unfitted : this.plain).add(float, undefined, 'calibration', share, signal);
    await this.weighted.add(float, undefined, 'calibration', share, signal, weightsOf);
    if (this.paired.size === 0) return;
    this.arePaired &&= float.type === seen.type && float.dims.join() === seen.dims.join();
    if (this.arePaired) await this.pairs.add(seen, float, heldOut ? 'holdout' : 'calibration', share, signal);
  }

  of(layer: ModelLayer): LayerRows {
    return {
      fitted: this.plain.rowsOf(layer)!.calibration,
      judged: this.weighted.rowsOf(layer)!.calibration,
      unseen: this.isHeldOut ? this.unfitted.rowsOf(layer)!.calibration : null,
      pairs: this.arePaired && this.paired.has(layer) ? this.pairs.rowsOf(layer) : null,
    };
  }
}
