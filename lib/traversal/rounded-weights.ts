import { Buffers } from '../native/buffers';
import type { JobOptions, Progress, QuantizedLayer } from '../types';
import { type FitLayer, placesIn, type WeightSource } from './layer';

/** Weights that are read and rounded before their turn: as many, of so many numbers together. */
const ahead = { weights: 2, numbers: 2 ** 26 };

type Rounding = Promise<QuantizedLayer | undefined>;
type OnProgress = (progress: Progress) => void;

/** Rounds weights that see no rows; where the order is known, those behind one while it is written. */
export class RoundedWeights {
  private readonly buffers = new Buffers();
  private readonly begun = new Map<WeightSource, Rounding>();
  private readonly given = new WeakSet<QuantizedLayer>();
  private readonly upcoming: readonly FitLayer[];
  private readonly places: ReadonlyMap<FitLayer, number>;
  private current: FitLayer | undefined;
  private report: OnProgress | undefined;
  private told = 0;

  /** `layers`: in the order in which they are asked for, but for those that share what another has. */
  constructor(
    layers: readonly FitLayer[],
    private readonly options: JobOptions,
  ) {
    const sources = new Set<WeightSource>();
    this.upcoming = layers.filter(({ source }) => !sources.has(source) && sources.add(source));
    this.places = placesIn(this.upcoming);
  }

  /** A layer's rounded weight; undefined where its source has no way of its own. Progress is told of one after the other. */
  async take(layer: FitLayer, onProgress: OnProgress | undefined): Rounding {
    [this.current, this.report, this.told] = [layer, onProgress, 0];
    this.begin(layer);
    const place = this.places.get(layer) ?? -1;
    let numbers = 0;
    for (const next of place < 0 ? [] : this.upcoming.slice(place + 1, place + 1 + ahead.weights)) {
      numbers += next.outFeatures * next.inFeatures;
      if (numbers <= ahead.numbers) this.begin(next);
    }
    const rounded = await this.begun.get(layer.source);
    this.begun.delete(layer.source);
    if (rounded) this.given.add(rounded);
    const total = layer.outFeatures;
    if (rounded && this.told < total) onProgress?.({ stage: 'quantize', done: total, total });
    return rounded;
  }

  /** Has the memory of a weight's codes used again, if they come from here; what nobody looks at any more. */
  giveBack(rounded: QuantizedLayer): void {
    if (this.given.delete(rounded))
      this.buffers.give(new Uint8Array(rounded.codes.buffer as SharedArrayBuffer));
  }

  private begin(layer: FitLayer): void {
    const { source } = layer;
    if (!source.round || this.begun.has(source)) return;
    const onProgress = (progress: Progress) => {
      if (this.current !== layer) return;
      this.told = progress.done;
      this.report?.(progress);
    };
    const rounding = source.round(layer, { ...this.options, onProgress }, this.buffers);
    rounding.catch(() => {}); // told when its turn comes
    this.begun.set(source, rounding);
  }
}
