import { VertexqError } from '../../errors';
import type { AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto } from './onnx_pb';

/** Where a constant comes from, and what stands between it and its use. */
export interface Constant {
  tensor: TensorProto;
  /** The nodes on the way: a `Constant`, `Identity` or `Transpose`; none for a plain initializer. */
  chain: NodeProto[];
  /** Whether the `Transpose` nodes on the way exchange the two dimensions. */
  transposed: boolean;
}

/** A model's main graph with its connections. Nodes and tensors are the model's own objects. */
export class Graph {
  readonly proto: GraphProto;
  /** Nodes so that each stands behind those whose outputs it uses, otherwise in the file's order. */
  readonly order: NodeProto[];
  private readonly initializers = new Map<string, TensorProto>();
  private readonly producers = new Map<string, NodeProto>();
  private readonly uses = new Map<string, number>();

  /** Throws ERR_VERTEXQ_ONNX at a value that is made twice and at a cycle. `file` is for messages. */
  constructor(
    model: ModelProto,
    readonly file: string,
  ) {
    this.proto = model.graph!;
    for (const tensor of this.proto.initializer) this.initializers.set(tensor.name, tensor);
    const given = new Set(this.proto.input.map((input) => input.name));
    for (const node of this.proto.node)
      for (const output of node.output) {
        if (output === '') continue;
        if (this.initializers.has(output) || given.has(output))
          throw new VertexqError(
            'ERR_VERTEXQ_ONNX',
            `${file}: a node makes the value "${output}", which is an initializer or input of the graph`,
          );
        if (this.producers.has(output))
          throw new VertexqError('ERR_VERTEXQ_ONNX', `${file}: two nodes make the value "${output}"`);
        this.producers.set(output, node);
      }
    for (const node of this.proto.node) for (const name of usedBy(node)) this.count(name);
    for (const output of this.proto.output) this.count(output.name);
    this.order = sorted(this.proto.node, (name) => this.producers.get(name), file);
  }

  private count(name: string): void {
    this.uses.set(name, (this.uses.get(name) ?? 0) + 1);
  }

  /** How many inputs, also of nodes in subgraphs, and graph outputs are this value. */
  usesOf(name: string): number {
    return this.uses.get(name) ?? 0;
  }

  producerOf(name: string): NodeProto | undefined {
    return this.producers.get(name);
  }

  initializer(name: string): TensorProto | undefined {
    return this.initializers.get(name);
  }

  /** The graph's inputs that must be fed: not those that only give an initializer's type. */
  get inputs() {
    return this.proto.input.filter((input) => !this.initializers.has(input.name));
  }

  /** The constant that a value is, seen through `Identity` and `Transpose`; undefined where it is none. */
  constant(name: string): Constant | undefined {
    const chain: NodeProto[] = [];
    let flips = false;
    for (;;) {
      const tensor = this.initializers.get(name);
      if (tensor) return { tensor, chain, transposed: flips };
      const node = this.producers.get(name);
      if (!node || !isStandard(node)) return undefined;
      chain.push(node);
      if (node.opType === 'Constant') {
        const value = attributeOf(node, 'value')?.t;
        return value && { tensor: value, chain, transposed: flips };
      }
      if (node.opType === 'Transpose') {
        const perm = attributeOf(node, 'perm')?.ints ?? [1n, 0n];
        if (perm.length !== 2 || perm[0]! + perm[1]! !== 1n) return undefined;
        if (perm[0] === 1n) flips = !flips;
      } else if (node.opType !== 'Identity') {
        return undefined;
      }
      name = node.input[0] ?? '';
    }
  }
}

/** Whether a node's operator is ONNX's own. */
export function isStandard(node: NodeProto): boolean {
  return node.domain === '' || node.domain === 'ai.onnx';
}

export function attributeOf(node: NodeProto, name: string): AttributeProto | undefined {
  return node.attribute.find((attribute) => attribute.name === name);
}

/** An INT attribute, or its default. */
export function intAttribute(node: NodeProto, name: string, fallback: number): number {
  const attribute = attributeOf(node, name);
  return attribute ? Number(attribute.i) : fallback;
}

/** A FLOAT attribute, or its default. */
export function floatAttribute(node: NodeProto, name: string, fallback: number): number {
  return attributeOf(node, name)?.f ?? fallback;
}

/** The graphs that a node holds: branches and bodies. */
function subgraphsOf(node: NodeProto): GraphProto[] {
  return node.attribute.flatMap(({ g, graphs }) => (g ? [g, ...graphs] : graphs));
}

/** A graph and all that its nodes hold, however deep. */
export function* withSubgraphs(graph: GraphProto): Generator<GraphProto> {
  yield graph;
  for (const node of graph.node) for (const body of subgraphsOf(node)) yield* withSubgraphs(body);
}

/** Every tensor of a graph and its subgraphs: initializers and attributes. */
export function* tensorsOf(graph: GraphProto): Generator<TensorProto> {
  for (const { initializer, node } of withSubgraphs(graph)) {
    yield* initializer;
    for (const { attribute } of node)
      for (const { t, tensors } of attribute) {
        if (t) yield t;
        yield* tensors;
      }
  }
}

/** The names of all values and nodes of a graph and its subgraphs: no value of a subgraph may be called like one outside. */
export function namesOf(graph: GraphProto): Set<string> {
  const names = new Set<string>();
  for (const { initializer, input, output, node } of withSubgraphs(graph)) {
    for (const { name } of [...initializer, ...input, ...output, ...node]) names.add(name);
    for (const made of node) for (const name of [...made.input, ...made.output]) names.add(name);
  }
  return names;
}

/** The values a node takes: its inputs, and what its subgraphs take from outside. */
export function usedBy(node: NodeProto): string[] {
  const names = node.input.filter((name) => name !== '');
  for (const body of subgraphsOf(node)) {
    const own = new Set([
      ...body.input.map((input) => input.name),
      ...body.initializer.map((tensor) => tensor.name),
      ...body.node.flatMap((inner) => inner.output),
    ]);
    const taken = [...body.node.flatMap(usedBy), ...body.output.map((output) => output.name)];
    for (const name of taken) if (!own.has(name)) names.push(name);
  }
  return names;
}

/** Depth first without recursion: networks have chains longer than the stack. */
function sorted(
  nodes: NodeProto[],
  producer: (name: string) => NodeProto | undefined,
  file: string,
): NodeProto[] {
  const order: NodeProto[] = [];
  const state = new Map<NodeProto, 'open' | 'done'>();
  for (const root of nodes) {
    const stack = [root];
    while (stack.length > 0) {
      const node = stack[stack.length - 1]!;
      if (state.get(node) === undefined) {
        state.set(node, 'open');
        for (const name of usedBy(node).reverse()) {
          const before = producer(name);
          if (!before || state.get(before) === 'done') continue;
          if (state.get(before) === 'open')
            throw new VertexqError(
              'ERR_VERTEXQ_ONNX',
              `${file}: the graph has a cycle through node "${node.name}" (${node.opType})`,
            );
          stack.push(before);
        }
        continue;
      }
      stack.pop();
      if (state.get(node) === 'open') {
        state.set(node, 'done');
        order.push(node);
      }
    }
  }
  return order;
}
