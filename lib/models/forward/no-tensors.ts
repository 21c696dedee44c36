import { isStandard, subgraphsOf } from '../../containers/onnx/graph';
import type { GraphProto, NodeProto } from '../../containers/onnx/onnx_pb';

/** Operators whose outputs are sequences, optional values or maps. */
const makers: ReadonlySet<string> = new Set([
  'SequenceConstruct',
  'SequenceEmpty',
  'SequenceInsert',
  'SequenceErase',
  'SequenceMap',
  'SplitToSequence',
  'Optional',
  'ZipMap',
]);

/** Operators that may give out such a value where they are given one. */
const passing: ReadonlySet<string> = new Set(['Identity', 'OptionalGetElement']);

/** Whether some of a node's outputs are no tensors. `isNone` tells it of the values from before. */
export function makesNoTensor(node: NodeProto, isNone: (name: string) => boolean): boolean {
  if (!isStandard(node) && node.domain !== 'ai.onnx.ml') return false;
  if (makers.has(node.opType)) return true;
  if (passing.has(node.opType)) return node.input.some(isNone);
  return subgraphsOf(node).some((body) => givesNoTensor(body, node, isNone));
}

/** The same of a body of `node`: a Loop's takes the node's own inputs, which come last in both lists. */
function givesNoTensor(body: GraphProto, node: NodeProto, isNone: (name: string) => boolean): boolean {
  const own = new Set<string>();
  const isOwn = (name: string) => own.has(name) || isNone(name);
  for (let i = 1; i <= Math.min(body.input.length, node.input.length); i++)
    if (isNone(node.input.at(-i)!)) own.add(body.input.at(-i)!.name);
  for (const inner of body.node)
    if (makesNoTensor(inner, isOwn)) for (const name of inner.output) own.add(name);
  return body.output.some(({ name }) => isOwn(name));
}
