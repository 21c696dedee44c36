import { located } from '../errors';
import { storedBits } from '../fit/layer-errors';
import { requireLayerMemory } from '../fit/layer-memory';
import { giveBackMemory } from '../native/freed-memory';
import type { JobOptions, LayerReport, Progress, QuantizedLayer, WarningOptions } from '../types';
import { type CapturedRows, type CaptureKinds, RowCapture } from './captured-rows';
import type { FloatBatches, Forward, Stage } from './forward';
import { kindOf, reportKindOf } from './kind-of';
import { bySource, type FitLayer, placesIn, type WeightSource } from './layer';
import { LayerFits } from './layer-fits';
import { needsOf, type Weighted } from './needs';
import type { OutputGrams } from './output-grams';
import { type Parts, partsOfBatches } from './parts';
import { RoundedWeights } from './rounded-weights';
import type { RowWeights } from './row-weights';
import type { Done, DoneLayer, FitJournal, Sink, Stored } from './sink';
import { TimeBudget } from './time-budget';
import type { BlockTuning, Fitted } from './tuning';
import { type LayerWork, secondsBefore, secondsOfFit, worksOf } from './work';
import { span } from '../spans';

/** Numbers that weights, rows and Gram matrices may leave before memory is given back. */
const usedByMany = 2 ** 16;

/** What a stage gives. */
interface Captured {
  /** null where its layers are done. */
  rows: RowCapture | null;
  rank: number;
  /** Where they are an expert's. */
  expert?: LayerReport['expert'];
}

/** What a traversal may have besides. */
export interface TraversalParts<Layer extends FitLayer> {
  journal?: FitJournal | null;
  /** null: all rows count alike. */
  rowWeights?: RowWeights<Layer> | null;
  /** null: each neuron is fitted by itself. */
  outputGrams?: OutputGrams<Layer> | null;
  /** null: layers stay as they are fitted. */
  tuning?: BlockTuning<Layer> | null;
  /** When all is to be done, as performance.now() tells it; null: passes are as many as settings say. */
  deadline?: number | null;
  /** null: data is summed, and layers are fitted, in one piece. */
  parts?: Parts | null;
}

/**
 * Quantizes layer after layer, in the order of a forward: each is fitted to what the network, quantized as far as the layers before it,
 * feeds it; with error correction so that it gives what it gives in the float network. What comes of it goes to a sink.
 */
export class Traversal<Layer extends FitLayer, Made extends Stored> {
  /** What of each weight is done, until the last layer that shares it is. */
  private readonly done = new Map<WeightSource, Done<Made>>();
  /** How many of the layers that share a weight are not done yet. */
  private readonly waiting = new Map<WeightSource, number>();
  private readonly rounded: RoundedWeights;
  private readonly finished: DoneLayer<Layer, Made>[] = [];
  /** What there is to do for each layer that sees something; about how many seconds of a core all of it takes, and how many are done. */
  private readonly works: ReadonlyMap<FitLayer, LayerWork>;
  private readonly seconds: number;
  private readonly places: ReadonlyMap<FitLayer, number>;
  private spent = 0;
  private readonly journal: FitJournal | null;
  private readonly rowWeights: RowWeights<Layer> | null;
  private readonly weighted: Weighted;
  private readonly tuning: BlockTuning<Layer> | null;
  private readonly parts: Parts | null;
  private readonly fits: LayerFits<Layer>;
  /** Numbers of what layers took since memory was given back. */
  private used = 0;
  /** Layers that are tuned with others of their block before they are stored: these. */
  private readonly tuned = new Map<Layer, readonly Layer[]>();
  /** Those of them that are fitted. */
  private readonly untuned: (Fitted<Layer> & Pick<DoneLayer<Layer, Made>, 'activationRank'>)[] = [];

