import { isSeen, type Layer } from '../layers/layer';
import { type Graph, usedBy } from '../../containers/onnx/graph';
import type { NodeProto } from '../../containers/onnx/onnx_pb';
import { makesNoTensor } from './no-tensors';
import { isRandom } from './random-operators';

/** A part of the graph that is run at once, up to a value that layers see. */
export interface GraphStage<Own extends Layer = Layer> {
  /** The value that `layers` see. */
  target: string;
  /** Layers to quantize once it is known; those of one input together. */
  layers: Own[];
  /** In an order in which they can be run. */
  nodes: NodeProto[];
  /** Values that the nodes take from the graph's inputs and from stages before. */
  inputs: string[];
  /** Values that are made here and taken by later stages. */
  kept: string[];
  /** Values that no later stage takes. */
  last: string[];
  /** Whether the target is the `wider` of those that the layers see, whose stage comes before: it need not be run. */
  ofAll: boolean;
  /** Where it ends a block: the layers inside. It runs all of the block, from what the block is given. */
  block?: Own[];
}

/**
 * Cuts a graph at what `layers` see, and after them at the values `ends`: every node that a layer depends on is in one stage, so that all of them take a time linear in
 * depth. Nodes that depend on no input, and those that make no tensor, which cannot be kept between stages, are in every stage that
 * needs them.
 */
export function stagesOf<Own extends Layer>(
  graph: Graph,
  layers: readonly Own[],
  ends: readonly string[] = [],
  blockEnds: readonly string[] = [],
): GraphStage<Own>[] {
  const kept = new Set(graph.inputs.map(({ name }) => name));
  const repeated = repeatedNodes(graph);
  const stages: GraphStage<Own>[] = [];
  const targets = byInput(layers);
  for (const name of ends) targets.set(name, targets.get(name) ?? []);
  const blocks = new Blocks<Own>(graph, blockEnds, repeated);
  for (const [target, own] of targets) {
    stages.push(...blocks.before(target));
    const { nodes, inputs } = upTo(graph, target, kept, repeated);
    for (const node of nodes) if (!repeated.has(node)) for (const name of node.output) kept.add(name);
    stages.push({ target, layers: own, nodes, inputs, kept: [], last: [], ofAll: false });
    const wider = own[0]?.wider;
    // What it makes is not there for others: it may not be run.
    if (wider !== undefined)
      stages.push({
        ...{ target: wider, layers: own, kept: [], last: [], ofAll: true },
        ...upTo(graph, wider, kept, repeated),
      });
    blocks.add(own);
  }
  stages.push(...blocks.before(null));
  markLives(stages, repeated);
  return stages;
}

/** The stages that end blocks. */
class Blocks<Own extends Layer> {
  private readonly ends: string[];
  private readonly known: Set<string>;
  private layers: Own[] = [];

  constructor(
    private readonly graph: Graph,
    ends: readonly string[],
    private readonly repeated: ReadonlySet<NodeProto>,
  ) {
    this.ends = [...ends].sort((a, b) => this.placeOf(a) - this.placeOf(b));
    this.known = new Set(graph.inputs.map(({ name }) => name));
  }

  add(layers: readonly Own[]): void {
    this.layers.push(...layers);
  }

  /** Of the blocks that end before a value or with it, and have layers; null for all that are left. */
  before(target: string | null): GraphStage<Own>[] {
    const stages: GraphStage<Own>[] = [];
    const place = target === null ? Infinity : this.placeOf(target);
    for (let [end] = this.ends; end !== undefined && this.placeOf(end) <= place; [end] = this.ends) {
      this.ends.shift();
      const { nodes, inputs } = upTo(this.graph, end, this.known, this.repeated);
      for (const node of nodes)
        if (!this.repeated.has(node)) for (const name of node.output) this.known.add(name);
      // It is made on the way to the next layers.
      if (this.layers.length === 0) continue;
      stages.push({
        ...{ target: end, layers: [], nodes, inputs, kept: [], last: [], ofAll: false },
        block: this.layers,
      });
      this.layers = [];
    }
    return stages;
  }

  private placeOf(value: string): number {
    const maker = this.graph.producerOf(value);
    return maker ? this.graph.placeOf(maker) : -1;
  }
}

/** Layers by the value that they see, in the order of the graph. */
function byInput<Own extends Layer>(layers: readonly Own[]): Map<string, Own[]> {
  const groups = new Map<string, Own[]>();
  for (const layer of layers) {
    if (!isSeen(layer)) continue;
    const { value } = layer.input!;
    const own = groups.get(value);
    if (own) own.push(layer);
    else groups.set(value, [layer]);
  }
  return groups;
}

/** What must be run to know `target` when the values `kept` are known. */
function upTo(
  graph: Graph,
  target: string,
  kept: ReadonlySet<string>,
  repeated: ReadonlySet<NodeProto>,
): { nodes: NodeProto[]; inputs: string[] } {
  const needed = new Set<NodeProto>();
  const inputs = new Set<string>();
  const seen = new Set<string>();
  const pending = [target];
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    if (seen.has(name)) continue;
    seen.add(name);
    const maker = graph.producerOf(name);
    if (kept.has(name) && !(maker && repeated.has(maker))) {
      inputs.add(name);
    } else if (maker && !needed.has(maker)) {
      needed.add(maker);
      // One by one: there may be more than the stack holds.
      for (const used of usedBy(maker)) pending.push(used);
    }
  }
  const nodes = [...needed].sort((a, b) => graph.placeOf(a) - graph.placeOf(b));
  return { nodes, inputs: [...inputs] };
}

/** Fills in which values live from one stage to another. */
function markLives(stages: GraphStage[], repeated: ReadonlySet<NodeProto>): void {
  const later = new Set<string>();
  for (const stage of [...stages].reverse()) {
    const made = stage.ofAll
      ? []
      : stage.nodes.filter((node) => !repeated.has(node)).flatMap((node) => node.output);
    stage.kept = made.filter((name) => later.has(name));
    stage.last = stage.inputs.filter((name) => !later.has(name));
    for (const name of stage.inputs) later.add(name);
  }
}

/** The values that are no tensors. */
export function valuesOfOtherKinds({ order }: Graph): Set<string> {
  const found = new Set<string>();
  for (const node of order)
    if (makesNoTensor(node, (name) => found.has(name))) for (const name of node.output) found.add(name);
  return found;
}

function repeatedNodes(graph: Graph): Set<NodeProto> {
  const repeated = new Set<NodeProto>();
  const constant = new Set<NodeProto>();
  const noTensors = valuesOfOtherKinds(graph);
  for (const node of graph.order) {
    const fromConstants = usedBy(node).every((name) => {
      const maker = graph.producerOf(name);
      return maker ? constant.has(maker) : graph.initializer(name) !== undefined;
    });
    if (fromConstants && !isRandom(node)) constant.add(node);
    if (node.output.some((name) => noTensors.has(name)) || constant.has(node)) repeated.add(node);
  }
  return repeated;
}
