import { create } from '@bufbuild/protobuf';
import { VertexqError } from '../../errors';
import {
  NodeProtoSchema,
  TensorProto_DataType as DataType,
  type AttributeProto,
  type GraphProto,
  type ModelProto,
  type NodeProto,
  type TensorProto,
} from './onnx_pb';
import { floatTypes } from './element-types';
import { dimsOf, isExternal } from './tensor';

/** A constant as a node sees it, and where it comes from. */
export interface Constant {
  tensor: TensorProto;
  /** The nodes on the way, the last one first: a `Constant`, and steps that only change the form; none for a plain initializer. */
  chain: NodeProto[];
  /** As the node sees it. */
  dims: number[];
  dataType: number;
  /** dims[i] is dimension order[i] of the tensor as stored, or as reshaped. */
  order: number[];
  /** Whether only `Identity` and `Transpose` are on the way, so that the tensor as stored could be put in place of another. */
  unchanged: boolean;
  /** Whether it is a matrix whose two dimensions are exchanged on the way. */
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
  private readonly users = new Map<string, NodeProto[]>();
  private readonly places: Map<NodeProto, number>;

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
    for (const node of this.proto.node) {
      for (const name of usedBy(node)) this.count(name);
      for (const name of new Set(node.input)) {
        const users = this.users.get(name);
        if (users) users.push(node);
        else this.users.set(name, [node]);
      }
    }
    for (const output of this.proto.output) this.count(output.name);
    this.order = sorted(this.proto.node, (name) => this.producers.get(name), file);
    this.places = new Map(this.order.map((node, place) => [node, place]));
  }

  private count(name: string): void {
    this.uses.set(name, (this.uses.get(name) ?? 0) + 1);
  }

  /** How many inputs, also of nodes in subgraphs, and graph outputs are this value. */
  usesOf(name: string): number {
    return this.uses.get(name) ?? 0;
  }

  /** The nodes, outside of subgraphs, that have a value for an input. */
  usersOf(name: string): readonly NodeProto[] {
    return this.users.get(name) ?? [];
  }

  /** Where a node stands in `order`. */
  placeOf(node: NodeProto): number {
    return this.places.get(node)!;
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

  /** The constant that a value is, seen through `Identity`, `Transpose`, `Reshape` and `Cast`; undefined where it is none. */
  constant(name: string): Constant | undefined {
    const chain: NodeProto[] = [];
    for (let at = name; ;) {
      const tensor = this.initializers.get(at);
      if (tensor) return this.constantOf(tensor, chain);
      const node = this.producers.get(at);
      if (!node || !isStandard(node)) return undefined;
      chain.push(node);
      if (node.opType === 'Constant') {
        const value = attributeOf(node, 'value')?.t;
        return value && this.constantOf(value, chain);
      }
      if (!passing.has(node.opType)) return undefined;
      at = node.input[0] ?? '';
    }
  }

  /** What the steps of `chain` make of a tensor; undefined where they are others than those that `constant` sees through. */
  private constantOf(tensor: TensorProto, chain: NodeProto[]): Constant | undefined {
    let { dataType } = tensor;
    let dims = dimsOf(tensor);
    let order = dims.map((_, i) => i);
    let unchanged = true;
    for (const step of [...chain].reverse()) {
      if (step.opType === 'Transpose') {
        const perm = attributeOf(step, 'perm')?.ints.map(Number) ?? dims.map((_, i) => dims.length - 1 - i);
        if ([...perm].sort((a, b) => a - b).join() !== dims.map((_, i) => i).join()) return undefined;
        dims = perm.map((axis) => dims[axis]!);
        order = perm.map((axis) => order[axis]!);
      } else if (step.opType === 'Reshape') {
        const shape = this.reshaped(step, dims);
        if (!shape || order.some((axis, i) => axis !== i)) return undefined;
        dims = shape;
        order = dims.map((_, i) => i);
        unchanged = false;
      } else if (step.opType === 'Cast') {
        // What went through integers is what these are, whatever type it has in the end.
        if (floatTypes.has(dataType)) dataType = intAttribute(step, 'to', dataType);
        unchanged = false;
      }
    }
    const transposed = order.length === 2 && order[0] === 1;
    return { tensor, chain, dims, dataType, order, unchanged, transposed };
  }

  /** The dimensions that a Reshape gives, where its shape is in the file and fits. */
  private reshaped(step: NodeProto, dims: readonly number[]): number[] | undefined {
    const shape = this.integers(step.input[1] ?? '');
    if (!shape || intAttribute(step, 'allowzero', 0) !== 0) return undefined;
    const result = shape.map((dim, i) => (dim === 0 ? (dims[i] ?? -2) : dim));
    const count = dims.reduce((product, dim) => product * dim, 1);
    const known = result.reduce((product, dim) => (dim === -1 ? product : product * dim), 1);
    const open = result.indexOf(-1);
    if (open >= 0) result[open] = count / known;
    const fits = result.every((dim) => Number.isSafeInteger(dim) && dim >= 0);
    return fits && result.reduce((product, dim) => product * dim, 1) === count ? result : undefined;
  }

  /** The numbers of an int64 constant that is in the message. */
  private integers(name: string): number[] | undefined {
    const maker = this.producers.get(name);
    const tensor =
      this.initializers.get(name) ??
      (maker?.opType === 'Constant' && isStandard(maker) ? attributeOf(maker, 'value')?.t : undefined);
    if (!tensor) return attributeOf(maker ?? noNode, 'value_ints')?.ints.map(Number);
    const { rawData, int64Data } = tensor;
    if (tensor.dataType !== DataType.INT64 || rawData.length % 8 !== 0 || isExternal(tensor))
      return undefined;
    const view = new DataView(rawData.buffer, rawData.byteOffset, rawData.byteLength);
    return rawData.length > 0
      ? Array.from({ length: rawData.length / 8 }, (_, i) => Number(view.getBigInt64(8 * i, true)))
      : int64Data.map(Number);
  }
}

/** Operators that only change a constant's form. */
const passing: ReadonlySet<string> = new Set(['Identity', 'Transpose', 'Reshape', 'Cast']);
const noNode = create(NodeProtoSchema);

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

/** An INTS attribute as numbers; empty where it is not set. */
export function intsAttribute(node: NodeProto, name: string): number[] {
  return attributeOf(node, name)?.ints.map(Number) ?? [];
}

/** A STRING attribute, or its default. */
export function textAttribute(node: NodeProto, name: string, fallback: string): string {
  const attribute = attributeOf(node, name);
  return attribute ? new TextDecoder().decode(attribute.s) : fallback;
}

/** A FLOAT attribute, or its default. */
export function floatAttribute(node: NodeProto, name: string, fallback: number): number {
  return attributeOf(node, name)?.f ?? fallback;
}

/** The graphs that a node holds: branches and bodies. */
export function subgraphsOf(node: NodeProto): GraphProto[] {
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
