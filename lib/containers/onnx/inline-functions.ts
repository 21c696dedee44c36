import { create } from '@bufbuild/protobuf';
import { VertexqError } from '../../errors';
import { subgraphsOf, unusedPrefix } from './nodes';
import { node as newNode } from './make';
import {
  OperatorSetIdProtoSchema,
  type AttributeProto,
  type FunctionProto,
  type GraphProto,
  type ModelProto,
  type NodeProto,
} from './onnx_pb';
import { shallowCopy } from './shallow-copy';

// Local functions (ONNX IR, "Functions"): operators that a model itself defines by nodes. What is read here is a graph, in which weights meet
// operators that are known: each call becomes the nodes of its function, as runtimes have it too.

/** Nodes that calls may become: functions that call others twice grow with a power of two. */
const mostNodes = 1_000_000;
/** Functions that call each other, one within the other. */
const mostDeep = 500;

type Key = string;
const plainDomain = (domain: string) => (domain === 'ai.onnx' ? '' : domain);
const keyOf = (domain: string, name: string, overload: string): Key =>
  JSON.stringify([plainDomain(domain), name, overload]);

/**
 * Puts the nodes of functions in place of their calls, in the model itself, without those that nothing calls any more. Calls stay
 * where a function is of another operator set than the model, or all calls would become too many nodes or are too deep. Throws ERR_VERTEXQ_ONNX where a function
 * calls itself, or two have one name.
 */
export function inlineFunctions(model: ModelProto, file: string): void {
  if (model.functions.length === 0) return;
  const functions = new Map<Key, FunctionProto>();
  for (const own of model.functions) {
    const key = keyOf(own.domain, own.name, own.overload);
    if (functions.has(key))
      throw new VertexqError('ERR_VERTEXQ_ONNX', `${file}: two functions are called "${own.name}"`);
    functions.set(key, own);
  }
  const calls = new Inliner(model, functions, file);
  calls.inlineAll();
  const called = new Set<FunctionProto>();
  const look = (nodes: readonly NodeProto[]) => {
    for (const node of nodes) {
      const own = calls.functionOf(node);
      if (own && !called.has(own)) {
        called.add(own);
        look(own.node);
      }
      for (const body of subgraphsOf(node)) look(body.node);
    }
  };
  look(model.graph!.node);
  model.functions = model.functions.filter((own) => called.has(own) || !calls.inlinedOf.has(own));
}

class Inliner {
  /** Begins the names of values within functions, and no other name. */
  private readonly prefix: string;
  private count = 0;
  readonly inlinedOf = new Set<FunctionProto>();
  /** Nodes that a call becomes in the end; null while that is counted. */
  private readonly sizes = new Map<FunctionProto, number | null>();
  private readonly versions: Map<string, bigint>;

  constructor(
    private readonly model: ModelProto,
    private readonly functions: ReadonlyMap<Key, FunctionProto>,
    private readonly file: string,
  ) {
    this.prefix = unusedPrefix(model.graph!, 'function');
    this.versions = new Map(model.opsetImport.map(({ domain, version }) => [plainDomain(domain), version]));
  }

  functionOf({ domain, opType, overload }: NodeProto): FunctionProto | undefined {
    return this.functions.get(keyOf(domain, opType, overload));
  }

  inlineAll(): void {
    const { graph } = this.model;
    if (this.sizeOf(graph!.node) > mostNodes) return;
    graph!.node = this.inlined(graph!.node);
    for (const [domain, version] of this.versions)
      if (!this.model.opsetImport.some((known) => plainDomain(known.domain) === domain))
        this.model.opsetImport.push(create(OperatorSetIdProtoSchema, { domain, version }));
  }

  private sizeOf(nodes: readonly NodeProto[], depth = 0): number {
    let size = 0;
    for (const node of nodes) {
      const own = this.functionOf(node);
      size += own ? this.sizeOfCall(own, depth + 1) : 1;
      for (const body of subgraphsOf(node)) size += this.sizeOf(body.node, depth);
    }
    return size;
  }

  private sizeOfCall(own: FunctionProto, depth: number): number {
    const known = this.sizes.get(own);
    if (known === null)
      throw new VertexqError('ERR_VERTEXQ_ONNX', `${this.file}: the function "${own.name}" calls itself`);
    if (known !== undefined) return known;
    if (depth > mostDeep) return Infinity;
    this.sizes.set(own, null);
    const size = this.sizeOf(own.node, depth);
    this.sizes.set(own, size);
    return size;
  }

