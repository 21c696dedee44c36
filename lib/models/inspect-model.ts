import { describe } from '../options';
import { findLayers } from './layers/find-layers';
import { readModel } from './onnx/codec';
import { attributeOf, Graph, type Scope } from './onnx/graph';
import type { TensorProto } from './onnx/onnx_pb';
import { describeValue } from './onnx/value-info';
import type { Inspection } from './types';

/**
 * What an ONNX file holds: its layers that can be quantized, its other weights, its inputs and outputs. Rejects with VertexqError
 * ERR_VERTEXQ_FILE, ERR_VERTEXQ_ONNX or ERR_VERTEXQ_MEMORY.
 */
export async function inspectModel(input: string): Promise<Inspection> {
  if (typeof input !== 'string' || input === '')
    throw new TypeError(`Expected the input to be the path of an ONNX file, not ${describe(input)}`);
  const { model, weights: stored, size } = await readModel(input);
  const graph = new Graph(model, input);
  const { layers } = findLayers(graph);
  const bytesOf = (tensor: TensorProto) => stored.byteLengthOf(tensor);
  const quantizable = new Set<TensorProto>(layers.map((layer) => layer.constant.tensor));
  const weights = new Map<string, { count: number; bytes: number }>();
  let otherWeights = 0;
  for (const [tensor, kind] of otherConstants(graph)) {
    if (quantizable.has(tensor)) continue;
    const bytes = bytesOf(tensor);
    const entry = weights.get(kind) ?? { count: 0, bytes: 0 };
    weights.set(kind, { count: entry.count + 1, bytes: entry.bytes + bytes });
    otherWeights += bytes;
  }
  // A Map, as operators may be called like members of objects.
  const operators = new Map<string, number>();
  for (const { opType } of graph.proto.node) operators.set(opType, (operators.get(opType) ?? 0) + 1);
  return {
    input,
    irVersion: Number(model.irVersion),
    opsets: Object.fromEntries(
      model.opsetImport.map(({ domain, version }) => [domain || 'ai.onnx', Number(version)]),
    ),
    producer: [model.producerName, model.producerVersion].filter(Boolean).join(' '),
    inputs: graph.inputs.map(describeValue),
    outputs: graph.proto.output.map(describeValue),
    layers: layers.map((layer) => ({
      name: layer.name,
      kind: layer.kind,
      shape: [layer.outFeatures, layer.inFeatures],
      weight: layer.constant.tensor.name || layer.node.input[layer.weightIndex]!,
      parameters: layer.outFeatures * layer.inFeatures,
      bytes: bytesOf(layer.constant.tensor),
    })),
    others: [...weights].map(([kind, entry]) => ({ kind, ...entry })).sort((a, b) => b.bytes - a.bytes),
    operators: Object.fromEntries(operators),
    bytes: {
      file: size,
      quantizable: [...quantizable].reduce((sum, tensor) => sum + bytesOf(tensor), 0),
      otherWeights,
    },
  };
}

/** Every constant with the operator that uses it first. */
function* otherConstants(graph: Graph): Generator<[TensorProto, string]> {
  const userOf = (scope: Scope, name: string) => scope.usersOf(name)[0]?.node.opType ?? 'unused';
  for (const scope of graph.all()) {
    for (const tensor of scope.proto.initializer) yield [tensor, userOf(scope, tensor.name)];
    for (const node of scope.proto.node) {
      const value = node.opType === 'Constant' ? attributeOf(node, 'value')?.t : undefined;
      if (value) yield [value, userOf(scope, node.output[0] ?? '')];
    }
  }
}
