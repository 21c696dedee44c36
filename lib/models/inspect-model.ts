import { networkPath, requirePath } from '../options/messages';
import { findLayers } from './layers/find-layers';
import { constantsOf, unreadParts } from './layers/other-weights';
import { readModel } from '../containers/onnx/codec';
import { dataFilesOf } from '../containers/onnx/data-files';
import { Graph, tensorsOf } from '../containers/onnx/graph';
import type { TensorProto } from '../containers/onnx/onnx_pb';
import { isExternal } from '../containers/onnx/tensor';
import { describeValue } from '../containers/onnx/value-info';
import { provenanceKey, readProvenance } from '../runs/provenance';
import type { Inspection } from './types';

/**
 * What an ONNX file holds: its layers that can be quantized, its other weights, its inputs and outputs. Rejects with VertexqError
 * ERR_VERTEXQ_FILE, ERR_VERTEXQ_ONNX or ERR_VERTEXQ_MEMORY.
 */
export async function inspectModel(input: string): Promise<Inspection> {
  requirePath('input', input, networkPath);
  const { model, weights: stored, size } = await readModel(input);
  const graph = new Graph(model, input);
  const { layers } = findLayers(graph);
  const bytesOf = (tensor: TensorProto) => stored.byteLengthOf(tensor);
  const quantizable = new Set<TensorProto>(layers.map((layer) => layer.constant.tensor));
  const weights = new Map<string, { count: number; bytes: number }>();
  let otherWeights = 0;
  const sources = new Set(layers.flatMap(({ constant }) => constant.sources ?? []));
  for (const { tensor, user } of constantsOf(graph)) {
    if (quantizable.has(tensor) || sources.has(tensor)) continue;
    const kind = user?.node.opType ?? 'unused';
    const bytes = bytesOf(tensor);
    const entry = weights.get(kind) ?? { count: 0, bytes: 0 };
    weights.set(kind, { count: entry.count + 1, bytes: entry.bytes + bytes });
    otherWeights += bytes;
  }
  for (const { name, bytes } of unreadParts(model)) {
    weights.set(name, { count: 1, bytes });
    otherWeights += bytes;
  }
  // Where a file of data is not there, its share of the weights is what the model says.
  const external = [...tensorsOf(graph.proto)].filter(isExternal);
  const data = await dataFilesOf(graph, stored).catch(() => ({
    bytes: external.reduce((sum, tensor) => sum + bytesOf(tensor), 0),
  }));
  // A Map, as operators may be called like members of objects.
  const operators = new Map<string, number>();
  for (const { opType } of graph.proto.node) operators.set(opType, (operators.get(opType) ?? 0) + 1);
  const told = model.metadataProps.find(({ key }) => key === provenanceKey)?.value;
  return {
    input,
    provenance: readProvenance(told),
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
      file: size + data.bytes,
      quantizable: [...quantizable].reduce((sum, tensor) => sum + bytesOf(tensor), 0),
      otherWeights,
    },
  };
}
