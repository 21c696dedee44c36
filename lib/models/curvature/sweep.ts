import type { Workspace } from '../../runs/workspace';
import { placesIn } from '../../traversal/layer';
import type { JobOptions, TensorLike } from '../../types';
import { changedValues } from '../forward/changed-values';
import type { GraphStage } from '../forward/stages';
import { type Stream, ValueStore } from '../forward/value-store';
import { typeOf } from '../gradients/types';
import type { Layer } from '../layers/layer';
import { runtimeNameOf } from '../../containers/onnx/element-types';
import { unusedPrefix } from '../../containers/onnx/graph';
import type { OpenModel } from '../open-model';
import type { Feeds } from '../types';
import { Answers, mostDraws } from './answers';
import { type Asked, askedOf } from './asked';
import { type PartNetwork, PartNetworks } from './part-networks';
import { partsOf } from './parts';
import { type Head, joined, piecesOf } from './pieces';
import { type CotangentInput, type Gradient, PartGradients, type Watched } from './part-gradients';
import type { ChannelGrams } from './channel-grams';
import type { Question, Taken } from './question';
import { hiddenProducts } from './row-squares';

/** What is gone back through. */
export interface SweepTask<Own extends Layer> {
  opened: OpenModel;
  /** Those that see a value of the network. */
  layers: readonly Own[];
  feeds: readonly Feeds[];
  /** Whether a batch is run, of a language model; default: all are. */
  isOwn?: ((batch: number) => boolean) | undefined;
  /** Values that the network is cut at, such as the ends of its blocks; chosen by the layers where there are none. */
  ends?: readonly string[];
  /** Of a language model: what the head takes, token by token, and its logits. */
  head?: Head;
  workspace: Workspace;
  /** Bytes of what lives between parts that stay out of files. */
  memory: number;
  /** Default: answers of the float network's own. */
  question?: Question;
  /** What takes the gradients at layers' outputs themselves. */
  channels?: ChannelGrams<Own> | undefined;
}

/** Networks that ask outputs: that which is gone back through, and beside it the float one, whose outputs go into it `as` these. */
interface Asking {
  own: PartNetwork;
  float: { network: PartNetwork; as: ReadonlyMap<string, string> } | null;
}

/**
 * Goes back through a network for what a question asks of its layers: by default mean squares of gradients at their outputs, row by row, of the float network: how much its outputs feel of an error there (docs/curvature.md). Forward
 * part by part, keeping what passes between them, then back part by part, each computed again together with its vector-Jacobian product. Time:
 * about three runs of the network, and more where several answers are drawn. Memory: as the traversal's, and one number a row and layer, all of it in files
 * beyond `memory`.
 */
export class Sweep<Own extends Layer> {
  /** Why a layer has none. */
  readonly reasons = new Map<Own, string>();
  private readonly graph;
  private readonly places: ReadonlyMap<Own, number>;
  private readonly asked: readonly Asked[];
  private readonly parts: readonly GraphStage[];
  private readonly watched: Watched<Own>[] = [];
  private readonly gradients: PartGradients<Own>;
  /** Known once there is an output. */
  private draws: number | undefined;
  private readonly prefix: string;
  private readonly values: ValueStore;
  private readonly cotangents: ValueStore;
  /** What was asked of each layer, by batch. */
  private readonly told: ValueStore;
  private readonly networks: PartNetworks;
  /** The values of the network that is gone back through. */
  private readonly stream: Stream;
  /** Values of parts before that cotangents have been put for. */
  private readonly pending = new Set<string>();
  private readonly question: Question;
  private readonly found = new Set<Own>();
  private readonly first: number;
  private done = 0;

