import { type Graph, attributeOf, intAttribute, isStandard } from '../../containers/onnx/graph';
import { TensorProto_DataType as DataType, type NodeProto } from '../../containers/onnx/onnx_pb';

/** Operators whose outputs have one type, whatever they are given. */
const ofOneType: Readonly<Record<string, DataType>> = {
  ...{ Shape: DataType.INT64, Size: DataType.INT64, NonZero: DataType.INT64, ArgMax: DataType.INT64 },
  ...{ ArgMin: DataType.INT64, Equal: DataType.BOOL, Greater: DataType.BOOL, Less: DataType.BOOL },
  ...{ GreaterOrEqual: DataType.BOOL, LessOrEqual: DataType.BOOL, Not: DataType.BOOL, And: DataType.BOOL },
  ...{ Or: DataType.BOOL, Xor: DataType.BOOL, IsNaN: DataType.BOOL, IsInf: DataType.BOOL },
};

/** The input whose type an operator's first output has, where it is not the first. */
const typeFrom: Readonly<Record<string, number>> = {
  ...{ Where: 1, OneHot: 2, CastLike: 1, DequantizeLinear: 1 },
};

const ofGraphs = new WeakMap<Graph, Map<string, number>>();

/** The element types of a graph's values: what it says, and else that of what they are computed from. FLOAT where nothing says it. */
export function typeOf(graph: Graph, name: string): number {
  const types = ofGraphs.get(graph) ?? inferred(graph);
  ofGraphs.set(graph, types);
  return types.get(name) ?? DataType.FLOAT;
}

function inferred({ proto, order }: Graph): Map<string, number> {
  const types = new Map<string, number>();
  for (const { name, type } of [...proto.input, ...proto.valueInfo])
    if (type?.value.case === 'tensorType') types.set(name, type.value.value.elemType);
  for (const { name, dataType } of proto.initializer) types.set(name, dataType);
  for (const node of order)
    for (const [i, name] of node.output.entries()) {
      const from = node.input[isStandard(node) ? (typeFrom[node.opType] ?? 0) : 0];
      const type = ownType(node, i) ?? (from ? types.get(from) : undefined);
      if (name && type !== undefined && !types.has(name)) types.set(name, type);
    }
  return types;
}

/** A type that does not follow from an input's. */
function ownType(node: NodeProto, output: number): number | undefined {
  if (!isStandard(node)) return undefined;
  const { opType } = node;
  if (output === 1 && ['TopK', 'MaxPool', 'Unique'].includes(opType)) return DataType.INT64;
  if (output === 1 && opType === 'Dropout') return DataType.BOOL;
  if (Object.hasOwn(ofOneType, opType)) return ofOneType[opType];
  if (opType === 'Cast') return intAttribute(node, 'to', DataType.FLOAT);
  if (opType === 'Constant' || opType === 'ConstantOfShape') {
    const tensor = attributeOf(node, 'value')?.t;
    if (tensor) return tensor.dataType;
    return attributeOf(node, 'value_int') || attributeOf(node, 'value_ints')
      ? DataType.INT64
      : DataType.FLOAT;
  }
  if (/^(Random|EyeLike|Bernoulli)/.test(opType)) return intAttribute(node, 'dtype', DataType.FLOAT);
  return undefined;
}
