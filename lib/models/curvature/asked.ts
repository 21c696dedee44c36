import type { OutputKind } from '../../native/binding';
import { attributeOf, type Graph, intAttribute, isStandard } from '../../containers/onnx/graph';
import { floatTypes } from '../../containers/onnx/element-types';
import { typeOf } from '../gradients/types';

/** A value whose cotangents are drawn, and what its rows along the last axis are. */
export interface Asked {
  value: string;
  kind: OutputKind;
}

/**
 * What the rows of a network's layers are judged by: the logits of classes or tokens where it gives any, so that what is drawn is the network's own
 * answer and weights are the Fisher matrix's; else all float outputs. Logits are what a softmax over the last axis turns into an output, and outputs
 * that are called so.
 */
export function askedOf(graph: Graph): Asked[] {
  const outputs = graph.proto.output
    .map(({ name }) => name)
    .filter((name) => graph.producerOf(name) && floatTypes.has(typeOf(graph, name)));
  const logits = outputs.flatMap((name) => logitsOf(graph, name) ?? []);
  const kind = logits.length > 0 ? 'logits' : 'signs';
  return [...new Set(logits.length > 0 ? logits : outputs)].map((value) => ({ value, kind }));
}

function logitsOf(graph: Graph, output: string): string | undefined {
  let [value, maker] = [output, graph.producerOf(output)];
  while (maker?.opType === 'Identity' && isStandard(maker)) {
    value = maker.input[0]!;
    maker = graph.producerOf(value);
  }
  if (maker && isStandard(maker) && ['Softmax', 'LogSoftmax'].includes(maker.opType)) {
    // Before version 13 the default is another.
    const isLast = attributeOf(maker, 'axis') ? intAttribute(maker, 'axis', -1) === -1 : true;
    const logits = maker.input[0]!;
    return isLast && graph.producerOf(logits) ? logits : undefined;
  }
  return /logit/i.test(output) ? value : undefined;
}
