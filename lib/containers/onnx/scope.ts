import { create } from '@bufbuild/protobuf';
import { VertexqError } from '../../errors';
import { floatTypes } from './element-types';
import { type Folded, folded } from './fold';
import { attributeOf, intAttribute, isStandard, subgraphsOf, usedBy } from './nodes';
import {
  NodeProtoSchema,
  TensorProto_DataType as DataType,
  type GraphProto,
  type NodeProto,
  type TensorProto,
} from './onnx_pb';
import { dimsOf, isExternal } from './tensor';

/** A constant as a node sees it, and where it comes from. */
export interface Constant {
  tensor: TensorProto;
  /** Where it is computed from others: these. */
  sources?: readonly TensorProto[];
  /** The graph that it stands in: that of the node, or one around it. */
  scope: Scope;
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

/** A node, and the graph that it stands in. */
export interface Placed {
  node: NodeProto;
  scope: Scope;
}

/**
 * A graph with its connections: a model's own, or one that a node holds, whose nodes also see the values of the graphs around it unless
 * one of its own is called the same. Nodes and tensors are the model's own objects.
 */
export class Scope {
  /** Nodes so that each stands behind those whose outputs it uses, otherwise in the file's order. */
  readonly order: NodeProto[];
  /** The node of the model's own graph that holds this one, however deep; null for that graph itself. */
  readonly top: NodeProto | null;
  /** The graphs that its nodes hold. */
  readonly inner = new Map<NodeProto, Scope[]>();
  private readonly initializers = new Map<string, TensorProto>();
  private readonly producers = new Map<string, NodeProto>();
  private readonly given: ReadonlySet<string>;
  private readonly folds = new Map<string, Folded | undefined>();
  private readonly uses = new Map<string, number>();
  private readonly users = new Map<string, Placed[]>();

  /** Throws ERR_VERTEXQ_ONNX at a value that is made twice and at a cycle. `file` is for messages; `holder`: the node that holds it. */
  constructor(
    readonly proto: GraphProto,
    readonly file: string,
    readonly parent: Scope | null = null,
    holder: NodeProto | null = null,
  ) {
    this.top = parent?.top ?? holder;
    for (const tensor of proto.initializer) this.initializers.set(tensor.name, tensor);
    this.given = new Set(proto.input.map((input) => input.name));
    // Of two, a runtime may take either, and the output would have one of them alone.
    for (const [what, list, single] of [
      ['initializers', proto.initializer, this.initializers],
      ['inputs', proto.input, this.given],
    ] as const) {
      if (list.length === single.size) continue;
      const seen = new Set<string>();
      const twice = list.find(({ name }) => seen.size === seen.add(name).size)!;
      throw new VertexqError('ERR_VERTEXQ_ONNX', `${file}: two ${what} are called "${twice.name}"`);
    }
    for (const node of proto.node)
      for (const output of node.output) {
        if (output === '') continue;
        if (this.initializers.has(output) || this.given.has(output))
          throw new VertexqError(
            'ERR_VERTEXQ_ONNX',
            `${file}: a node makes the value "${output}", which is an initializer or input of the graph`,
          );
        if (this.producers.has(output))
          throw new VertexqError('ERR_VERTEXQ_ONNX', `${file}: two nodes make the value "${output}"`);
        this.producers.set(output, node);
      }
    for (const node of proto.node) {
      for (const name of usedBy(node)) this.count(name);
      for (const name of new Set(node.input)) this.scopeOf(name)?.addUser(name, { node, scope: this });
    }
    for (const output of proto.output) this.count(output.name);
    this.order = sorted(proto.node, (name) => this.producers.get(name), file);
    for (const node of this.order) {
      const bodies = subgraphsOf(node);
      if (bodies.length > 0)
        this.inner.set(
          node,
          bodies.map((body) => new Scope(body, file, this, node)),
        );
    }
  }

