import { type Graph, isStandard } from '../../containers/onnx/graph';
import type { NodeProto } from '../../containers/onnx/onnx_pb';
import { dimsOf } from '../../containers/onnx/tensor';
import type { Dim } from './dims';
import { shapeRules } from './shape-rules';

export type Shape = readonly Dim[];

/**
 * Dimensions of values as far as they follow from the graph: numbers, or symbols of lengths that are the same wherever the same symbol
 * stands. What is unknown is left unknown.
 */
export class Shapes {
  private readonly shapes = new Map<string, Shape>();
  private readonly lists = new Map<string, Shape>();
  private count = 0;

  /** Those of a graph; with `before`, those of nodes that are `add`ed to a graph whose shapes are known. */
  constructor(
    private readonly graph: Graph,
    private readonly before: Shapes | null = null,
  ) {
    if (before) return;
    const inputs = new Set(graph.proto.input);
    for (const info of [...graph.proto.valueInfo, ...inputs]) {
      const { value } = info.type ?? {};
      const shape = value?.case === 'tensorType' ? value.value.shape : undefined;
      // The runtime holds feeds to the numbers of inputs; those of other values may be older than what a file's inputs say now.
      const dims = shape?.dim.map(({ value: dim }) =>
        inputs.has(info) && dim.case === 'dimValue' && dim.value >= 0n ? Number(dim.value) : this.fresh(),
      );
      if (dims) this.shapes.set(info.name, dims);
    }
    for (const node of graph.order) this.add(node);
  }

  static of(graph: Graph): Shapes {
    const known = ofGraphs.get(graph) ?? new Shapes(graph);
    ofGraphs.set(graph, known);
    return known;
  }

  /** undefined where not even the rank is known. */
  shapeOf(name: string): Shape | undefined {
    const own = this.shapes.get(name) ?? this.before?.shapeOf(name);
    if (own) return own;
    const tensor = this.graph.initializer(name);
    return tensor && dimsOf(tensor);
  }

  /** The numbers of a list of integers, or of a single one. */
  listOf(name: string): Shape | undefined {
    return this.lists.get(name) ?? this.before?.listOf(name) ?? this.graph.integers(name);
  }

  /** A length that is not known. */
  fresh(): Dim {
    return `${this.before ? 'g' : 's'}${++this.count}`;
  }

  set(name: string, shape: Shape, list?: Shape): void {
    this.shapes.set(name, shape);
    if (list) this.lists.set(name, list);
  }

  /** Takes in what a node gives. */
  add(node: NodeProto): void {
    const operator = isStandard(node) ? node.opType : `${node.domain}.${node.opType}`;
    if (!Object.hasOwn(shapeRules, operator)) return;
    const made = shapeRules[operator]!({
      node,
      shapes: node.input.map((name) => (name ? this.shapeOf(name) : undefined)),
      lists: node.input.map((name) => (name ? this.listOf(name) : undefined)),
      fresh: () => this.fresh(),
    });
    for (const [i, name] of node.output.entries()) {
      const shape = made.shapes[i];
      if (name && shape) this.shapes.set(name, shape);
    }
    if (made.list && node.output[0]) this.lists.set(node.output[0], made.list);
  }
}

const ofGraphs = new WeakMap<Graph, Shapes>();
