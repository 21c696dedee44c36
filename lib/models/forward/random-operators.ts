import { attributeOf, isStandard, subgraphsOf } from '../../containers/onnx/graph';
import { attribute } from '../../containers/onnx/make';
import type { NodeProto } from '../../containers/onnx/onnx_pb';
import { shallowCopy } from '../../containers/onnx/shallow-copy';

/** Operators that draw at random, with the type of their seed. */
const randomOperators: Record<string, 'float' | 'integer'> = {
  RandomNormal: 'float',
  RandomNormalLike: 'float',
  RandomUniform: 'float',
  RandomUniformLike: 'float',
  Multinomial: 'float',
  Bernoulli: 'float',
  // Only in training mode, which may be an input.
  Dropout: 'integer',
};

const draws = (node: NodeProto) => isStandard(node) && Object.hasOwn(randomOperators, node.opType);

/** Whether a node, or one of its subgraphs, draws at random. */
export function isRandom(node: NodeProto): boolean {
  return draws(node) || subgraphsOf(node).some((body) => body.node.some(isRandom));
}

/**
 * A node that draws the same each time a network with it is loaded and run on the same batches: the float network and the quantized one
 * are to differ in their weights alone. Itself where it does not draw.
 */
export function seeded(node: NodeProto, seed: number): NodeProto {
  if (!isRandom(node)) return node;
  const copy = shallowCopy(node);
  // Seeds are float32 numbers, which hold no larger whole ones.
  const own = 1 + (seed % 2 ** 24);
  if (draws(node) && !attributeOf(node, 'seed'))
    copy.attribute = [
      ...node.attribute,
      attribute('seed', randomOperators[node.opType] === 'float' ? own : BigInt(own)),
    ];
  let next = 31 * seed;
  copy.attribute = copy.attribute.map((given) => {
    if (!given.g) return given;
    const changed = shallowCopy(given);
    changed.g = shallowCopy(given.g);
    changed.g.node = given.g.node.map((inner) => seeded(inner, ++next));
    return changed;
  });
  return copy;
}
