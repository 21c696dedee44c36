import { floatAttribute, intAttribute } from '../../../containers/onnx/graph';
import { TensorProto_DataType as DataType } from '../../../containers/onnx/onnx_pb';
import type { NodeProto } from '../../../containers/onnx/onnx_pb';
import type { Builder } from '../builder';
import type { Known } from '../known';
import { inputsOf, type Rule } from '../rule';

interface Normed {
  /** What is normed, over `axes`; in float32 where it has 16 bits. */
  x: string;
  axes: readonly number[];
  epsilon: number;
  /** Whether the mean is taken away. */
  isCentred: boolean;
  build: Builder;
}

/** (x − mean)·root, and the root, one over √(mean square + ε). */
function normed({ x, axes, epsilon, isCentred, build }: Normed): { hat: string; root: string } {
  const centred = isCentred ? build.sub(x, build.mean(x, axes)) : x;
  const squares = build.mean(build.mul(centred, centred), axes);
  const root = build.div(1, build.op('Sqrt', [build.add(squares, epsilon)]));
  return { hat: build.mul(centred, root), root };
}

/** The cotangent of x where that of (x − mean)·root is `slope`. */
function back(slope: string, at: Normed): string {
  const { axes, isCentred, build } = at;
  const { hat, root } = normed(at);
  const along = build.mul(hat, build.mean(build.mul(slope, hat), axes));
  const rest = build.sub(slope, along);
  return build.mul(root, isCentred ? build.sub(rest, build.mean(slope, axes)) : rest);
}

const wide = (build: Builder, value: string) =>
  build.typeOf(value) === DataType.DOUBLE ? value : build.cast(value, DataType.FLOAT);

/** The axes from `axis` to the last, counted from the end. */
function lastAxes(node: NodeProto, known: Pick<Known, 'rankOf'>): number[] | undefined {
  const axis = intAttribute(node, 'axis', -1);
  const rank = known.rankOf(node.input[0]!);
  if (axis >= 0 && rank === undefined) return undefined;
  const count = axis < 0 ? -axis : rank! - axis;
  return Array.from({ length: count }, (_, i) => i - count);
}

/** Norms of the last axes: factors are the input `factor`, shifts `shift`; `addends` are added up before, and may be an output too. */
function ofLastAxes(
  isCentred: boolean,
  {
    addends = [0],
    factor = 1,
    shift,
    sum,
  }: { addends?: number[]; factor?: number; shift?: number; sum?: number } = {},
): Rule {
  return {
    inputs: inputsOf,
    outputs: sum === undefined ? [0] : [0, sum],
    unfit: (node, known) => (lastAxes(node, known) ? undefined : 'how many axes it norms is not known'),
    pull({ node, inputs, outputs: [y], cotangents, build }) {
      const parts = addends.filter((i) => inputs[i]);
      const [first] = parts.map((i) => inputs[i]!);
      const own = parts.map((i) => inputs[i]!).reduce((left, right) => build.add(left, right));
      const at: Normed = {
        ...{ x: wide(build, own), axes: lastAxes(node, build)!, isCentred, build },
        epsilon: floatAttribute(node, 'epsilon', sum === undefined ? 1e-5 : 1e-12),
      };
      const g = cotangents[0] && wide(build, cotangents[0]);
      const inType = (value: string, of: string) => build.cast(value, build.typeOf(of));
      const behind = sum === undefined ? undefined : cotangents[sum];
      const ofSum = () => {
        const through = g && inType(back(build.mul(g, wide(build, inputs[factor]!)), at), first!);
        return through && behind ? build.add(through, behind) : (through ?? behind)!;
      };
      const reduced = (i: number, value: string | undefined) =>
        value === undefined
          ? build.zerosLike(inputs[i]!)
          : inType(build.reducedTo(inputs[i]!, y!, value), inputs[i]!);
      return {
        ...Object.fromEntries(parts.map((i) => [i, () => reduced(i, ofSum())])),
        [factor]: () => reduced(factor, g && build.mul(g, normed(at).hat)),
        ...(shift === undefined ? {} : { [shift]: () => reduced(shift, g) }),
      };
    },
  };
}

