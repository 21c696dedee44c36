import { attributeOf, intAttribute, intsAttribute } from '../../../containers/onnx/graph';
import type { NodeProto } from '../../../containers/onnx/onnx_pb';
import type { Builder } from '../builder';
import type { Known } from '../known';
import type { Rule } from '../rule';

/** Axes that a reduction is over: null for all; undefined where they are computed. */
function axesOf(node: NodeProto, known: Pick<Known, 'integersOf'>): number[] | null | undefined {
  const axes = node.input[1] ? known.integersOf(node.input[1]) : intsAttribute(node, 'axes');
  if (axes?.length !== 0) return axes;
  return intAttribute(node, 'noop_with_empty_axes', 0) !== 0 ? [] : null;
}

interface Reduced {
  x: string;
  /** The output and its cotangent, with the axes that were reduced, of length 1. */
  y: string;
  g: string;
  /** null: all of them. */
  axes: readonly number[] | null;
  build: Builder;
}

const isConstant = (node: NodeProto, known: Known) =>
  axesOf(node, known) === undefined ? 'its axes are computed' : undefined;

/** `cotangent` may be repeated along the axes yet. */
function reduction(cotangent: (at: Reduced) => string): Rule {
  return {
    inputs: () => [0],
    unfit: isConstant,
    pull: ({ node, inputs: [x], outputs: [y], cotangent: g, build }) => ({
      0() {
        const axes = axesOf(node, build);
        const keeps = intAttribute(node, 'keepdims', 1) !== 0 || !axes || axes.length === 0;
        const kept = (value: string) => (keeps ? value : build.unsqueeze(value, axes));
        const at = { x: x!, y: kept(y!), g: kept(g), axes: axes ?? null, build };
        return build.expandLike(cotangent(at), x!);
      },
    }),
  };
}

/** Those that are the greatest or least have equal parts. */
const extreme = reduction(({ x, y, g, axes, build }) => {
  const chosen = build.indicator(build.equal(x, y), x);
  const count = axes?.length === 0 ? chosen : build.sum(chosen, axes ?? undefined);
  return build.mul(chosen, build.div(g, count));
});

const softmaxAxis = (node: NodeProto) => [intAttribute(node, 'axis', -1)];

export const reductions: Readonly<Record<string, Rule>> = {
  ReduceSum: reduction(({ g }) => g),
  ReduceMean: reduction(({ x, y, g, build }) => build.overCount(g, x, y)),
  ReduceMax: extreme,
  ReduceMin: extreme,
  ReduceL1: reduction(({ x, g, build }) => build.mul(g, build.op('Sign', [x]))),
  // At 0, where there is none, 0 is taken for the derivative.
  ReduceL2: reduction(({ x, y, g, build }) =>
    build.mul(x, build.where(build.equal(y, 0), 0, build.div(g, y))),
  ),
  ReduceSumSquare: reduction(({ x, g, build }) => build.mul(build.mul(x, 2), g)),
  ReduceLogSum: reduction(({ y, g, build }) => build.mul(g, build.op('Exp', [build.neg(y)]))),
  ReduceLogSumExp: reduction(({ x, y, g, build }) => build.mul(g, build.op('Exp', [build.sub(x, y)]))),

  Softmax: {
    inputs: () => [0],
    pull: ({ node, outputs: [y], cotangent: g, build }) => ({
      0: () => build.mul(y!, build.sub(g, build.sum(build.mul(y!, g), softmaxAxis(node)))),
    }),
  },
  LogSoftmax: {
    inputs: () => [0],
    pull: ({ node, outputs: [y], cotangent: g, build }) => ({
      0: () => build.sub(g, build.mul(build.op('Exp', [y!]), build.sum(g, softmaxAxis(node)))),
    }),
  },
  CumSum: {
    inputs: () => [0],
    pull: ({ node, inputs: [, axis], cotangent, build }) => ({
      0: () =>
        build.op('CumSum', [cotangent, axis!], {
          exclusive: BigInt(intAttribute(node, 'exclusive', 0)),
          reverse: attributeOf(node, 'reverse')?.i ? 0n : 1n,
        }),
    }),
  },
};
