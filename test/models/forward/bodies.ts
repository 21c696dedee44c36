import { create } from '@bufbuild/protobuf';
import { tensor } from '../../../lib/containers/onnx/make';
import {
  AttributeProto_AttributeType as AttributeType,
  AttributeProtoSchema,
  GraphProtoSchema,
  TensorProto_DataType as DataType,
  ValueInfoProtoSchema,
  type GraphProto,
  type NodeProto,
  type TensorProto,
  type ValueInfoProto,
} from '../../../lib/containers/onnx/onnx_pb';

/** A node with subgraphs. */
export function withBodies(node: NodeProto, bodies: Record<string, GraphProto>): NodeProto {
  for (const [name, g] of Object.entries(bodies))
    node.attribute.push(create(AttributeProtoSchema, { name, g, type: AttributeType.GRAPH }));
  return node;
}

export const body = (node: NodeProto[], input: ValueInfoProto[], output: ValueInfoProto[]): GraphProto =>
  create(GraphProtoSchema, { name: `${output[0]!.name} body`, node, input, output });

/** A value whose type is left to the runtime, which is what a sequence needs here. */
export const untyped = (name: string): ValueInfoProto => create(ValueInfoProtoSchema, { name });

export function truth(name: string): TensorProto {
  const yes = tensor(name, [], Uint8Array.of(1));
  yes.dataType = DataType.BOOL;
  return yes;
}