  constructor(
    private readonly layers: readonly Layer[],
    /** null: there is no data, and all layers are rounded. */
    private readonly forward: Forward<Layer> | null,
    private readonly sink: Sink<Layer, Made>,
    private readonly options: JobOptions & WarningOptions,
    {
      journal = null,
      rowWeights = null,
      outputGrams = null,
      tuning = null,
      deadline = null,
      parts = null,
    }: TraversalParts<Layer> = {},
  ) {
    this.journal = journal;
    this.rowWeights = rowWeights;
    this.tuning = tuning;
    this.parts = parts;
    const budget = forward && deadline !== null ? new TimeBudget(deadline, forward) : null;
    this.places = placesIn(layers);
    this.rounded = new RoundedWeights(forward ? [] : layers, options);
    this.fits = new LayerFits({ rounded: this.rounded, rowWeights, outputGrams, budget, parts, options });
    this.weighted = { rows: rowWeights !== null, channels: outputGrams !== null };
    this.works = new Map((forward ? worksOf(forward, this.weighted) : []).map((work) => [work.layer, work]));
    this.seconds = [...this.works.values()].reduce(
      (sum, work) => sum + secondsBefore(work) + secondsOfFit(work),
      0,
    );
    for (const { source } of layers) this.waiting.set(source, (this.waiting.get(source) ?? 0) + 1);
    for (const { block } of (tuning && forward?.stages) ?? []) {
      // What shares its codes with another is not changed without it.
      const own =
        block?.filter((layer) => tuning!.takes(layer) && this.waiting.get(layer.source) === 1) ?? [];
      for (const layer of own) this.tuned.set(layer, own);
    }
  }

  /**
   * The layers in the order in which they were quantized. Rejects with ERR_VERTEXQ_MEMORY, before the network is run, where a layer's fit
   * would have no room; with what the forward, the fit and the sink bring; with the signal's reason.
   */
  async run(): Promise<DoneLayer<Layer, Made>[]> {
    const { forward, layers } = this;
    if (!forward) {
      for (const layer of layers) await this.quantize(layer, null, undefined);
      return this.finished;
    }
    for (const needs of needsOf(forward, this.weighted)) requireLayerMemory(needs);
    const own = new Set([...forward.first, ...forward.stages.flatMap((stage) => stage.layers)]);
    const followers = new Map(bySource(layers.filter((layer) => !own.has(layer))));
    for (const layer of forward.first) await this.quantize(layer, null, undefined);
    for (const [i, stage] of forward.stages.entries()) {
      if (stage.ofAll) continue;
      if (stage.block) {
        await this.tune(stage, forward);
        continue;
      }
      const next = forward.stages[i + 1];
      const { rows, rank, expert } = await this.captureEnough(stage, next?.ofAll ? next : undefined, forward);
      await this.giveBackMemory(stage.layers[0]!, rows);
      for (const layer of stage.layers) {
        await this.quantize(layer, rows, rank, expert);
        await this.giveBackMemory(layer, rows);
        for (const follower of followers.get(layer.source) ?? [])
          await this.quantize(follower, null, undefined);
        followers.delete(layer.source);
      }
      await this.parts?.exchange?.settle(() => this.areKept(stage.layers));
    }
    return this.finished;
  }

  /** Of the runtime and of fits: what they leave would grow from layer to layer. Of small ones it is little, and looking for it takes time. */
  private async giveBackMemory(layer: Layer, rows: RowCapture | null): Promise<void> {
    const { outFeatures, inFeatures } = layer;
    this.used += inFeatures * (inFeatures + outFeatures + (rows?.countOf(layer) ?? 0));
    if (this.used < usedByMany) return;
    this.used = 0;
    await giveBackMemory(this.options.signal);
  }

  /** What a stage's layers see; of experts that see too little, what they would see of all rows. */
  private async captureEnough(stage: Stage<Layer>, wider: Stage<Layer> | undefined, forward: Forward<Layer>) {
    const own = await this.capture(stage, forward);
    if (!wider) return own;
    const [layer] = stage.layers;
    const rows = own.rows?.countOf(layer!) ?? Infinity;
    // Fewer leave inputs free. Small random Mixtrals and Qwen3-MoEs at 3 bits gained nothing from twice, nor lost by it.
    const isFew = rows < layer!.inFeatures;
    if (isFew) own.rows = (await this.capture(wider, forward)).rows;
    else await forward.skip!(wider);
    return { ...own, expert: { rows, fittedTo: isFew ? ('all' as const) : ('own' as const) } };
  }

  /** What a stage's layers see. */
  private capture(stage: Stage<Layer>, forward: Forward<Layer>): Promise<Captured> {
    const told = { 'vertexq.layer': stage.layers[0]!.name, 'vertexq.batches': forward.batches.length };
    return span('vertexq.capture', told, () => this.captured(stage, forward));
  }

