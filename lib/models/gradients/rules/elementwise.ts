import { floatTypes } from '../../../containers/onnx/element-types';
import { floatAttribute, textAttribute } from '../../../containers/onnx/graph';
import type { Builder } from '../builder';
import { inputsOf, ofNumbers, type Pull, type Rule } from '../rule';

/** An operator of numbers beside each other, repeated to one shape: `parts` give each input's cotangent in that shape. */
function broadcast(parts: (at: Pull & { g: string }) => readonly (() => string)[]): Rule {
  return {
    inputs: inputsOf,
    pull(at) {
      const made = parts({ ...at, g: at.cotangent });
      return made.map((part, i) => () => at.build.reducedTo(at.inputs[i]!, at.outputs[0]!, part()));
    },
  };
}

const sigmoid = (build: Builder, x: string) => build.op('Sigmoid', [x]);

/** The derivative of x·σ(kx). */
const swish = (build: Builder, x: string, k: number) => {
  const scaled = build.mul(x, k);
  const s = sigmoid(build, scaled);
  return build.mul(s, build.add(build.mul(scaled, build.sub(1, s)), 1));
};

/** The derivative of ln(1 + eˣ) is σ(x). */
const softplus = (build: Builder, x: string) => build.op('Softplus', [x]);

/** The derivative of x·Φ(x): Φ(x) + x·φ(x). */
function gelu(build: Builder, x: string): string {
  const below = build.mul(build.add(build.op('Erf', [build.mul(x, Math.SQRT1_2)]), 1), 0.5);
  const density = build.mul(build.op('Exp', [build.mul(build.mul(x, x), -0.5)]), 1 / Math.sqrt(2 * Math.PI));
  return build.add(below, build.mul(x, density));
}

/** The same where Φ is approximated by (1 + tanh(√(2/π)·(x + 0.044715x³)))/2. */
function geluTanh(build: Builder, x: string): string {
  const [root, cubic] = [Math.sqrt(2 / Math.PI), 0.044715];
  const square = build.mul(x, x);
  const inner = build.mul(x, build.add(build.mul(square, root * cubic), root));
  const t = build.op('Tanh', [inner]);
  const slope = build.add(build.mul(square, 3 * root * cubic), root);
  const bent = build.mul(build.mul(build.sub(1, build.mul(t, t)), slope), x);
  return build.mul(build.add(build.add(t, 1), bent), 0.5);
}

/** An activation of x plus a bias that may be left out. */
function biased(derivative: (build: Builder, x: string) => string): Rule {
  return broadcast(({ inputs: [x, bias], g, build }) => {
    const part = () => build.mul(g, derivative(build, bias ? build.add(x!, bias) : x!));
    return [part, part];
  });
}

/** The greatest or least of its inputs: those that are it have equal parts. */
const extreme = broadcast(({ inputs, outputs: [y], g, build }) => {
  const chosen = inputs.map((input) => build.indicator(build.equal(input, y!), y!));
  const count = chosen.reduce((left, right) => build.add(left, right));
  return chosen.map((own) => () => build.mul(g, build.div(own, count)));
});

