import { VertexqError } from '../../errors';
import { describe } from '../../options/messages';
import type { Workspace } from '../../runs/workspace';
import { placesIn } from '../../traversal/layer';
import type { JobOptions, TensorLike } from '../../types';
import { changedValues } from '../forward/changed-values';
import { loadStage } from '../forward/stage-network';
import type { GraphStage } from '../forward/stages';
import { ValueStore } from '../forward/value-store';
import { gradientOf, type Part } from '../gradients/index';
import { typeOf } from '../gradients/types';
import type { Layer } from '../layers/layer';
import { floatTypes, runtimeNameOf } from '../onnx/element-types';
import { unusedPrefix } from '../onnx/graph';
import { node } from '../onnx/make';
import type { NodeProto, TensorProto } from '../onnx/onnx_pb';
import { opsetOf } from '../onnx/opset';
import type { OpenModel } from '../open-model';
import type { ThreadedSession } from '../threaded-session';
import type { Feeds } from '../types';
import { Answers, drawsOf, mostDraws } from './answers';
import { type Asked, askedOf } from './asked';
import { partsOf } from './parts';
import { type Head, joined, piecesOf } from './pieces';
import { channelsOf, hiddenProducts, rowSquares } from './row-squares';

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
}

/** What nodes take of a batch's values, and give. */
interface PartNetwork {
  session: ThreadedSession;
  outputs: string[];
}

/** The cotangent of a value: what is drawn for it, or what has come of the parts behind. */
interface CotangentInput {
  value: string;
  from: 'draw' | 'later';
}

/** A layer that weights are made for, and the value that its rows' products are. */
interface Watched<Own> {
  layer: Own;
  value: string;
}