  private async captured(stage: Stage<Layer>, forward: Forward<Layer>): Promise<Captured> {
    const { signal } = this.options;
    const { layers, target } = stage;
    const { batches } = forward;
    const before = layers.reduce((sum, layer) => sum + secondsBefore(this.works.get(layer)!), 0);
    const report = this.progressOf(layers[0]!, before);
    const told = (batch: number) => report?.({ stage: 'capture', done: batch + 1, total: batches.length });
    // The values behind it are needed all the same.
    if (await this.areDone(layers)) {
      const rank = await forward.run(stage, 'none', (batch) => Promise.resolve(told(batch)), signal);
      this.spent += before;
      return { rows: null, rank };
    }
    const { rowWeights, parts } = this;
    const isWeighted = (layer: FitLayer) => rowWeights?.reasonOf(layer as Layer) === null;
    const kinds: CaptureKinds = {
      kindOf: (layer) => kindOf(layer, stage, parts !== null),
      reportKindOf: (layer) => reportKindOf(layer, stage, isWeighted(layer), parts !== null),
      isWeighted,
      areFloat: !stage.changes,
    };
    const float: FloatBatches = layers.some((layer) => kinds.kindOf(layer) === 'pairs')
      ? 'all'
      : layers.some((layer) => kinds.reportKindOf!(layer) === 'pairs')
        ? 'heldOut'
        : 'none';
    try {
      // What all experts would see is one value.
      const called = `${this.keyOf(layers[0]!)} ${target}`;
      const partOf = parts && partsOfBatches(batches, parts.count);
      const rows = new RowCapture(
        target,
        layers,
        kinds,
        forward.samples.holdout > 0,
        this.options,
        parts,
        called,
      );
      const rank = await forward.run(
        stage,
        float,
        async (batch, value) => {
          const { heldOut, share } = batches[batch]!;
          const weightsOf = (layer: FitLayer) => rowWeights!.of(layer as Layer, batch);
          await rows.add(
            value.seen,
            value.float,
            heldOut ? 'holdout' : 'calibration',
            share,
            signal,
            weightsOf,
            partOf?.[batch],
          );
          told(batch);
        },
        signal,
      );
      const isWhole = await rows.collect(() => this.areDone(layers));
      this.spent += before;
      return { rows: isWhole ? rows : null, rank };
    } catch (error) {
      throw located(`layer "${layers[0]!.name}"`, error);
    }
  }

  private async quantize(
    layer: Layer,
    capture: RowCapture | null,
    activationRank: number | undefined,
    expert?: LayerReport['expert'],
  ) {
    const { signal } = this.options;
    const { name, source } = layer;
    signal?.throwIfAborted();
    try {
      if (this.tuned.has(layer) && !(await this.isDone(layer))) {
        const quantized = (await this.fit(layer, capture?.rowsOf(layer) ?? null))!;
        this.spent += this.secondsToFit(layer);
        this.untuned.push({ layer, quantized, activationRank });
        await this.forward?.substitute(layer, quantized, signal);
        return;
      }
      const done = this.done.get(source) ?? (await this.make(layer, capture?.rowsOf(layer) ?? null, expert));
      this.spent += this.secondsToFit(layer);
      await this.complete(layer, done, activationRank);
      const waiting = this.waiting.get(source)! - 1;
      this.waiting.set(source, waiting);
      // Its codes are large.
      if (waiting > 0) this.done.set(source, done);
      else this.done.delete(source);
    } catch (error) {
      throw located(`layer "${name}"`, error);
    }
  }

  /** Takes over what has become of a layer. */
  private async complete(
    layer: Layer,
    { quantized, stored }: Done<Made>,
    activationRank: number | undefined,
  ) {
    const bytes = { before: layer.source.byteLength, after: stored.bytes };
    const bits = storedBits(stored.bytes, [layer.outFeatures, layer.inFeatures]);
    const report = { ...quantized.report, name: layer.name, bytes, storedBits: bits };
    this.finished.push({ layer, stored, report, activationRank });
    for (const warning of report.warnings) this.options.onWarning?.(warning, layer.name);
    await this.forward?.substitute(layer, quantized, this.options.signal);
  }