  constructor(
    private readonly task: SweepTask<Own>,
    private readonly options: JobOptions,
  ) {
    const { opened, layers, ends = [], workspace, memory, isOwn, feeds } = task;
    this.first = isOwn ? [...task.feeds.keys()].findIndex(isOwn) : 0;
    this.graph = opened.graph;
    this.places = placesIn(layers);
    this.asked = askedOf(this.graph);
    this.parts = partsOf(
      this.graph,
      layers,
      ends,
      this.asked.map(({ value }) => value),
    );
    for (const layer of layers) {
      const reason = hiddenProducts(layer);
      if (reason !== undefined) this.reasons.set(layer, reason);
      else this.watched.push({ layer, value: layer.node.output[0]! });
    }
    this.prefix = unusedPrefix(opened.model.graph!, 'curvature/');
    this.question = task.question ?? new Answers(feeds, options, isOwn);
    const { floats } = this.question;
    this.gradients = new PartGradients({
      ...{ opened, question: this.question, watched: this.watched, reasons: this.reasons },
      ...{ asked: this.asked, pending: this.pending, behind: changedValues(this.graph, layers) },
      prefix: this.prefix,
    });
    this.stream = floats ? 'seen' : 'float';
    this.values = new ValueStore(workspace, memory / 2, 'forward');
    this.cotangents = new ValueStore(workspace, memory / 4, 'back');
    this.told = new ValueStore(workspace, memory / 4, 'rows');
    this.networks = new PartNetworks(opened, feeds, this.values, this.first, floats ?? new Map());
  }

  /** Rejects with what running the network brings; with the signal's reason. */
  async run(): Promise<void> {
    if (this.watched.length > 0) {
      if (this.question.floats) await this.forwardBeside();
      for (const [index, part] of this.parts.entries()) await this.forward(part, index, this.stream);
      for (const [index, part] of [...this.parts.entries()].reverse()) await this.back(part, index);
    }
    for (const { layer } of this.watched)
      if (!this.reasons.has(layer) && !this.found.has(layer))
        this.reasons.set(layer, 'no output of the network depends on it');
  }

  /** What was asked of a layer in a batch, of each row by default; undefined where there is none, as `reasons` tells. */
  async toldOf(layer: Own, batch: number): Promise<Float32Array | undefined> {
    if (this.reasons.has(layer)) return undefined;
    return (await this.told.get('float', this.nameOf(layer), batch)).data as Float32Array;
  }

  /** What of the network was asked, and how many rows of it there were. */
  get judged(): { kind: Asked['kind']; rows: number } {
    const rows = this.asked.reduce((sum, { value }) => sum + this.question.rowsOf(value), 0);
    return { kind: this.asked[0]?.kind ?? 'signs', rows };
  }

  private nameOf = (layer: Own) => `${this.places.get(layer)}`;

  private isMadeIn(part: GraphStage, value: string): boolean {
    return part.nodes.some(({ output }) => output.includes(value)) && !part.inputs.includes(value);
  }

  private askedIn = (part: GraphStage) => this.asked.filter(({ value }) => this.isMadeIn(part, value));

  /** Runs the float network for what its outputs are computed from. */
  private async forwardBeside(): Promise<void> {
    const needed = new Set(
      this.parts.filter((part) => this.askedIn(part).length > 0).flatMap(({ inputs }) => inputs),
    );
    for (const [index, part] of this.parts.entries()) {
      await this.forward(part, index, 'float');
      for (const name of part.last) if (!needed.has(name)) await this.values.drop(name);
    }
  }

  private async forward(part: GraphStage, index: number, stream: Stream): Promise<void> {
    const { nodes, kept } = part;
    if (kept.length > 0) {
      const what = this.nameOfPart(part, index);
      const network = await this.networks.load(part, stream, { nodes, outputs: kept, what });
      await this.each([network], async (batch) => {
        const made = await this.networks.run(network, await this.networks.inputsOf(part, stream, batch));
        for (const name of kept) await this.values.put(stream, name, batch, made[name]!);
      });
    }
    this.step();
  }