const standard: Record<string, Rule> = {
  Add: broadcast(({ g }) => [() => g, () => g]),
  Sub: broadcast(({ g, build }) => [() => g, () => build.neg(g)]),
  Mul: broadcast(({ inputs: [a, b], g, build }) => [() => build.mul(g, b!), () => build.mul(g, a!)]),
  Div: broadcast(({ inputs: [, b], outputs: [y], g, build }) => [
    () => build.div(g, b!),
    () => build.op('Neg', [build.div(build.mul(g, y!), b!)]),
  ]),
  Sum: broadcast(({ inputs, g }) => inputs.map(() => () => g)),
  Mean: broadcast(({ inputs, g, build }) => inputs.map(() => () => build.mul(g, 1 / inputs.length))),

  Neg: { inputs: () => [0], pull: ({ cotangent, build }) => ({ 0: () => build.neg(cotangent) }) },
  Sqrt: ofNumbers(({ y, build }) => build.div(0.5, y)),
  Reciprocal: ofNumbers(({ y, build }) => build.op('Neg', [build.mul(y, y)])),
  Exp: ofNumbers(({ y }) => y),
  Log: ofNumbers(({ x, build }) => build.div(1, x)),
  Pow: {
    inputs: ({ input }, known) => (floatTypes.has(known.typeOf(input[1]!)) ? [0, 1] : [0]),
    pull({ inputs: [a, b], outputs: [y], cotangent: g, build }) {
      const type = build.typeOf(a!);
      const power = build.cast(b!, type);
      const reduced = (input: string, value: string) => build.reducedTo(input, y!, value);
      return {
        0() {
          const slope = build.mul(power, build.pow(a!, build.sub(power, 1)));
          // 0 · 0⁻¹ is not what a constant has.
          return reduced(a!, build.mul(g, build.where(build.equal(power, 0), 0, slope)));
        },
        1() {
          const slope = build.mul(y!, build.op('Log', [a!]));
          const own = reduced(b!, build.mul(g, build.where(build.less(0, a!), slope, 0)));
          return build.cast(own, build.typeOf(b!));
        },
      };
    },
  },
  Max: extreme,
  Min: extreme,
  Where: {
    inputs: () => [1, 2],
    pull: ({ inputs: [condition, a, b], outputs: [y], cotangent: g, build }) => ({
      1: () => build.reducedTo(a!, y!, build.where(condition!, g, 0)),
      2: () => build.reducedTo(b!, y!, build.where(condition!, 0, g)),
    }),
  },
  PRelu: broadcast(({ inputs: [x, slope], g, build }) => {
    const isBelow = build.less(x!, 0);
    return [
      () => build.where(isBelow, build.mul(g, slope!), g),
      () => build.where(isBelow, build.mul(g, x!), 0),
    ];
  }),
  Clip: {
    inputs: inputsOf,
    pull({ inputs: [x, low, high], outputs: [y], cotangent: g, build }) {
      const where = (condition: string) => build.where(condition, g, 0);
      const all = (value: string) => build.reshapeLike(build.sum(value, undefined), low || high!);
      return {
        0: () => where(build.equal(x!, y!)),
        1: () => all(where(build.less(x!, low!))),
        2: () => all(where(build.less(high!, x!))),
      };
    },
  },
  Sin: ofNumbers(({ x, build }) => build.op('Cos', [x])),
  Cos: ofNumbers(({ x, build }) => build.op('Neg', [build.op('Sin', [x])])),
  Tanh: ofNumbers(({ y, build }) => build.sub(1, build.mul(y, y))),
  Sigmoid: ofNumbers(({ y, build }) => build.mul(y, build.sub(1, y))),
  Erf: ofNumbers(({ x, build }) =>
    build.mul(build.op('Exp', [build.op('Neg', [build.mul(x, x)])]), 2 / Math.sqrt(Math.PI)),
  ),
  Abs: ofNumbers(({ x, build }) => build.op('Sign', [x])),
  Relu: ofNumbers(({ x, build }) => build.indicator(build.less(0, x), x)),
  Gelu: ofNumbers(({ x, node, build }) =>
    textAttribute(node, 'approximate', 'none') === 'tanh' ? geluTanh(build, x) : gelu(build, x),
  ),
  LeakyRelu: ofNumbers(({ x, node, build }) =>
    build.where(build.less(x, 0), build.scalar(floatAttribute(node, 'alpha', 0.01), x), 1),
  ),
  Elu: ofNumbers(({ x, y, node, build }) =>
    build.where(build.less(0, x), 1, build.add(y, floatAttribute(node, 'alpha', 1))),
  ),
  Selu: ofNumbers(({ x, y, node, build }) => {
    const [alpha, gamma] = [
      floatAttribute(node, 'alpha', 1.67326319217681884765625),
      floatAttribute(node, 'gamma', 1.05070102214813232421875),
    ];
    return build.where(build.less(0, x), build.scalar(gamma, x), build.add(y, alpha * gamma));
  }),
  Celu: ofNumbers(({ x, node, build }) =>
    build.where(build.less(0, x), 1, build.op('Exp', [build.mul(x, 1 / floatAttribute(node, 'alpha', 1))])),
  ),
  ThresholdedRelu: ofNumbers(({ x, node, build }) =>
    build.indicator(build.less(floatAttribute(node, 'alpha', 1), x), x),
  ),
  HardSigmoid: ofNumbers(({ y, node, build }) => {
    const isBent = build.op('And', [build.less(0, y), build.less(y, 1)]);
    return build.mul(build.indicator(isBent, y), floatAttribute(node, 'alpha', 0.2));
  }),
  HardSwish: ofNumbers(({ x, build }) => {
    // x·h, where h = max(0, min(1, x/6 + 1/2)).
    const h = build.op('HardSigmoid', [x], { alpha: 1 / 6, beta: 0.5 });
    const isBent = build.op('And', [build.less(0, h), build.less(h, 1)]);
    return build.add(h, build.mul(build.mul(x, 1 / 6), build.indicator(isBent, x)));
  }),
  Softsign: ofNumbers(({ x, build }) => {
    const root = build.add(build.op('Abs', [x]), 1);
    return build.div(1, build.mul(root, root));
  }),
  Swish: ofNumbers(({ x, node, build }) => swish(build, x, floatAttribute(node, 'alpha', 1))),
  Softplus: ofNumbers(({ x, build }) => sigmoid(build, x)),
  Mish: ofNumbers(({ x, build }) => {
    const t = build.op('Tanh', [softplus(build, x)]);
    return build.add(t, build.mul(build.mul(x, sigmoid(build, x)), build.sub(1, build.mul(t, t))));
  }),
};

export const elementwise: Readonly<Record<string, Rule>> = {
  ...standard,
  'com.microsoft.Gelu': ofNumbers(({ x, build }) => gelu(build, x)),
  'com.microsoft.QuickGelu': ofNumbers(({ x, node, build }) =>
    swish(build, x, floatAttribute(node, 'alpha', 1.702)),
  ),
  'com.microsoft.FastGelu': biased(geluTanh),
  'com.microsoft.BiasGelu': biased(gelu),
};
