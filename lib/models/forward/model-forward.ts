import { VertexqError } from '../../errors';
import { type Coded, convert, valuesOf } from '../../native/tensors';
import type { Batch, FloatBatches, Forward, Outcome, Seen, Stage } from '../../traversal/forward';
import type { TensorLike } from '../../types';
import type { CalibrationSet } from '../calibration-set';
import { isSeen, outerNode } from '../layers/layer';
import type { ModelLayer } from '../layers/model-layers';
import { asNodeSees } from '../layers/weight-values';
import { roundedTensor } from '../../containers/onnx/float-tensor';
import { subgraphsOf, unusedPrefix } from '../../containers/onnx/graph';
import type { NodeProto, TensorProto } from '../../containers/onnx/onnx_pb';
import type { OpenModel } from '../open-model';
import type { ThreadedSession } from '../threaded-session';
import type { Feeds } from '../types';
import type { Workspace } from '../../runs/workspace';
import { changedValues } from './changed-values';
import { loadStage, type Substitute } from './stage-network';
import { type GraphStage, stagesOf } from './stages';
import { type Stream, ValueStore } from './value-store';

interface Session {
  session: ThreadedSession;
  outputs: string[];
}

interface ModelStage extends GraphStage<ModelLayer> {
  changes: boolean;
}

/** What stages there are besides those of layers, and what is run. */
export interface ForwardParts {
  /** Values that stages end at besides what layers see. */
  ends?: readonly string[];
  /** Values that blocks end with, which are run once more, as a whole, when all of their layers are fitted. */
  blockEnds?: readonly string[];
  /** `none`: the float network is not run. */
  float?: 'none';
  /** Whether a batch is run; default: all are. */
  isOwn?: ((batch: number) => boolean) | undefined;
}

/** A part of a network that is run by itself. */
export interface ForwardBlock {
  opened: OpenModel;
  stage: GraphStage<ModelLayer>;
  /** Begins names that no value of the network has. */
  prefix: string;
  batches: readonly Batch[];
  /** What the block is given in the network as quantized so far; or in the float one, where that is run on all data. */
  inputs(batch: number, of: Stream): Promise<Feeds>;
}

/** What part of all the numbers each feed has. */
function sharesOf(feeds: readonly Feeds[]): number[] {
  const sizes = feeds.map((feed) =>
    Object.values(feed).reduce((sum, { dims }) => sum + dims.reduce((size, dim) => size * dim, 1), 0),
  );
  const total = sizes.reduce((sum, size) => sum + size, 0);
  return sizes.map((size) => (total === 0 ? 1 : size / total));
}

/** Tokens, and what is not of tokens by what is before the last dimension. */
function rowsOf(feed: Feeds): number {
  const [first] = Object.values(feed);
  const { data, dims } = first!;
  const places = ArrayBuffer.isView(data) && /Int/.test(data.constructor.name) ? dims : dims.slice(0, -1);
  return places.reduce((product, dim) => product * dim, 1);
}

/** An ONNX network, which onnxruntime runs stage by stage. It is only read. */
export class ModelForward implements Forward<ModelLayer> {
  readonly batches: readonly Batch[];
  readonly samples: CalibrationSet['samples'];
  readonly rows: number;
  readonly first: readonly ModelLayer[];
  readonly stages: readonly ModelStage[];
  /** The last stage that runs a node. */
  private readonly lastStage = new Map<NodeProto, number>();
  /** How many stages have been run. */
  private done = 0;
  /** What nodes of the network as quantized so far compute with, until they have been run. */
  private readonly substitutes = new Map<NodeProto, Substitute[]>();
  /** Values of weights as nodes see them, by their form. */
  private readonly seenAs = new WeakMap<Outcome, Map<string, TensorProto>>();
  private made = 0;
  /** Begins the names of substituted weights, and no other name. */
  private readonly prefix: string;
  /** Values that depend on quantized weights: others are the same in both networks, and kept once. */
  private readonly changed: ReadonlySet<string>;
  private readonly feeds: readonly Feeds[];
  private readonly store: ValueStore;
  /** The batches that the float network is run on. */
  private readonly floatBatches: FloatBatches;
  private readonly ownBatches: readonly number[];

