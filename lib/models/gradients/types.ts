import { type Graph, attributeOf, intAttribute, isStandard } from '../onnx/graph';
import { TensorProto_DataType as DataType, type NodeProto } from '../onnx/onnx_pb';

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

/** The element type of a value: what the graph says, and else that of what it is computed from. FLOAT where nothing says it. */
export function typeOf(graph: Graph, name: string): number {
  let output = 0;
  for (let at = name; ;) {
    const tensor = graph.initializer(at);
    if (tensor) return tensor.dataType;
    const node = graph.producerOf(at);
    const info = [...graph.proto.input, ...graph.proto.valueInfo].find((given) => given.name === at);
    if (info?.type?.value.case === 'tensorType') return info.type.value.value.elemType;
    if (!node) return DataType.FLOAT;
    output = node.output.indexOf(at);
    const own = ownType(node, output);
    if (own !== undefined) return own;
    const from = node.input[isStandard(node) ? (typeFrom[node.opType] ?? 0) : 0];
    if (!from) return DataType.FLOAT;
    at = from;
  }
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
