import { toBinary } from '@bufbuild/protobuf';
import { floatTypes } from '../../containers/onnx/element-types';
import { attributeOf, type Graph, type Placed, type Scope, withSubgraphs } from '../../containers/onnx/graph';
import { FunctionProtoSchema, type ModelProto, type TensorProto } from '../../containers/onnx/onnx_pb';
import { countOf } from '../../containers/onnx/tensor';
import { knownOperators } from './kinds';
import type { FoundLayers } from './find-layers';
import type { SkippedLayer } from './layer';

/** A constant of the model, wherever it stands. */
export interface StoredConstant {
  tensor: TensorProto;
  name: string;
  /** A node that uses it; undefined where none does. */
  user: Placed | undefined;
}

/** Every constant of the model's own graph and of those that nodes hold. */
export function* constantsOf(graph: Graph): Generator<StoredConstant> {
  const found = (scope: Scope, tensor: TensorProto, name: string) => ({
    tensor,
    name: tensor.name || name,
    user: scope.usersOf(name)[0],
  });
  for (const scope of graph.all()) {
    for (const tensor of scope.proto.initializer) yield found(scope, tensor, tensor.name);
    for (const node of scope.proto.node) {
      const value = node.opType === 'Constant' ? attributeOf(node, 'value')?.t : undefined;
      if (value) yield found(scope, value, node.output[0] ?? '');
    }
  }
}

/** Fewer numbers are not worth telling of: of a vector, and of what has more dimensions. */
const fewest = { vector: 4096, matrix: 64 };

/** Operators of quantized weights, and which of their inputs those are. */
const quantizedInput: ReadonlyMap<string, number> = new Map([
  ['DequantizeLinear', 0],
  ['GatherBlockQuantized', 0],
  ['MatMulNBits', 1],
  ['MatMulInteger', 1],
  ['ConvInteger', 1],
  ['DynamicQuantizeMatMul', 1],
  ['QLinearConv', 3],
  ['QLinearMatMul', 3],
]);

function isQuantized(user: Placed | undefined, name: string): boolean {
  const input = user && quantizedInput.get(user.node.opType);
  return input !== undefined && user!.node.input[input] === name;
}

/** Constants that are no layer's weight, where they are large enough to tell of: floats, and what stands for weights that are quantized already. */
export function otherWeights(graph: Graph, { layers, skipped }: FoundLayers): SkippedLayer[] {
  const told = new Set<TensorProto>([
    ...layers.map(({ constant }) => constant.tensor),
    ...layers.flatMap(({ constant }) => constant.sources ?? []),
    ...skipped.map(({ tensor }) => tensor),
  ]);
  const others: SkippedLayer[] = [];
  for (const { tensor, name, user } of constantsOf(graph)) {
    if (told.has(tensor)) continue;
    if (!floatTypes.has(tensor.dataType)) {
      if (!isQuantized(user, name) || countOf(tensor) < fewest.matrix) continue;
      told.add(tensor);
      others.push({ name, tensor, reason: 'it is quantized already', choice: true });
      continue;
    }
    told.add(tensor);
    const vector = tensor.dims.filter((dim) => dim !== 1n).length < 2;
    if (countOf(tensor) < (vector ? fewest.vector : fewest.matrix)) continue;
    others.push({ name, tensor, ...reasonOf(user, vector) });
  }
  return others;
}

/** What may hold weights and is not read: its name, and bytes. */
export interface UnreadPart {
  name: string;
  bytes: number;
}

/** A field of GraphProto that the schema leaves alone, so that it is written as it came. */
const sparseField = 15;

/** Local functions that are still called (inline-functions.ts) and sparse tensors, where they are large enough to tell of. */
export function unreadParts(model: ModelProto): UnreadPart[] {
  let sparse = 0;
  for (const { $unknown } of withSubgraphs(model.graph!))
    for (const { no, data } of $unknown ?? []) if (no === sparseField) sparse += data.length;
  const functions = model.functions.map((own) => toBinary(FunctionProtoSchema, own).length);
  return [
    { name: 'local functions', bytes: functions.reduce((sum, bytes) => sum + bytes, 0) },
    { name: 'sparse initializers', bytes: sparse },
  ].filter(({ bytes }) => bytes >= fewest.vector);
}

function reasonOf(user: Placed | undefined, vector: boolean): { reason: string; choice: boolean } {
  if (!user) return { reason: 'nothing uses it', choice: false };
  if (vector) return { reason: 'a vector, such as a bias or a norm', choice: true };
  const { opType, domain } = user.node;
  const operator = domain && domain !== 'ai.onnx' ? `${domain}.${opType}` : opType;
  if (knownOperators.includes(opType))
    return { reason: `${operator} takes it where it has no weight that is known here`, choice: false };
  return { reason: `it goes into ${operator}, whose weights are not quantized`, choice: false };
}
