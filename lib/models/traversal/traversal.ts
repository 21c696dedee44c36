import { located } from '../../errors';
import { quantizeGroups } from '../../layers/quantize-groups';
import { calibrationKind, plainMethod } from '../../methods';
import { threadsFor } from '../../native/jobs';
import { valuesOf } from '../../native/tensors';
import type { Progress, QuantizedLayer } from '../../types';
import type { PreparedCalibration } from '../calibration';
import { isSeen, type Layer, outerNode, storageOf } from '../layers/layer';
import { asNodeSees, weightOf } from '../layers/weight-values';
import { fitOf, layerSettings, type ModelSettings } from '../model-options';
import type { LayerJournal } from '../layer-journal';
import { roundedTensor } from '../onnx/float-tensor';
import { namesOf, subgraphsOf } from '../onnx/graph';
import type { NodeProto, TensorProto } from '../onnx/onnx_pb';
import { dataLength } from '../onnx/tensor';
import type { OpenModel } from '../open-model';
import type { Feeds, ModelOptions } from '../types';
import type { Workspace } from '../workspace';
import type { Replacement } from '../write/assemble';
import type { StoredWeight } from '../write/stored-weight';
import type { WeightStores } from '../write/stores';
import { changedValues } from './changed-values';
import { type CapturedRows, RowCapture } from './captured-rows';
import { StageRunner } from './stage-runner';
import { type Stage, stagesOf } from './stages';
import type { Substitute } from './stage-network';

/** A weight that is quantized; layers that share it share this. */
interface Done {
  quantized: QuantizedLayer;
  stored: StoredWeight;
  /** As the nodes see it; made when it is first needed. */
  tensor: TensorProto | undefined;
}

/** What part of all the numbers each feed has. */
function sharesOf(feeds: readonly Feeds[]): number[] {
  const sizes = feeds.map((feed) =>
    Object.values(feed).reduce((sum, { dims }) => sum + dims.reduce((size, dim) => size * dim, 1), 0),
  );
  const total = sizes.reduce((sum, size) => sum + size, 0);
  return sizes.map((size) => (total === 0 ? 1 : size / total));
}

/**
 * Goes through a model's layers, in the order of the graph, and quantizes each on what the network, quantized as far as the layers
 * before it, feeds it; with error correction so that it gives what it gives in the float network. Each part of the network is run
 * once, batch by batch, between one layer's input and the next's. The model is only read.
 */
export class Traversal {
  /** Weights done so far, by tensor and form: a tied weight is quantized once, for its first use. */
  private readonly done = new Map<TensorProto, Map<string, Done>>();
  /** How many layers share a tensor that are not done yet. */
  private readonly waiting = new Map<TensorProto, number>();
  /** The last stage that runs a node. */
  private readonly lastStage = new Map<NodeProto, number>();
  /** What nodes of the network as quantized so far compute with, until they have been run. */
  private readonly substitutes = new Map<NodeProto, Substitute[]>();
  private readonly replacements: Replacement[] = [];
  private readonly changed: ReadonlySet<string>;
  /** Begins the names of substituted weights, and no other name. */
  private readonly prefix: string;

  constructor(
    private readonly opened: OpenModel,
    private readonly layers: readonly Layer[],
    private readonly data: PreparedCalibration | null,
    private readonly settings: ModelSettings,
    private readonly options: ModelOptions,
    private readonly workspace: Workspace,
    private readonly stores: WeightStores,
    /** Keeps what is fitted, and has what an earlier run fitted. */
    private readonly journal: LayerJournal | null,
  ) {
    this.changed = changedValues(opened.graph, layers);
    const taken = [...namesOf(opened.model.graph!)];
    let prefix = 'vertexq/';
    while (taken.some((name) => name.startsWith(prefix))) prefix += '_';
    this.prefix = prefix;
    for (const { constant } of layers)
      this.waiting.set(constant.tensor, (this.waiting.get(constant.tensor) ?? 0) + 1);
  }

