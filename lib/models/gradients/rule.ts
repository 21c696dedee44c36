import type { NodeProto } from '../../containers/onnx/onnx_pb';
import type { Builder } from './builder';
import type { Known } from './known';

/** One node whose cotangents are to be pulled back. */
export interface Pull {
  node: NodeProto;
  /** Its inputs and outputs by their names; '' where one is left out. */
  inputs: readonly string[];
  outputs: readonly string[];
  /** The cotangent of its first output. */
  cotangent: string;
  /** The cotangents of all outputs; undefined where nothing flows back to one. */
  cotangents: readonly (string | undefined)[];
  build: Builder;
}

/** How an operator's cotangents are pulled back. */
export interface Rule {
  /** Inputs that derivatives flow back to, by their places; others (shapes, indices, conditions) get none. */
  inputs(node: NodeProto, known: Known): readonly number[];
  /** Outputs that derivatives flow back from; the first one by default. There is no rule for others of floats. */
  outputs?: readonly number[] | 'all';
  /** Inputs of floats that the outputs do not change with, as those that only say a type. There is no rule for others that are not in `inputs`. */
  flat?: readonly number[];
  /** Why the rule does not hold for a node; undefined where it does. */
  unfit?(node: NodeProto, known: Known): string | undefined;
  /** For each input that is asked for: the value that holds its cotangent, of the input's shape and type. The others are not called. */
  pull(at: Pull): Readonly<Record<number, () => string>>;
}

export const inputsOf = (node: NodeProto) => node.input.map((_, i) => i);

/** An operator of one input that has a derivative for each number. */
export function ofNumbers(
  derivative: (at: { x: string; y: string; node: NodeProto; build: Builder }) => string,
): Rule {
  return {
    inputs: () => [0],
    pull: ({ node, inputs: [x], outputs: [y], cotangent, build }) => ({
      0: () => build.mul(cotangent, derivative({ x: x!, y: y!, node, build })),
    }),
  };
}
