import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** An attribute as `model.json` writes it: protobuf's JSON form, where a 64-bit integer is a string. */
interface TfjsAttribute {
  i?: string;
  b?: boolean;
  s?: number[];
  list?: { i?: string[] };
}

/** One operation of the graph; `inputs` are references, see `splitReference`. */
export interface TfjsNode {
  name: string;
  op: string;
  inputs: string[];
  attributes: Record<string, TfjsAttribute>;
}

/** A constant of the graph, row-major; a scalar has the shape `[]`. */
export interface TfjsWeight {
  shape: number[];
  data: Float32Array | Int32Array;
}

/** A TensorFlow.js graph model. `outputs` names the nodes that no other node reads. */
export interface TfjsGraph {
  nodes: Map<string, TfjsNode>;
  weights: Map<string, TfjsWeight>;
  outputs: string[];
}

/** The parts of `model.json` that are read here. */
interface ModelJson {
  modelTopology: {
    node: { name: string; op: string; input?: string[]; attr?: Record<string, TfjsAttribute> }[];
  };
  weightsManifest: {
    paths: string[];
    weights: { name: string; shape: number[]; dtype: string; quantization?: unknown }[];
  }[];
}

/**
 * Reads the graph model in `directory`: `model.json` and the weight shards that it lists.
 *
 * Throws when a weight is neither float32 nor int32 or is stored quantized, when the shards hold fewer or
 * more bytes than the weights need, and when a node reads one that is not there.
 */
export function readTfjsGraph(directory: string): TfjsGraph {
  const json = JSON.parse(readFileSync(join(directory, 'model.json'), 'utf8')) as ModelJson;
  const nodes = new Map<string, TfjsNode>();
  for (const { name, op, input, attr } of json.modelTopology.node) {
    nodes.set(name, { name, op, inputs: input ?? [], attributes: attr ?? {} });
  }
  const read = new Set<string>();
  for (const node of nodes.values()) {
    for (const reference of node.inputs) {
      const { name } = splitReference(reference);
      if (!nodes.has(name)) throw new Error(`${node.name} reads ${name}, which the graph does not have`);
      read.add(name);
    }
  }
  const outputs = [...nodes.keys()].filter((name) => !read.has(name));
  return { nodes, weights: readWeights(directory, json), outputs };
}

function readWeights(directory: string, json: ModelJson): Map<string, TfjsWeight> {
  const weights = new Map<string, TfjsWeight>();
  for (const group of json.weightsManifest) {
    const { buffer } = concatenate(group.paths.map((path) => readFileSync(join(directory, path))));
    let offset = 0;
    for (const { name, shape, dtype, quantization } of group.weights) {
      if (quantization !== undefined) throw new Error(`${name} is stored quantized, which is not supported`);
      if (dtype !== 'float32' && dtype !== 'int32') throw new Error(`${name} has the type ${dtype}`);
      const length = shape.reduce((product, size) => product * size, 1);
      if (offset + 4 * length > buffer.byteLength) throw new Error(`the shards end before ${name}`);
      const data =
        dtype === 'float32'
          ? new Float32Array(buffer, offset, length)
          : new Int32Array(buffer, offset, length);
      weights.set(name, { shape, data });
      offset += 4 * length;
    }
    if (offset !== buffer.byteLength)
      throw new Error(`${buffer.byteLength - offset} bytes of weights left over`);
  }
  return weights;
}

/** The parts one after the other in memory of their own, so that 4-byte views of it are aligned. */
function concatenate(parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}

/** Splits an input reference, `name` or `name:output`, into the node's name and the index of its output. */
export function splitReference(reference: string): { name: string; output: number } {
  const colon = reference.lastIndexOf(':');
  if (colon < 0) return { name: reference, output: 0 };
  return { name: reference.slice(0, colon), output: Number(reference.slice(colon + 1)) };
}

/** The integer attribute `name`, 0 when it is absent, as in TensorFlow. */
export function integerAttribute(node: TfjsNode, name: string): number {
  return Number(node.attributes[name]?.i ?? 0);
}

/** The attribute `name`, a list of integers; empty when it is absent. */
export function integersAttribute(node: TfjsNode, name: string): number[] {
  return (node.attributes[name]?.list?.i ?? []).map(Number);
}

/** The boolean attribute `name`, false when it is absent. */
export function booleanAttribute(node: TfjsNode, name: string): boolean {
  return node.attributes[name]?.b ?? false;
}

/** The string attribute `name`, empty when it is absent; `model.json` has its bytes. */
export function stringAttribute(node: TfjsNode, name: string): string {
  return String.fromCharCode(...(node.attributes[name]?.s ?? []));
}