  /** `memory`: bytes of what lives between stages that stay out of files. */
  constructor(
    private readonly opened: OpenModel,
    layers: readonly ModelLayer[],
    data: Omit<CalibrationSet, 'counts'>,
    workspace: Workspace,
    memory: number,
    { ends = [], blockEnds = [], float, isOwn = () => true }: ForwardParts = {},
  ) {
    const { graph, model } = opened;
    this.feeds = [...data.fit, ...data.holdout];
    this.samples = data.samples;
    this.rows = this.feeds.reduce((sum, feed) => sum + rowsOf(feed), 0);
    this.batches = [data.fit, data.holdout].flatMap((feeds, i) =>
      sharesOf(feeds).map((share) => ({ heldOut: i === 1, share })),
    );
    this.ownBatches = [...this.feeds.keys()].filter(isOwn);
    this.changed = changedValues(graph, layers);
    const own = layers.filter(({ follows }) => !follows);
    this.stages = stagesOf(graph, own, ends, blockEnds).map((stage) => ({
      ...stage,
      changes: this.changed.has(stage.target),
    }));
    for (const [index, { nodes }] of this.stages.entries())
      for (const node of nodes) this.lastStage.set(node, index);
    // Where weights that see no value stand does not matter to them. But those inside of another node that share one with a layer that
    // sees some take what is fitted there.
    const seen = new Set(own.filter(isSeen).map(({ source }) => source));
    this.first = own.filter(
      (layer) => !isSeen(layer) && (layer.scope.parent === null || !seen.has(layer.source)),
    );
    const corrects = layers.some(({ errorCorrection }) => errorCorrection);
    this.floatBatches =
      float ?? (corrects ? 'all' : this.batches.some(({ heldOut }) => heldOut) ? 'heldOut' : 'none');
    this.store = new ValueStore(workspace, memory);
    this.prefix = unusedPrefix(model.graph!, 'vertexq/');
  }

  async run(
    stage: ModelStage,
    float: FloatBatches,
    onBatch: (batch: number, value: Seen) => Promise<void>,
    signal: AbortSignal | undefined,
  ): Promise<number> {
    const sessions = new Map<Stream, Session>();
    let rank: number | undefined;
    try {
      for (const [i, batch] of this.ownBatches.entries()) {
        signal?.throwIfAborted();
        const isFloat = this.isIn(this.floatBatches, batch);
        if (i === 0) await this.load(stage, 'seen', sessions, batch);
        if (isFloat && !sessions.has('float')) await this.load(stage, 'float', sessions, batch);
        const made = {
          seen: await this.runOne(stage, 'seen', sessions, batch),
          float: isFloat ? await this.runOne(stage, 'float', sessions, batch) : new Map<string, TensorLike>(),
        };
        const target = async (stream: Stream) =>
          made[stream].get(stage.target) ?? (await this.value(stream, stage.target, batch));
        const seen = await target('seen');
        rank = requireRank(stage, rank, seen.dims.length);
        await onBatch(batch, { seen, float: this.isIn(float, batch) ? await target('float') : undefined });
        for (const stream of ['seen', 'float'] as const)
          for (const name of stage.kept) {
            const value = made[stream].get(name);
            if (value) await this.store.put(stream, name, batch, value);
          }
        for (const name of stage.last) this.store.dropBatch(name, batch);
      }
    } finally {
      for (const { session } of sessions.values()) await session.release();
    }
    await this.skip(stage);
    return rank!;
  }

  /** A block whose layers have been fitted: what it computes, and from what. */
  blockOf(end: Stage<ModelLayer>): ForwardBlock {
    const stage = this.stages.find((one) => one === end)!;
    const float = this.floatBatches === 'all' ? 'float' : 'seen';
    return {
      ...{ opened: this.opened, stage, prefix: this.prefix, batches: this.batches },
      inputs: async (batch, of) => {
        const feeds: Feeds = {};
        for (const name of stage.inputs)
          feeds[name] = await this.value(of === 'float' ? float : 'seen', name, batch);
        return feeds;
      },
    };
  }

  async skip(stage: ModelStage): Promise<void> {
    for (const name of stage.last) await this.store.drop(name);
    for (const node of stage.nodes) if (this.lastStage.get(node) === this.done) this.forget(node);
    this.done++;
  }

