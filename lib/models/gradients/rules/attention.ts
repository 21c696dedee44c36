import { attributeOf, floatAttribute, intAttribute } from '../../../containers/onnx/graph';
import type { NodeProto } from '../../../containers/onnx/onnx_pb';
import type { Known } from '../known';
import { inputsOf, type Rule } from '../rule';

/** Pairs turned by angles: cotangents are turned back. `sine` is the place of the input that holds the sines. */
const rotation = (sine: number): Rule => ({
  inputs: () => [0],
  pull: ({ node, inputs, cotangent, build }) => ({
    0: () =>
      build.again(
        node,
        inputs.map((name, i) => (i === 0 ? cotangent : i === sine ? build.neg(name) : name)),
        build.typeOf(cotangent),
      ),
  }),
});

const headsOf = (node: NodeProto) => intAttribute(node, 'num_heads', 1);

/** What scores are multiplied with; undefined where it depends on a size that is not known. */
function scaleOf(node: NodeProto, size: number | string | undefined): number | undefined {
  const given = attributeOf(node, 'scale') ? floatAttribute(node, 'scale', 0) : 0;
  if (given !== 0) return given;
  return typeof size === 'number' ? 1 / Math.sqrt(size / headsOf(node)) : undefined;
}

function multiHeadUnfit(node: NodeProto, known: Known): string | undefined {
  const [query, key, value, , mask, , ...past] = node.input;
  if (!key || !value || [query!, key, value].some((name) => known.rankOf(name) !== 3))
    return 'its queries, keys and values are not known to be apart, of rank 3';
  if (mask || past.some((name) => name !== '') || intAttribute(node, 'unidirectional', 0) !== 0)
    return 'it has a mask or a cache';
  return scaleOf(node, known.shapeOf(query!)!.at(-1)) === undefined
    ? 'the size of its heads is not known'
    : undefined;
}

/** Vaswani et al. (2017): queries, keys and values, their biases together, and what is added to scores. */
const multiHead: Rule = {
  inputs: inputsOf,
  unfit: multiHeadUnfit,
  pull({ node, inputs, cotangent, build }) {
    const [, , , bias, , added] = inputs;
    const given = inputs.slice(0, 3);
    const scale = scaleOf(node, build.dimsOf(given[0]!)!.at(-1))!;
    const heads = (value: string) =>
      build.transpose(build.reshape(value, [0, 0, headsOf(node), -1]), [0, 2, 1, 3]);
    const joined = (value: string) => build.reshape(build.transpose(value, [0, 2, 1, 3]), [0, 0, -1]);
    const sizes = () => build.joined(...given.map((value) => build.lengthOf(value, 2)));
    const biases = bias ? build.several('Split', [bias, sizes()], 3, { axis: 0n }) : [];
    const [query, key, value] = given.map((own, i) => heads(bias ? build.add(own, biases[i]!) : own)) as [
      string,
      string,
      string,
    ];
    const product = build.mul(build.op('MatMul', [query, build.swapped(key)]), scale);
    const scores = added ? build.add(product, added) : product;
    const shares = build.op('Softmax', [scores], { axis: -1n });
    const g = heads(cotangent);
    const ofScores = () => {
      const slope = build.mul(shares, build.op('MatMul', [g, build.swapped(value)]));
      return build.sub(slope, build.mul(shares, build.sum(slope, [-1])));
    };
    const parts = [
      () => joined(build.mul(build.op('MatMul', [ofScores(), key]), scale)),
      () => joined(build.mul(build.op('MatMul', [build.swapped(ofScores()), query]), scale)),
      () => joined(build.op('MatMul', [build.swapped(shares), g])),
    ];
    return {
      ...parts,
      3: () =>
        build.op(
          'Concat',
          parts.map((part) => build.sum(part(), [0, 1], false)),
          { axis: 0n },
        ),
      5: () => build.reducedTo(added!, scores, ofScores()),
    };
  },
};

export const attention: Readonly<Record<string, Rule>> = {
  RotaryEmbedding: rotation(2),
  'com.microsoft.RotaryEmbedding': rotation(3),
  'com.microsoft.MultiHeadAttention': multiHead,
};