/**
 * Mean squares of gradients at the outputs of layers, row by row, of a float network: how much its outputs feel of an error there (docs/curvature.md). Forward
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
  /** Values that some layer's outputs flow into. */
  private readonly behind: ReadonlySet<string>;
  /** Known once there is an output. */
  private draws: number | undefined;
  private readonly prefix: string;
  private readonly values: ValueStore;
  private readonly cotangents: ValueStore;
  private readonly squares: ValueStore;
  /** Values of parts before that cotangents have been put for. */
  private readonly pending = new Set<string>();
  /** Values that an operator without a rule keeps from having all of theirs, and why. */
  private readonly blocked = new Map<string, string>();
  private readonly answers: Answers;
  private readonly found = new Set<Own>();
  private readonly first: number;
  private done = 0;

  constructor(
    private readonly task: SweepTask<Own>,
    private readonly options: JobOptions,
  ) {
    const { opened, layers, ends = [], workspace, memory, isOwn } = task;
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
    this.behind = changedValues(this.graph, layers);
    for (const layer of layers) {
      const reason = hiddenProducts(layer);
      if (reason !== undefined) this.reasons.set(layer, reason);
      else this.watched.push({ layer, value: layer.node.output[0]! });
    }
    this.prefix = unusedPrefix(opened.model.graph!, 'curvature/');
    this.answers = new Answers(task.feeds, options, isOwn);
    this.values = new ValueStore(workspace, memory / 2, 'forward');
    this.cotangents = new ValueStore(workspace, memory / 4, 'back');
    this.squares = new ValueStore(workspace, memory / 4, 'rows');
  }

  /** Rejects with what running the network brings; with the signal's reason. */
  async run(): Promise<void> {
    if (this.watched.length > 0) {
      for (const [index, part] of this.parts.entries()) await this.forward(part, index);
      for (const [index, part] of [...this.parts.entries()].reverse()) await this.back(part, index);
    }
    for (const { layer } of this.watched)
      if (!this.reasons.has(layer) && !this.found.has(layer))
        this.reasons.set(layer, 'no output of the network depends on it');
  }

  /** Of each row of a layer in a batch; undefined where there are none, as `reasons` tells. */
  async squaresOf(layer: Own, batch: number): Promise<Float32Array | undefined> {
    if (this.reasons.has(layer)) return undefined;
    return (await this.squares.get('float', this.nameOf(layer), batch)).data as Float32Array;
  }

  /** What of the network was asked, and how many rows of it there were. */
  get judged(): { kind: Asked['kind']; rows: number } {
    const rows = this.asked.reduce((sum, { value }) => sum + this.answers.rowsOf(value), 0);
    return { kind: this.asked[0]?.kind ?? 'signs', rows };
  }

  private nameOf = (layer: Own) => `${this.places.get(layer)}`;

  private isMadeIn(part: GraphStage, value: string): boolean {
    return part.nodes.some(({ output }) => output.includes(value)) && !part.inputs.includes(value);
  }

  private askedIn = (part: GraphStage) => this.asked.filter(({ value }) => this.isMadeIn(part, value));

  private async forward(part: GraphStage, index: number): Promise<void> {
    if (part.kept.length > 0) {
      const network = await this.load(part, part.nodes, [], part.kept, index);
      await this.each(network, async (batch) => {
        const made = await this.runOne(network, await this.inputsOf(part, batch));
        for (const name of part.kept) await this.values.put('float', name, batch, made[name]!);
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
    const gradient = this.gradient(part, known, made);
    if (gradient) {
      const forward =
        asked.length > 0
          ? await this.load(
              part,
              part.nodes,
              [],
              asked.map(({ value }) => value),
              index,
            )
          : null;
      try {
        const network = await this.load(
          part,
          [...part.nodes, ...gradient.nodes],
          gradient.constants,
          [...gradient.results.values(), ...[...gradient.rows.values()].map(({ result }) => result)],
          index,
          gradient.inputs,
        );
        await this.each(network, (batch) => this.backOne(part, batch, asked, forward, network, gradient));
      } finally {
        await forward?.session.release();
      }
      for (const name of gradient.results.keys()) this.pending.add(name);
    }
    for (const name of known) await this.cotangents.drop(name);
    // None of the parts before takes what is first taken here.
    const before = new Set(this.parts.slice(0, index).flatMap(({ inputs }) => inputs));
    for (const name of part.inputs) if (!before.has(name)) await this.values.drop(name);
    this.step();
  }

  /** The nodes that take cotangents back through a part; null where nothing is asked of it. */
  private gradient(part: GraphStage, known: readonly string[], made: ReadonlySet<string>) {
    const own = this.watched.filter(({ value, layer }) => made.has(value) && !this.reasons.has(layer));
    const wanted = [
      ...new Set([
        ...part.inputs.filter((name) => this.behind.has(name) && floatTypes.has(typeOf(this.graph, name))),
        ...own.map(({ value }) => value),
      ]),
    ];
    const whole: Omit<Part, 'outputs'> = {
      ...{ graph: this.graph, opset: opsetOf(this.task.opened.model), nodes: part.nodes },
      ...{ wanted, prefix: this.prefix },
    };
    // What flows into a value that lacks some of its cotangents lacks some too.
    for (const [value, reason] of [...this.blocked]) {
      if (!made.has(value)) continue;
      const through = gradientOf({ ...whole, outputs: [value] });
      for (const name of [...through.results.keys(), ...through.missing.flatMap(({ values }) => values)])
        this.block(name, reason);
    }
    const free = wanted.filter((name) => !this.blocked.has(name));
    const outputs = known.filter((name) => !this.blocked.has(name));
    const { nodes, constants, cotangents, results, missing } = gradientOf({
      ...whole,
      outputs,
      wanted: free,
    });
    for (const { operator, node: place, reason, values } of missing)
      for (const name of values)
        this.block(
          name,
          reason === undefined
            ? `no gradient passes the operator ${operator} (${describe(place)})`
            : `no gradient passes the operator ${operator} (${describe(place)}): ${reason}`,
        );
    const rows = new Map<Own, { result: string }>();
    const all = [...nodes];
    const others: TensorProto[] = [...constants];
    for (const { layer, value } of own) {
      const blockedBy = this.blocked.get(value);
      const cotangent = results.get(value);
      if (blockedBy !== undefined) this.reasons.set(layer, blockedBy);
      else if (cotangent !== undefined) {
        const squares = rowSquares(layer, cotangent, this.prefix);
        all.push(...squares.nodes);
        others.push(...squares.constants);
        rows.set(layer, squares);
      }
    }
    const inputs = new Map<string, CotangentInput>();
    const isAsked = (name: string) => this.asked.some(({ value }) => value === name);
    for (const [value, input] of cotangents)
      if (!isAsked(value) || !this.pending.has(value))
        inputs.set(input, { value, from: isAsked(value) ? 'draw' : 'later' });
      else {
        // What is given out is used besides.
        const [drawn, later] = [`${this.prefix}drawn/${value}`, `${this.prefix}later/${value}`];
        inputs.set(drawn, { value, from: 'draw' }).set(later, { value, from: 'later' });
        all.unshift(node('Add', [drawn, later], [input]));
      }
    const back = new Map<string, string>();
    for (const name of part.inputs) {
      const result = results.get(name);
      if (result === undefined) continue;
      back.set(name, result);
      if (!this.pending.has(name)) continue;
      // Of parts behind this one, too.
      const [later, sum] = [`${this.prefix}later/${name}`, `${this.prefix}all/${name}`];
      all.push(node('Add', [result, later], [sum]));
      inputs.set(later, { value: name, from: 'later' });
      back.set(name, sum);
    }
    if (back.size === 0 && rows.size === 0) return null;
    return { nodes: all, constants: others, inputs, results: back, rows };
  }

  private block(value: string, reason: string): void {
    if (!this.blocked.has(value)) this.blocked.set(value, reason);
  }

  /** Goes back through a part with what is drawn for its outputs and what has come of the parts behind. */
  private async backOne(
    part: GraphStage,
    batch: number,
    asked: readonly Asked[],
    forward: PartNetwork | null,
    network: PartNetwork,
    gradient: NonNullable<ReturnType<Sweep<Own>['gradient']>>,
  ): Promise<void> {
    const values = await this.inputsOf(part, batch);
    // By draw and result, of the pieces one behind the other.
    const made: Map<string, TensorLike[]>[] = [];
    this.answers.begin(batch);
    for (const piece of piecesOf(this.task.head, part, values)) {
      const outputs = forward ? await this.runOne(forward, piece) : {};
      for (const one of asked) this.draws ??= drawsOf(one, outputs[one.value]!);
      for (let draw = 0; draw < (this.draws ?? 1); draw++) {
        const drawn = new Map<string, TensorLike>();
        for (const one of asked)
          drawn.set(one.value, await this.answers.cotangents(one, outputs[one.value]!, draw, batch));
        const feeds: Feeds = { ...piece };
        for (const [input, { value, from }] of gradient.inputs)
          feeds[input] =
            from === 'draw'
              ? drawn.get(value)!
              : await this.cotangents.get('float', value, batch * mostDraws + draw);
        const results = await this.runOne(network, feeds);
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
    for (const [layer, { result }] of gradient.rows) {
      const all = made.map((own) => joined(own.get(result)!).data as Float32Array);
      const count = all.length * channelsOf(layer);
      const data = all[0]!.map((_, i) => all.reduce((sum, own) => sum + own[i]!, 0) / count);
      await this.squares.put('float', this.nameOf(layer), batch, {
        data,
        dims: [data.length],
        type: 'float32',
      });
      this.found.add(layer);
    }
  }

  private async load(
    part: GraphStage,
    nodes: readonly NodeProto[],
    constants: readonly TensorProto[],
    outputs: readonly string[],
    index: number,
    cotangents: ReadonlyMap<string, CotangentInput> = new Map(),
  ): Promise<PartNetwork> {
    const inputs: { name: string; type: string }[] = [];
    for (const name of part.inputs) inputs.push({ name, type: (await this.value(name, this.first)).type! });
    for (const [input, { value, from }] of cotangents) {
      const later =
        from === 'later'
          ? (await this.cotangents.get('float', value, this.first * mostDraws)).type
          : undefined;
      inputs.push({ name: input, type: later ?? runtimeNameOf(typeOf(this.graph, value)) });
    }
    const what = `part ${index + 1} of ${this.parts.length} of the float network, up to "${part.target}"${cotangents.size > 0 ? ', and its gradients ("weighting")' : ''}`;
    const substitutes = new Map<NodeProto, never[]>();
    const session = await loadStage(
      { ...this.task.opened, nodes, constants, inputs, outputs, substitutes },
      what,
    );
    return { session, outputs: [...outputs] };
  }

  private async runOne({ session, outputs }: PartNetwork, feeds: Feeds): Promise<Feeds> {
    return await session.run(feeds, outputs);
  }

  private async each(network: PartNetwork, visit: (batch: number) => Promise<void>): Promise<void> {
    try {
      for (const batch of this.task.feeds.keys()) {
        this.options.signal?.throwIfAborted();
        if (this.task.isOwn?.(batch) ?? true) await visit(batch);
      }
    } finally {
      await network.session.release();
    }
  }

  private async inputsOf(part: GraphStage, batch: number): Promise<Feeds> {
    const feeds: Feeds = {};
    for (const name of part.inputs) feeds[name] = await this.value(name, batch);
    return feeds;
  }

  /** A value from the feeds or from a part before. */
  private async value(name: string, batch: number): Promise<TensorLike> {
    if (this.graph.producerOf(name) !== undefined) return this.values.get('float', name, batch);
    const feeds = this.task.feeds[batch]!;
    if (Object.hasOwn(feeds, name)) return feeds[name]!;
    throw new VertexqError('ERR_VERTEXQ_CALIBRATION', `the calibration data has no input "${name}"`);
  }

  private step(): void {
    this.options.onProgress?.({ stage: 'weigh', done: ++this.done, total: 2 * this.parts.length });
  }
}
