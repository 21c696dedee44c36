import { attributeOf } from '../../onnx/graph';
import { floatTypes } from '../../onnx/element-types';
import type { Rule } from '../rule';

const passed: Rule = { inputs: () => [0], pull: ({ cotangent }) => ({ 0: () => cotangent }) };

/** The same numbers in another shape. */
const reshaped: Rule = {
  inputs: () => [0],
  pull: ({ inputs: [x], cotangent, build }) => ({ 0: () => build.reshapeLike(cotangent, x!) }),
};

const cast: Rule = {
  inputs: ({ input, output }, { typeOf }) =>
    [input[0]!, output[0]!].every((name) => floatTypes.has(typeOf(name))) ? [0] : [],
  pull: ({ inputs: [x], cotangent, build }) => ({ 0: () => build.cast(cotangent, build.typeOf(x!)) }),
};

const transpose: Rule = {
  inputs: () => [0],
  pull: ({ node, cotangent, build }) => ({
    0() {
      const order = attributeOf(node, 'perm')?.ints.map(Number);
      // Without one, all axes are turned around.
      if (!order) return build.op('Transpose', [cotangent]);
      return build.transpose(
        cotangent,
        order.map((_, axis) => order.indexOf(axis)),
      );
    },
  }),
};

export const movement: Readonly<Record<string, Rule>> = {
  Identity: passed,
  Cast: cast,
  Reshape: reshaped,
  Flatten: reshaped,
  Squeeze: reshaped,
  Unsqueeze: reshaped,
  Transpose: transpose,
};
