import { OnnxGraph, type Tensor } from './onnx-graph';
import type { Dim, Shape } from './symbolic-shape';
import { splitReference, type TfjsGraph, type TfjsNode } from './tfjs-graph';

/** A float32 constant; it becomes an initializer where a node reads it. `source` is its name in the graph. */
export interface Weights {
  kind: 'weights';
  source: string;
  shape: readonly number[];
  data: Float32Array;
}

/**
 * Integers that the conversion knows, possibly as symbols: constants, shapes and what is computed from them.
 * They never reach the ONNX graph as nodes. A scalar is a list of one.
 */
export interface Integers {
  kind: 'integers';
  values: Shape;
}

/**
 * The coordinates (row, position) of the real tokens. Gathering by them gives `[batch * tokens, ...]`, and
 * scattering takes that back; on the dense tensors of the ONNX graph both keep the elements where they are.
 */
export interface TokenCoordinates {
  kind: 'tokens';
  count: Dim;
}

export type Value = Tensor | Weights | Integers | TokenCoordinates;

/** Makes the outputs of a node, an array where it has more than one. */
export type Converter = (node: TfjsNode, conversion: Conversion) => Value | Value[];

/** What a conversion needs to know of the model beyond its operations. */
export interface ConversionRules {
  /** A converter for each kind of operation. */
  operations: Record<string, Converter>;
  /** Converters for single nodes, which go before `operations`; the first whose pattern fits the name is used. */
  replacements: [RegExp, Converter][];
  /** A readable name for a constant, and for the scope of a node. */
  readableName(name: string): string;
}

/**
 * Converts a graph from its outputs back, so that what a replacement makes needless is never looked at.
 * Each node is converted once.
 */
export class Conversion {
  readonly onnx = new OnnxGraph();
  readonly #values = new Map<string, Value[]>();

  constructor(
    readonly graph: TfjsGraph,
    private readonly rules: ConversionRules,
  ) {}

  /** The value of `name` or `name:output`. Throws when no converter takes the node. */
  value(reference: string): Value {
    const { name, output } = splitReference(reference);
    let values = this.#values.get(name);
    if (values === undefined) {
      const made = this.#convert(this.node(name));
      values = Array.isArray(made) ? made : [made];
      this.#values.set(name, values);
    }
    const value = values[output];
    if (value === undefined) throw new RangeError(`${name} has no output ${output}`);
    return value;
  }

  #convert(node: TfjsNode): Value | Value[] {
    const replacement = this.rules.replacements.find(([pattern]) => pattern.test(node.name));
    const converter = replacement?.[1] ?? this.rules.operations[node.op];
    if (converter === undefined)
      throw new Error(`no converter for ${node.op}, the operation of ${node.name}`);
    return converter(node, this);
  }

  node(reference: string): TfjsNode {
    const { name } = splitReference(reference);
    const node = this.graph.nodes.get(name);
    if (node === undefined) throw new RangeError(`the graph has no node ${name}`);
    return node;
  }

  /** The node that makes input `i` of `node`. */
  inputNode(node: TfjsNode, i: number): TfjsNode {
    return this.node(inputReference(node, i));
  }

  /** The value of input `i`. */
  input(node: TfjsNode, i: number): Value {
    return this.value(inputReference(node, i));
  }

  /** The tensor of input `i`; a constant becomes an initializer. */
  tensor(node: TfjsNode, i: number): Tensor {
    const value = this.input(node, i);
    if (value.kind === 'tensor') return value;
    if (value.kind === 'weights') return this.initializer(value);
    if (value.kind === 'integers' && value.values.length === 1 && typeof value.values[0] === 'number') {
      // Counts are floats in the ONNX graph (see `Cast` in tfjs-operations.ts), so their operands are too.
      return { kind: 'tensor', name: this.onnx.scalar(value.values[0]), shape: [], stored: [] };
    }
    throw new TypeError(`input ${i} of ${node.name} is no tensor`);
  }

  /** The constant at input `i`. */
  weights(node: TfjsNode, i: number): Weights {
    const value = this.input(node, i);
    if (value.kind !== 'weights') throw new TypeError(`input ${i} of ${node.name} is not constant`);
    return value;
  }

  /** The integers at input `i`, possibly symbols. */
  integers(node: TfjsNode, i: number): Shape {
    const value = this.input(node, i);
    if (value.kind !== 'integers')
      throw new TypeError(`input ${i} of ${node.name} is not known before a run`);
    return value.values;
  }

  /** The integers at input `i`, all of them numbers. */
  numbers(node: TfjsNode, i: number): number[] {
    return this.integers(node, i).map((value) => {
      if (typeof value === 'number') return value;
      throw new TypeError(`input ${i} of ${node.name} depends on ${value}`);
    });
  }

  /** The one number at input `i`. */
  number(node: TfjsNode, i: number): number {
    const [value, ...rest] = this.numbers(node, i);
    if (value === undefined || rest.length > 0)
      throw new TypeError(`input ${i} of ${node.name} is no scalar`);
    return value;
  }

  /** `weights` as an initializer. */
  initializer({ source, shape, data }: Weights): Tensor {
    const name = this.onnx.floats(this.rules.readableName(source), shape, data);
    return { kind: 'tensor', name, shape, stored: shape };
  }

  /** The name under which the ONNX nodes of `node` stand: that of its scope. */
  scope(node: TfjsNode): string {
    return this.rules.readableName(node.name.slice(0, node.name.lastIndexOf('/')));
  }
}

function inputReference(node: TfjsNode, i: number): string {
  const reference = node.inputs[i];
  if (reference === undefined) throw new RangeError(`${node.name} has no input ${i}`);
  return reference;
}