  async substitute(layer: ModelLayer, quantized: Outcome, signal: AbortSignal | undefined): Promise<void> {
    const { node, weightIndex, constant, order } = layer;
    if ((this.lastStage.get(outerNode(layer)) ?? -1) < this.done) return;
    const forms = this.seenAs.get(quantized) ?? new Map<string, TensorProto>();
    this.seenAs.set(quantized, forms);
    const form = `${order} ${constant.dims.join()} ${constant.dataType}`;
    let tensor = forms.get(form);
    if (!tensor) {
      const values = await asNodeSees(layer, await storedValues(layer, quantized, signal), signal);
      const name = `${this.prefix}${++this.made}`;
      ({ tensor } = await roundedTensor(name, constant.dims, constant.dataType, values, signal));
      forms.set(form, tensor);
    }
    const own = (this.substitutes.get(node) ?? []).filter(({ index }) => index !== weightIndex);
    own.push({ index: weightIndex, tensor });
    this.substitutes.set(node, own);
  }

  /** Forgets what a node, and those that it holds, compute with. */
  private forget(node: NodeProto): void {
    this.substitutes.delete(node);
    for (const body of subgraphsOf(node)) for (const inner of body.node) this.forget(inner);
  }

  private isIn(batches: FloatBatches, batch: number): boolean {
    return batches === 'all' || (batches === 'heldOut' && this.batches[batch]!.heldOut);
  }

  /** The session that the stage needs for a stream, whose values of `batch` are there: none where all is. */
  private async load(
    stage: ModelStage,
    stream: Stream,
    sessions: Map<Stream, Session>,
    batch: number,
  ): Promise<void> {
    const all = [...new Set([...stage.kept, ...(makes(stage) ? [stage.target] : [])])];
    const outputs = stream === 'seen' ? all : all.filter((name) => this.changed.has(name));
    if (outputs.length === 0) return;
    if (outputs.includes('__proto__'))
      throw new VertexqError(
        'ERR_VERTEXQ_UNSUPPORTED',
        'onnxruntime-node cannot give out a value called "__proto__": rename it',
      );
    const inputs = [];
    for (const name of stage.inputs) {
      const { type } = await this.value(stream, name, batch);
      inputs.push({ name, type: type! });
    }
    const what = `${stream === 'seen' ? 'the network' : 'the float network'} up to "${stage.target}"`;
    const session = await loadStage(
      {
        ...this.opened,
        nodes: stage.nodes,
        inputs,
        outputs,
        substitutes: stream === 'seen' ? this.substitutes : new Map<NodeProto, Substitute[]>(),
      },
      what,
    );
    sessions.set(stream, { session, outputs });
  }

  private async runOne(
    stage: ModelStage,
    stream: Stream,
    sessions: ReadonlyMap<Stream, Session>,
    batch: number,
  ): Promise<Map<string, TensorLike>> {
    const loaded = sessions.get(stream);
    if (!loaded) return new Map();
    const feeds = new Map<string, TensorLike>();
    for (const name of stage.inputs) feeds.set(name, await this.value(stream, name, batch));
    const { session, outputs } = loaded;
    return new Map(Object.entries(await session.run(Object.fromEntries(feeds), outputs)));
  }

  /** A value from the feeds or from a stage before. */
  private async value(stream: Stream, name: string, batch: number): Promise<TensorLike> {
    const feeds = this.feeds[batch]!;
    // An input of the network.
    if (this.opened.graph.producerOf(name) === undefined) {
      if (Object.hasOwn(feeds, name)) return feeds[name]!;
      throw new VertexqError('ERR_VERTEXQ_CALIBRATION', `the calibration data has no input "${name}"`);
    }
    return this.store.get(this.changed.has(name) ? stream : 'seen', name, batch);
  }
}

/** Those that a layer will have when it is read back from its file, in which they may be numbers of 16 bits. */
export async function storedValues(
  { settings }: ModelLayer,
  quantized: Coded | { values: Float32Array },
  signal: AbortSignal | undefined,
): Promise<Float32Array> {
  if ('values' in quantized) return quantized.values;
  const [values, type] = [await valuesOf(quantized, signal), settings.stored?.values];
  if (!type) return values;
  return (await convert((await convert(values, 'F32', type, signal)).data, type, 'F32', signal)).data;
}

const makes = ({ nodes, target }: ModelStage) => nodes.some((node) => node.output.includes(target));

/** A weight on the left is written for values of one rank. */
function requireRank(stage: ModelStage, before: number | undefined, rank: number): number {
  const needsOne = stage.layers.some(({ input }) => input!.rows.kind === 'axis' && input!.rows.axis !== -1);
  if (before !== undefined && before !== rank && needsOne)
    throw new VertexqError(
      'ERR_VERTEXQ_UNSUPPORTED',
      `the value "${stage.target}" has rank ${before} for some of the data and ${rank} for other: expected the same`,
    );
  return rank;
}