  /** In the order in which they were quantized. */
  async run(): Promise<Replacement[]> {
    if (this.data) await this.runOnData(this.data);
    else for (const layer of this.layers) await this.quantize(layer, null, undefined);
    return this.replacements;
  }

  private async runOnData(data: PreparedCalibration): Promise<void> {
    const stages = stagesOf(this.opened.graph, this.layers);
    for (const [index, { nodes }] of stages.entries())
      for (const node of nodes) this.lastStage.set(node, index);
    // Weights that see no value are done first: where they stand does not matter to them, but to what comes behind them.
    // But for those inside of another node that share a weight with a layer that sees one: they take what is fitted there.
    const seen = new Set(this.layers.filter(isSeen).map(({ constant }) => constant.tensor));
    const shares = (layer: Layer) => layer.scope.parent !== null && seen.has(layer.constant.tensor);
    const [later, first] = [true, false].map((waits) =>
      this.layers.filter((layer) => !isSeen(layer) && shares(layer) === waits),
    ) as [Layer[], Layer[]];
    for (const layer of first) await this.quantize(layer, null, undefined);
    const runner = new StageRunner(
      this.opened,
      data,
      this.workspace,
      this.substitutes,
      {
        memory: this.settings.memory,
        errorCorrection: this.layers.some((layer) => fitOf(this.settings, layer).errorCorrection),
      },
      this.changed,
    );
    for (const [index, stage] of stages.entries()) {
      const { rows, rank } = await this.capture(stage, runner, data);
      for (const node of stage.nodes) if (this.lastStage.get(node) === index) this.forget(node);
      for (const layer of stage.layers) {
        await this.quantize(layer, rows, rank);
        for (const other of later.filter(({ constant }) => constant.tensor === layer.constant.tensor)) {
          later.splice(later.indexOf(other), 1);
          await this.quantize(other, null, undefined);
        }
      }
    }
  }

  /** Forgets what a node, and those that it holds, compute with. */
  private forget(node: NodeProto): void {
    this.substitutes.delete(node);
    for (const body of subgraphsOf(node)) for (const inner of body.node) this.forget(inner);
  }

  /** What a stage's layers see. */
  private async capture(stage: Stage, runner: StageRunner, data: PreparedCalibration) {
    const [first] = stage.layers as [Layer];
    const total = data.fit.length + data.holdout.length;
    const shares = [...sharesOf(data.fit), ...sharesOf(data.holdout)];
    const changed = this.changed.has(stage.target);
    const kindOf = (layer: Layer) => {
      const { method, errorCorrection } = fitOf(this.settings, layer);
      return calibrationKind(method, errorCorrection && changed, layer.input!.rows.kind === 'patches');
    };
    // The values behind it are needed all the same.
    if (stage.layers.every((layer) => this.isDone(layer))) {
      const rank = await runner.run(stage, false, () => Promise.resolve(), this.options.signal);
      return { rows: null, rank };
    }
    const corrects = stage.layers.some((layer) => kindOf(layer) === 'pairs');
    const rows = new RowCapture(stage.target, stage.layers, kindOf, data.holdout.length > 0, this.options);
    const { signal } = this.options;
    const report = this.progressOf(first);
    try {
      const rank = await runner.run(
        stage,
        corrects,
        async ({ batch, seen, float }) => {
          const to = batch < data.fit.length ? 'calibration' : 'holdout';
          await rows.add(seen, float, to, shares[batch]!, signal);
          report?.({ stage: 'capture', done: batch + 1, total });
        },
        signal,
      );
      return { rows, rank };
    } catch (error) {
      throw located(`layer "${first.name}"`, error);
    }
  }

