import { create } from '@bufbuild/protobuf';
import { count, operands, operators, type Value } from './fold-operators';
import { attributeOf, isStandard } from './nodes';
import {
  TensorProto_DataType as DataType,
  TensorProtoSchema,
  type NodeProto,
  type TensorProto,
} from './onnx_pb';
import { dimsOf } from './tensor';

// Weights that a network computes from constants (weight norm, fused projections, gates in another order) are computed here when they are
// needed: what comes out is known, and small, before anything is.

/** What is asked of a graph. */
interface Names {
  /** The graph whose value this name is. */
  scopeOf(name: string): Names | undefined;
  producerOf(name: string): NodeProto | undefined;
  initializer(name: string): TensorProto | undefined;
  integers(name: string): number[] | undefined;
}

/** A constant that is computed, as a tensor without data. */
export interface Folded {
  tensor: TensorProto;
  /** What it is computed from, and by. */
  sources: readonly TensorProto[];
  nodes: NodeProto[];
}

interface Recipe {
  sources: readonly TensorProto[];
  values: Value['values'];
}

const recipes = new WeakMap<TensorProto, Recipe>();
/** By their first source and by how they are made of it. */
const made = new WeakMap<TensorProto, Map<string, TensorProto>>();

const ids = new WeakMap<TensorProto, string>();
let lastId = 0;

function idOf(tensor: TensorProto): string {
  const id = ids.get(tensor) ?? `#${++lastId}`;
  ids.set(tensor, id);
  return id;
}

/** How a tensor that `folded` made is computed; undefined for others. */
export const recipeOf = (tensor: TensorProto): Recipe | undefined => recipes.get(tensor);

/** Nodes that are followed: a value may be used by several, and all again by several. */
const mostNodes = 64;
/** Parts that a value is split into: each is looked at by all of them. */
const mostParts = 1024;
/** Numbers that a value has at most, besides twice as many as there are in what it is computed from. */
const mostBesides = 4096;

/** The value of this name, one of `scope`, if it is computed from float32 constants by operators that are known here. */
export function folded(scope: Names, name: string): Folded | undefined {
  const folding = new Folding();
  const value = folding.value(scope, name);
  if (!value) return undefined;
  const sources = [...folding.sources];
  // The same steps in two branches give one weight.
  const [first] = sources as [TensorProto];
  const alike = made.get(first) ?? new Map<string, TensorProto>();
  made.set(first, alike);
  const key = folding.keys.join(' ');
  const before = alike.get(key);
  if (before) return { tensor: before, sources, nodes: [...folding.nodes] };
  const tensor = create(TensorProtoSchema, { name, dims: value.dims.map(BigInt), dataType: DataType.FLOAT });
  alike.set(key, tensor);
  recipes.set(tensor, { sources, values: value.values });
  return { tensor, sources, nodes: [...folding.nodes] };
}

class Folding {
  readonly sources = new Set<TensorProto>();
  readonly nodes = new Set<NodeProto>();
  /** What was done, in order. */
  readonly keys: string[] = [];
  private visited = 0;

  value(from: Names, name: string): Value | undefined {
    const scope = from.scopeOf(name);
    if (!scope || ++this.visited > mostNodes) return undefined;
    const node = scope.producerOf(name);
    const stored =
      scope.initializer(name) ??
      (node?.opType === 'Constant' && isStandard(node) ? attributeOf(node, 'value')?.t : undefined);
    if (stored && stored.dataType !== DataType.FLOAT) return undefined;
    if (node) this.nodes.add(node);
    if (stored) {
      this.sources.add(stored);
      this.keys.push(idOf(stored));
      this.sources.add(stored);
      return {
        dims: dimsOf(stored),
        values: async (weights, signal) => (await weights.floats(stored, signal)) as Float32Array,
      };
    }
    if (!node || !isStandard(node) || !Object.hasOwn(operators, node.opType)) return undefined;
    if (node.output.length > mostParts) return undefined;
    const steps = node.attribute.map(({ name: called, i, f, ints }) => `${called}=${i},${f},${ints.join()}`);
    const forms = node.input.slice(operands(node)).map((input) => (input ? scope.integers(input) : []));
    this.keys.push(
      JSON.stringify([
        node.opType,
        steps,
        forms,
        node.input.length,
        node.output.indexOf(name),
        node.output.length,
      ]),
    );
    const inputs: Value[] = [];
    for (const input of node.input.slice(0, operands(node))) {
      const value = this.value(scope, input);
      if (!value) return undefined;
      inputs.push(value);
    }
    const made = operators[node.opType]!(
      node,
      inputs,
      (at) => integersOf(scope, node, at),
      node.output.indexOf(name),
    );
    const room = 2 * [...this.sources].reduce((sum, source) => sum + count(dimsOf(source)), 0) + mostBesides;
    return made && made.dims.every((dim) => Number.isSafeInteger(dim) && dim > 0) && count(made.dims) <= room
      ? made
      : undefined;
  }
}

/** Integers that are an input, or in older versions an attribute; undefined where they are neither. */
function integersOf(scope: Names, node: NodeProto, at: number): number[] | undefined {
  return node.input[at] ? scope.integers(node.input[at]) : undefined;
}