  private async back(part: GraphStage, index: number): Promise<void> {
    const asked = this.askedIn(part);
    const made = new Set(
      part.nodes.flatMap(({ output }) => output).filter((name) => !part.inputs.includes(name)),
    );
    const known = [...made].filter(
      (name) => this.pending.has(name) || asked.some(({ value }) => value === name),
    );
    const gradient = this.gradients.of(part, known, made);
    if (gradient) {
      await this.backThrough(part, index, asked, gradient);
      for (const name of gradient.results.keys()) this.pending.add(name);
    }
    for (const name of known) await this.cotangents.drop(name);
    // None of the parts before takes what is first taken here.
    const before = new Set(this.parts.slice(0, index).flatMap(({ inputs }) => inputs));
    for (const name of part.inputs) if (!before.has(name)) await this.values.drop(name);
    this.step();
  }

  private async backThrough(
    part: GraphStage,
    index: number,
    asked: readonly Asked[],
    gradient: Gradient<Own>,
  ): Promise<void> {
    const loaded: PartNetwork[] = [];
    const load = async () => {
      const asking = asked.length > 0 ? await this.loadAsking(part, index, asked, loaded) : null;
      const network = await this.networks.load(part, this.stream, {
        ...{ nodes: [...part.nodes, ...gradient.nodes], constants: gradient.constants },
        outputs: [
          ...gradient.results.values(),
          ...[...gradient.rows].flatMap(([layer, taken]) => [
            taken.result,
            ...this.cotangentOf(layer, taken),
          ]),
        ],
        inputs: await this.cotangentInputs(gradient.inputs),
        what: `${this.nameOfPart(part, index)}, and its gradients ("weighting")`,
      });
      loaded.push(network);
      return { asking, network };
    };
    const { asking, network } = await load().catch(async (error: unknown) => {
      for (const { session } of loaded) await session.release();
      throw error;
    });
    await this.each(loaded, (batch) => this.backOne(part, batch, asked, asking, network, gradient));
    await this.task.channels?.settle();
  }

  /** Goes back through a part with what is asked of its outputs and what has come of the parts behind. */
  private async backOne(
    part: GraphStage,
    batch: number,
    asked: readonly Asked[],
    asking: Asking | null,
    network: PartNetwork,
    gradient: Gradient<Own>,
  ): Promise<void> {
    const { networks, question } = this;
    const values = await networks.inputsOf(part, this.stream, batch);
    const pieces = (of: Feeds) => piecesOf(this.task.head, part, of);
    const beside = asking?.float ? pieces(await networks.inputsOf(part, 'float', batch)) : [];
    // By draw and result, of the pieces one behind the other.
    const made: Map<string, TensorLike[]>[] = [];
    question.begin(batch);
    for (const [i, piece] of pieces(values).entries()) {
      const outputs = asking ? await this.askOne(asking, asked, piece, beside[i] ?? {}) : new Map<string, TensorLike>(); // prettier-ignore
      for (const one of asked) this.draws ??= question.drawsOf(one, outputs.get(one.value)!);
      for (let draw = 0; draw < (this.draws ?? 1); draw++) {
        const drawn = new Map<string, TensorLike>();
        for (const one of asked)
          drawn.set(one.value, await question.cotangents(one, outputs.get(one.value)!, draw, batch));
        const feeds: Feeds = { ...piece };
        for (const [input, { value, from }] of gradient.inputs)
          feeds[input] =
            from === 'draw'
              ? drawn.get(value)!
              : await this.cotangents.get('float', value, batch * mostDraws + draw);
        const results = await networks.run(network, feeds);
        const own = (made[draw] ??= new Map<string, TensorLike[]>());
        for (const name of network.outputs) own.set(name, [...(own.get(name) ?? []), results[name]!]);
      }
    }
    for (const [draw, own] of made.entries())
      for (const [name, result] of gradient.results)
        await this.cotangents.put(
          'float',
          name,
          batch * mostDraws + draw,
          joined(own.get(result)!, values[name]!.dims),
        );
    for (const [layer, taken] of gradient.rows) {
      const { result, channels } = taken;
      const all = made.map((own) => joined(own.get(result)!).data as Float32Array);
      for (const cotangent of this.cotangentOf(layer, taken))
        for (const [draw, own] of made.entries())
          await this.task.channels!.add(
            layer,
            batch,
            joined(own.get(cotangent)!).data as Float32Array,
            all[draw]!,
          );
      const count = all.length * channels;
      const data = all[0]!.map((_, i) => all.reduce((sum, own) => sum + own[i]!, 0) / count);
      await this.told.put('float', this.nameOf(layer), batch, {
        data,
        dims: [data.length],
        type: 'float32',
      });
      this.found.add(layer);
    }
  }