  private async quantize(
    layer: Layer,
    capture: RowCapture | null,
    activationRank: number | undefined,
  ): Promise<void> {
    this.options.signal?.throwIfAborted();
    try {
      const done = await this.doneOf(layer, capture?.rowsOf(layer) ?? null);
      this.replacements.push({ layer, stored: done.stored, report: done.quantized.report, activationRank });
      if (this.lastStage.has(outerNode(layer))) await this.substitute(layer, done);
      const waiting = this.waiting.get(layer.constant.tensor)! - 1;
      this.waiting.set(layer.constant.tensor, waiting);
      if (waiting === 0) this.done.delete(layer.constant.tensor); // its codes are large
    } catch (error) {
      throw located(`layer "${layer.name}"`, error);
    }
  }

  private async doneOf(layer: Layer, rows: CapturedRows | null): Promise<Done> {
    const forms = this.done.get(layer.constant.tensor) ?? new Map<string, Done>();
    this.done.set(layer.constant.tensor, forms);
    const form = storageOf(layer);
    const before = forms.get(form);
    if (before) return before;
    const key = this.keyOf(layer);
    let quantized = await this.journal?.find(key);
    if (quantized) this.journal!.resumed += dataLength(layer.constant.tensor);
    else {
      quantized = await this.fit(layer, rows);
      // A weight that sees no rows is rounded again sooner than it is read back.
      if (rows) await this.journal?.keep(key, quantized);
    }
    const stored = await this.stores.store(layer, quantized, this.options.signal);
    const done: Done = { quantized, stored, tensor: undefined };
    forms.set(form, done);
    return done;
  }

  /** Whether an earlier run has fitted a layer, or this one the weight that it shares. */
  private isDone(layer: Layer): boolean {
    const forms = this.done.get(layer.constant.tensor);
    return (this.journal?.has(this.keyOf(layer)) ?? false) || (forms?.has(storageOf(layer)) ?? false);
  }

  /** What the journal calls a layer: names need not differ. */
  private keyOf(layer: Layer): string {
    return `${this.layers.indexOf(layer)} ${layer.name}`;
  }

  private async fit(layer: Layer, rows: CapturedRows | null): Promise<QuantizedLayer> {
    const settings = {
      ...layerSettings(this.settings, layer),
      stored: this.settings.encoding.stored(layer),
    };
    const onProgress = this.progressOf(layer);
    const quantized = await quantizeGroups(
      {
        name: layer.name,
        kind: layer.kind,
        weight: await weightOf(layer, this.opened.weights, this.options.signal),
        outFeatures: layer.outFeatures,
        inFeatures: layer.inFeatures,
        calibration: rows?.calibration ?? null,
        holdout: rows?.holdout ?? null,
      },
      layer.groups,
      // A weight that sees no rows is rounded, whatever the others get.
      rows === null ? { ...settings, method: plainMethod } : settings,
      {
        threads: threadsFor(this.options),
        ...(this.options.signal ? { signal: this.options.signal } : {}),
        ...(onProgress ? { onProgress } : {}),
      },
    );
    const data = rows?.calibration;
    if (data && data.offered > data.samples)
      quantized.report.warnings.push(
        `fitted to ${data.samples} of ${data.offered} patches, spread over all samples: more would change little`,
      );
    return quantized;
  }

  /** Lets the layers behind see what the quantized layer produces. */
  private async substitute(layer: Layer, done: Done): Promise<void> {
    const { node, weightIndex, constant } = layer;
    const { signal } = this.options;
    if (!done.tensor) {
      const name = `${this.prefix}${this.replacements.length}`;
      const values = await asNodeSees(layer, await valuesOf(done.quantized, signal), signal);
      const { tensor } = await roundedTensor(name, constant.dims, constant.dataType, values, signal);
      done.tensor = tensor;
    }
    const own = this.substitutes.get(node) ?? [];
    own.push({ index: weightIndex, tensor: done.tensor });
    this.substitutes.set(node, own);
  }

  private progressOf(layer: Layer): ((progress: Progress) => void) | undefined {
    const { onProgress } = this.options;
    if (!onProgress) return undefined;
    const layerIndex = this.layers.indexOf(layer);
    return (progress) =>
      onProgress({ ...progress, layer: layer.name, layerIndex, layerCount: this.layers.length });
  }
}
