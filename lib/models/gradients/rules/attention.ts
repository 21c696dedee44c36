import type { Rule } from '../rule';

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

export const attention: Readonly<Record<string, Rule>> = {
  RotaryEmbedding: rotation(2),
  'com.microsoft.RotaryEmbedding': rotation(3),
};