  /** The name of what is asked for besides, of a layer whose gradients are summed. */
  private cotangentOf = (layer: Own, { cotangent }: Taken): string[] =>
    cotangent !== undefined && this.task.channels?.takes(layer) ? [cotangent] : [];

  /** What asks a part's outputs, beside the float network's where the question compares. */
  private async loadAsking(
    part: GraphStage,
    index: number,
    asked: readonly Asked[],
    loaded: PartNetwork[],
  ): Promise<Asking> {
    const { networks, question, stream } = this;
    const values = asked.map(({ value }) => value);
    const own = { nodes: part.nodes, outputs: values, what: this.nameOfPart(part, index) };
    const differing = question.differing?.(asked, this.graph, this.prefix);
    const load = async (...of: Parameters<PartNetworks['load']>) => {
      const network = await networks.load(...of);
      loaded.push(network);
      return network;
    };
    if (!differing) return { own: await load(part, stream, own), float: null };
    const { nodes, inputs, outputs } = differing;
    return {
      float: { network: await load(part, 'float', own), as: new Map(inputs.map(({ name }, i) => [values[i]!, name])) }, // prettier-ignore
      own: await load(part, stream, { ...own, nodes: [...part.nodes, ...nodes], inputs, outputs }),
    };
  }

  /** What outputs give that is asked about, by value. */
  private async askOne({ own, float }: Asking, asked: readonly Asked[], piece: Feeds, beside: Feeds) {
    const feeds = { ...piece };
    if (float)
      for (const [value, tensor] of Object.entries(await this.networks.run(float.network, beside)))
        feeds[float.as.get(value)!] = tensor;
    const made = await this.networks.run(own, feeds);
    return new Map(asked.map(({ value }, i) => [value, made[own.outputs[i]!]!]));
  }

  private async cotangentInputs(inputs: ReadonlyMap<string, CotangentInput>) {
    const typed: { name: string; type: string }[] = [];
    for (const [name, { value, from }] of inputs) {
      const later =
        from === 'later'
          ? (await this.cotangents.get('float', value, this.first * mostDraws)).type
          : undefined;
      typed.push({ name, type: later ?? runtimeNameOf(typeOf(this.graph, value)) });
    }
    return typed;
  }

  private nameOfPart = ({ target }: GraphStage, index: number) =>
    `part ${index + 1} of ${this.parts.length} of the ${this.stream === 'float' ? 'float ' : ''}network, up to "${target}"`;

  private async each(loaded: readonly PartNetwork[], visit: (batch: number) => Promise<void>): Promise<void> {
    try {
      for (const batch of this.task.feeds.keys()) {
        this.options.signal?.throwIfAborted();
        if (this.task.isOwn?.(batch) ?? true) await visit(batch);
      }
    } finally {
      for (const { session } of loaded) await session.release();
    }
  }

  private get steps(): number {
    return (this.question.floats ? 3 : 2) * this.parts.length;
  }

  private step(): void {
    this.options.onProgress?.({ stage: 'weigh', done: ++this.done, total: this.steps });
  }
}