  private count(name: string): void {
    this.uses.set(name, (this.uses.get(name) ?? 0) + 1);
  }

  private addUser(name: string, user: Placed): void {
    const users = this.users.get(name);
    if (users) users.push(user);
    else this.users.set(name, [user]);
  }

  /** This graph and all that its nodes hold, however deep. */
  *all(): Generator<Scope> {
    yield this;
    for (const scopes of this.inner.values()) for (const scope of scopes) yield* scope.all();
  }

  /** Every node, those of a graph right behind the node that holds it. */
  *placed(): Generator<Placed> {
    for (const node of this.order) {
      yield { node, scope: this };
      for (const scope of this.inner.get(node) ?? []) yield* scope.placed();
    }
  }

  /** The graph whose value this name is: this one, or the next around it that has one. */
  scopeOf(name: string): Scope | undefined {
    if (this.initializers.has(name) || this.producers.has(name) || this.given.has(name)) return this;
    return this.parent?.scopeOf(name);
  }

  /** How many inputs, also of nodes in subgraphs, and graph outputs are this value, one of this graph. */
  usesOf(name: string): number {
    return this.uses.get(name) ?? 0;
  }

  /** The nodes, also in subgraphs, that have a value of this graph for an input. */
  usersOf(name: string): readonly Placed[] {
    return this.users.get(name) ?? [];
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
    const scopes: Scope[] = [];
    let scope = this.scopeOf(name);
    for (let at = name; scope; scope = scope.scopeOf(at)) {
      const tensor = scope.initializers.get(at);
      if (tensor) return this.constantOf({ tensor, scope, chain }, scopes);
      const node = scope.producers.get(at);
      if (!node || !isStandard(node)) return undefined;
      chain.push(node);
      scopes.push(scope);
      if (node.opType === 'Constant') {
        const value = attributeOf(node, 'value')?.t;
        return value && this.constantOf({ tensor: value, scope, chain }, scopes);
      }
      if (!passing.has(node.opType)) return this.computed(scope, at, chain.slice(0, -1), scopes);
      at = node.input[0] ?? '';
    }
    return undefined;
  }

  /** The constant that a value computed from others is, behind the steps of `chain`. */
  private computed(
    scope: Scope,
    name: string,
    chain: NodeProto[],
    scopes: readonly Scope[],
  ): Constant | undefined {
    if (!scope.folds.has(name)) scope.folds.set(name, folded(scope, name));
    const made = scope.folds.get(name);
    const constant = made && this.constantOf({ tensor: made.tensor, scope, chain }, scopes);
    if (!constant) return undefined;
    return { ...constant, chain: [...chain, ...made.nodes], sources: made.sources, unchanged: false };
  }

  /** What the steps of `chain` make of a tensor; undefined where they are others than those that `constant` sees through. */
  private constantOf(
    source: Pick<Constant, 'tensor' | 'scope' | 'chain'>,
    scopes: readonly Scope[],
  ): Constant | undefined {
    const { tensor, chain } = source;
    let { dataType } = tensor;
    let dims = dimsOf(tensor);
    let order = dims.map((_, i) => i);
    let unchanged = true;
    for (const [i, step] of [...chain.entries()].reverse()) {
      if (step.opType === 'Transpose') {
        const perm = attributeOf(step, 'perm')?.ints.map(Number) ?? dims.map((_, i) => dims.length - 1 - i);
        if ([...perm].sort((a, b) => a - b).join() !== dims.map((_, i) => i).join()) return undefined;
        dims = perm.map((axis) => dims[axis]!);
        order = perm.map((axis) => order[axis]!);
      } else if (step.opType === 'Reshape') {
        const shape = scopes[i]!.reshaped(step, dims);
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
    return { ...source, dims, dataType, order, unchanged, transposed };
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
  integers(name: string): number[] | undefined {
    const scope = this.scopeOf(name);
    const maker = scope?.producers.get(name);
    const tensor =
      scope?.initializers.get(name) ??
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