/** One factor and shift for each channel, the second axis, whatever the rank. */
const batch: Rule = {
  inputs: inputsOf,
  unfit: (node) => (intAttribute(node, 'training_mode', 0) === 0 ? undefined : 'it is in training'),
  pull({ node, inputs, cotangent: g, build }) {
    const [x, factor, shift, mean, variance] = inputs as [string, string, string, string, string];
    const epsilon = floatAttribute(node, 'epsilon', 1e-5);
    const zeros = build.zerosLike(mean);
    const ones = build.expandLike(build.scalar(1, mean), mean);
    const norm = (value: string, by: string, around: string) =>
      build.op('BatchNormalization', [value, by, zeros, around, variance], { epsilon });
    // Summed over all but the channels.
    const summed = (value: string, like: string) =>
      build.reshapeLike(build.sum(build.reshape(value, [0, 0, -1]), [0, 2]), like);
    const ofX = () => norm(g, factor, zeros);
    return {
      0: ofX,
      1: () => summed(build.mul(g, norm(x, ones, mean)), factor),
      2: () => summed(g, shift),
      3: () => build.neg(summed(ofX(), mean)),
      4() {
        const own = summed(build.mul(ofX(), norm(x, ones, mean)), variance);
        return build.mul(build.div(own, build.op('Sqrt', [build.add(variance, epsilon)])), -0.5);
      },
    };
  },
};

/** Norms of groups of channels: `groups` of them, or each its own. */
function ofGroups(groupsOf: (node: NodeProto) => number | null): Rule {
  return {
    inputs: inputsOf,
    unfit({ input, opType }, known) {
      if (opType === 'InstanceNormalization' || known.shapeOf(input[1]!) !== undefined) return undefined;
      return 'how many factors it has is not known';
    },
    pull({ node, inputs, cotangent: g, build }) {
      const [x, factor, shift] = inputs as [string, string, string];
      const groups = groupsOf(node);
      const epsilon = floatAttribute(node, 'epsilon', 1e-5);
      const rows = (value: string) => build.reshape(value, [0, groups ?? 0, -1]);
      // In version 18 of ONNX's operators a factor was of a group.
      const [count] = build.dimsOf(factor) ?? [];
      const ofGroup = groups !== null && count === groups;
      const perFactor = (value: string) => (ofGroup ? rows(value) : build.reshape(value, [0, 0, -1]));
      const at: Normed = { x: rows(x), axes: [-1], epsilon, isCentred: true, build };
      const summed = (value: string, like: string) =>
        build.reshapeLike(build.sum(perFactor(value), [0, 2]), like);
      return {
        0() {
          const slope = build.reshapeLike(build.mul(perFactor(g), build.unsqueeze(factor, [1])), x);
          return build.reshapeLike(back(rows(slope), at), x);
        },
        1: () => summed(build.mul(g, build.reshapeLike(normed(at).hat, x)), factor),
        2: () => summed(g, shift),
      };
    },
  };
}

export const normalisations: Readonly<Record<string, Rule>> = {
  LayerNormalization: ofLastAxes(true, { shift: 2 }),
  SimplifiedLayerNormalization: ofLastAxes(false),
  RMSNormalization: ofLastAxes(false),
  'com.microsoft.SkipLayerNormalization': ofLastAxes(true, {
    addends: [0, 1, 4],
    factor: 2,
    shift: 3,
    sum: 3,
  }),
  'com.microsoft.SkipSimplifiedLayerNormalization': ofLastAxes(false, {
    addends: [0, 1, 3],
    factor: 2,
    sum: 3,
  }),
  BatchNormalization: batch,
  InstanceNormalization: ofGroups(() => null),
  GroupNormalization: ofGroups((node) => intAttribute(node, 'num_groups', 1)),
  LpNormalization: {
    inputs: () => [0],
    pull: ({ node, inputs: [x], outputs: [y], cotangent: g, build }) => ({
      0() {
        const axes = [intAttribute(node, 'axis', -1)];
        const isL1 = intAttribute(node, 'p', 2) === 1;
        const norm = isL1
          ? build.sum(build.op('Abs', [x!]), axes)
          : build.op('Sqrt', [build.sum(build.mul(x!, x!), axes)]);
        const along = build.mul(isL1 ? build.op('Sign', [x!]) : y!, build.sum(build.mul(y!, g), axes));
        return build.div(build.sub(g, along), norm);
      },
    }),
  },
};