  /** Whether its operators are those of the model: versions of operator sets that the model does not have become the model's. */
  private isOfModel(own: FunctionProto): boolean {
    const used = new Set<string>();
    const look = (nodes: readonly NodeProto[]) => {
      for (const node of nodes) {
        if (!this.functionOf(node)) used.add(plainDomain(node.domain));
        for (const body of subgraphsOf(node)) look(body.node);
      }
    };
    look(own.node);
    const imports = own.opsetImport.filter(({ domain }) => used.has(plainDomain(domain)));
    if (
      imports.some(({ domain, version }) => (this.versions.get(plainDomain(domain)) ?? version) !== version)
    )
      return false;
    for (const { domain, version } of imports) this.versions.set(plainDomain(domain), version);
    return true;
  }

  private inlined(nodes: readonly NodeProto[]): NodeProto[] {
    const made: NodeProto[] = [];
    for (const node of nodes) {
      const own = this.functionOf(node);
      if (own && this.isOfModel(own)) {
        for (const inner of this.inlined(this.bodyOf(node, own))) made.push(inner);
        continue;
      }
      for (const { g, graphs } of node.attribute)
        for (const body of g ? [g, ...graphs] : graphs) body.node = this.inlined(body.node);
      made.push(node);
    }
    return made;
  }

  /** The nodes of a function in the place of a call. Tensors are those of the function, shared by all calls. */
  private bodyOf(call: NodeProto, own: FunctionProto): NodeProto[] {
    this.inlinedOf.add(own);
    const prefix = `${this.prefix}${++this.count}/`;
    const names = new Map<string, string>();
    for (const [i, name] of own.input.entries()) names.set(name, call.input[i] ?? '');
    const ends: NodeProto[] = [];
    for (const [i, name] of own.output.entries()) {
      const outside = call.output[i] ?? '';
      if (outside === '') continue;
      // What goes through, or comes out twice.
      if (names.has(name)) ends.push(newNode('Identity', [names.get(name)!], [outside]));
      else names.set(name, outside);
    }
    const given = new Map(
      [...own.attributeProto, ...call.attribute].map((attribute) => [attribute.name, attribute]),
    );
    const copier = new BodyCopier(
      (name) => (name === '' ? '' : (names.get(name) ?? `${prefix}${name}`)),
      given,
    );
    const label = call.name || own.name;
    const nodes = own.node.map((node) => {
      const copy = copier.node(node);
      copy.name = `${label}/${node.name || node.opType}`;
      return copy;
    });
    return [...nodes, ...ends];
  }
}

/** Copies nodes of a function's body, with other names for values and the attributes of a call. */
class BodyCopier {
  constructor(
    private readonly renamed: (name: string) => string,
    private readonly given: ReadonlyMap<string, AttributeProto>,
  ) {}

  node(node: NodeProto): NodeProto {
    const copy = shallowCopy(node);
    copy.input = node.input.map(this.renamed);
    copy.output = node.output.map(this.renamed);
    copy.attribute = node.attribute.flatMap((attribute) => this.attribute(attribute) ?? []);
    return copy;
  }

  /** One that refers to an attribute of the function that the call does not have is not there. */
  private attribute(attribute: AttributeProto): AttributeProto | undefined {
    if (attribute.refAttrName !== '') {
      const given = this.given.get(attribute.refAttrName);
      if (!given) return undefined;
      const copy = shallowCopy(given);
      copy.name = attribute.name;
      return copy;
    }
    const copy = shallowCopy(attribute);
    if (attribute.g) copy.g = this.graph(attribute.g);
    copy.graphs = attribute.graphs.map((graph) => this.graph(graph));
    return copy;
  }

  private graph(graph: GraphProto): GraphProto {
    const copy = shallowCopy(graph);
    const named = <Named extends { name: string }>(list: readonly Named[]) =>
      list.map((one) => Object.assign(shallowCopy(one), { name: this.renamed(one.name) }));
    copy.node = graph.node.map((node) => this.node(node));
    copy.initializer = named(graph.initializer);
    copy.input = named(graph.input);
    copy.output = named(graph.output);
    copy.valueInfo = named(graph.valueInfo);
    return copy;
  }
}