  /** Tunes the layers of a block, stores them, and runs the block with what has become of them. */
  private async tune(stage: Stage<Layer>, forward: Forward<Layer>): Promise<void> {
    const { signal } = this.options;
    const fitted = this.untuned.splice(0);
    if (fitted.length > 0) {
      const report = this.progressOf(fitted.at(-1)!.layer, 0);
      const told = (done: number, total: number) => report?.({ stage: 'tune', done, total });
      const tuned = await this.tuning!.tune(stage, fitted, signal, told);
      for (const [i, { layer, activationRank }] of fitted.entries()) {
        const quantized = tuned[i]!;
        try {
          await this.journal?.keep(this.keyOf(layer), quantized);
          const stored = await this.sink.store(layer, quantized, signal);
          await this.complete(layer, { quantized, stored }, activationRank);
        } catch (error) {
          throw located(`layer "${layer.name}"`, error);
        }
      }
    }
    await forward.run(stage, 'none', () => Promise.resolve(), signal);
    await this.giveBackMemory(stage.block![0]!, null);
  }

  private async make(
    layer: Layer,
    rows: CapturedRows | null,
    expert: LayerReport['expert'],
  ): Promise<Done<Made>> {
    const restored = () => this.sink.restore!(layer, this.options.signal);
    if (await this.sink.has?.(layer)) return restored();
    const key = this.keyOf(layer);
    let quantized = await this.journal?.find(key);
    if (quantized) this.journal!.resumed += layer.source.byteLength;
    else {
      const fitted = await this.fit(layer, rows);
      // Another worker has put it together of the parts.
      if (!fitted) return restored();
      quantized = fitted;
      if (expert) quantized.report.expert = expert;
      // A weight that sees no rows is rounded again sooner than it is read back.
      if (rows) await this.journal?.keep(key, quantized);
    }
    const stored = await this.sink.store(layer, quantized, this.options.signal);
    // A forward computes with the codes, a sink does not keep them.
    if (!this.forward) this.rounded.giveBack(quantized);
    return { quantized, stored };
  }

  /** Whether an earlier run has fitted a layer, or this one the weight that it shares. */
  private async isDone(layer: Layer): Promise<boolean> {
    if (this.done.has(layer.source)) return true;
    // Of a block that was tuned together all were kept, or it is tuned again.
    for (const one of this.tuned.get(layer) ?? [layer])
      if (!((await this.sink.has?.(one)) ?? this.journal?.has(this.keyOf(one)) ?? false)) return false;
    return true;
  }

  /** Whether all workers find what has become of layers. */
  private async areKept(layers: readonly Layer[]): Promise<boolean> {
    for (const layer of layers) if (!(await this.sink.has?.(layer))) return false;
    return true;
  }

  private async areDone(layers: readonly Layer[]): Promise<boolean> {
    for (const layer of layers) if (!(await this.isDone(layer))) return false;
    return true;
  }

  /** What the journal calls a layer: names need not differ. */
  private keyOf(layer: Layer): string {
    return `${this.places.get(layer)} ${layer.name}`;
  }

  private fit(layer: Layer, rows: CapturedRows | null): Promise<QuantizedLayer | null> {
    const onProgress = this.progressOf(layer, this.secondsToFit(layer));
    const isNeedless = async () => (await this.sink.has?.(layer)) ?? false;
    return this.fits.fit({ layer, key: this.keyOf(layer), rows, onProgress, isNeedless });
  }

  private secondsToFit(layer: Layer): number {
    const work = this.works.get(layer);
    return work ? secondsOfFit(work) : 0;
  }

  /** Tells of work on a layer that takes so many seconds. */
  private progressOf(layer: Layer, seconds: number): ((progress: Progress) => void) | undefined {
    const { onProgress } = this.options;
    if (!onProgress) return undefined;
    const place = {
      layer: layer.name,
      layerIndex: this.places.get(layer)!,
      layerCount: this.layers.length,
    };
    return (progress) => {
      const { done, total } = progress;
      const share = this.seconds > 0 && {
        share: Math.min(1, (this.spent + (seconds * done) / total) / this.seconds),
      };
      onProgress({ ...progress, ...place, ...share });
    };
  }
}
