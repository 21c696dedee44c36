import { attributeOf, intAttribute, intsAttribute, textAttribute } from '../../../containers/onnx/graph';
import type { NodeProto } from '../../../containers/onnx/onnx_pb';
import { TensorProto_DataType as DataType } from '../../../containers/onnx/onnx_pb';
import type { Shape } from '../shapes';
import type { Builder } from '../builder';
import type { Known } from '../known';
import { inputsOf, type Rule } from '../rule';
import { putBack } from './places';

// Convolutions and pools: operators of windows along the axes behind batch and channels.

interface Windows {
  kernel: number[];
  strides: number[];
  dilations: number[];
  /** Before each axis, then behind each. */
  pads: number[];
  group: number;
}

type Ask = Pick<Known, 'shapeOf'>;

/** undefined where sizes that it depends on are not known. */
function windowsOf(node: NodeProto, known: Ask): Windows | undefined {
  const weight = node.input[1] ? known.shapeOf(node.input[1])?.slice(2) : undefined;
  const kernel = attributeOf(node, 'kernel_shape')?.ints.map(Number) ?? weight;
  if (!kernel?.every((size) => typeof size === 'number')) return undefined;
  const of = (name: string) => {
    const given = intsAttribute(node, name);
    return given.length > 0 ? given : kernel.map(() => 1);
  };
  const windows = {
    kernel,
    strides: of('strides'),
    dilations: of('dilations'),
    group: intAttribute(node, 'group', 1),
  };
  const pads = padsOf(node, windows, known.shapeOf(node.input[0]!));
  return pads && { ...windows, pads };
}

function padsOf(
  node: NodeProto,
  windows: Omit<Windows, 'pads'>,
  own: Shape | undefined,
): number[] | undefined {
  const { kernel, strides } = windows;
  const auto = textAttribute(node, 'auto_pad', 'NOTSET');
  const given = intsAttribute(node, 'pads');
  if (auto === 'NOTSET' && given.length > 0) return given;
  if (auto === 'NOTSET' || auto === 'VALID') return kernel.flatMap(() => [0, 0]);
  if (node.opType === 'ConvTranspose') return undefined;
  const totals = kernel.map((_, axis) => {
    const [dim, stride] = [own?.[axis + 2], strides[axis]!];
    // As many windows as strides fit into the axis.
    if (stride === 1) return reachOf(windows, axis) - 1;
    if (typeof dim !== 'number') return NaN;
    return Math.max(0, (Math.ceil(dim / stride) - 1) * stride + reachOf(windows, axis) - dim);
  });
  if (totals.some(Number.isNaN)) return undefined;
  const less = totals.map((total) => Math.floor(total / 2));
  const more = totals.map((total) => Math.ceil(total / 2));
  return auto === 'SAME_UPPER' ? [...less, ...more] : [...more, ...less];
}

/** Places from the first to the last of a window. */
const reachOf = ({ kernel, dilations }: Pick<Windows, 'kernel' | 'dilations'>, axis: number) =>
  (kernel[axis]! - 1) * dilations[axis]! + 1;

const big = (numbers: readonly number[]) => numbers.map(BigInt);

const spatial = (build: Builder, value: string) =>
  build.op('Slice', [build.shapeOf(value), build.integers([2]), build.integers([Number.MAX_SAFE_INTEGER])]);

/** The transpose of the convolution of `x` with `weight`, of a value of its output's shape; `channels` may differ from those of x. */
function spread(build: Builder, value: string, weight: string, x: string, windows: Windows): string {
  const { kernel, strides, dilations, pads, group } = windows;
  const attributes = {
    ...{ kernel_shape: big(kernel), strides: big(strides), dilations: big(dilations), group: BigInt(group) },
  };
  if (strides.every((stride) => stride === 1)) {
    const reach = kernel.map((_, axis) => reachOf(windows, axis) - 1);
    const outer = [...reach, ...reach].map((length, i) => length - pads[i]!);
    // A convolution with the windows turned around, for which the runtime has faster kernels.
    if (outer.every((count) => count >= 0))
      return build.op('Conv', [value, turned(build, weight, windows)], {
        ...{ kernel_shape: big(kernel), dilations: big(dilations), pads: big(outer), group: BigInt(group) },
      });
    return build.op('ConvTranspose', [value, weight], { ...attributes, pads: big(pads) });
  }
  // Places behind the last window get nothing, and how many there are depends on the size.
  const whole = build.op('ConvTranspose', [value, weight], attributes);
  const rank = kernel.length;
  const beyond = strides.map((stride, axis) => Math.max(0, stride - 1 - pads[rank + axis]!));
  const nothing = kernel.map(() => 0);
  const padded = beyond.some((count) => count > 0)
    ? build.op('Pad', [whole, build.integers([0, 0, ...nothing, 0, 0, ...beyond])])
    : whole;
  const begin = build.integers(pads.slice(0, rank));
  const axes = build.integers(kernel.map((_, axis) => axis + 2));
  return build.op('Slice', [padded, begin, build.add(begin, spatial(build, x)), axes]);
}

/** [out, in/group, …kernel] as [in, out/group, …], with each kernel turned around. */
function turned(build: Builder, weight: string, { kernel, group }: Windows): string {
  const rest = kernel.map((_, axis) => axis);
  const turn = (step: number) => build.integers(rest.map(() => step));
  const axes = build.integers(rest.map((axis) => axis + 2));
  const around = build.op('Slice', [weight, turn(-1), turn(-(2 ** 31)), axes, turn(-1)]);
  if (group === 1) return build.transpose(around, [1, 0, ...rest.map((axis) => axis + 2)]);
  const inputs = build.lengthOf(weight, 1);
  const parts = build.op('Reshape', [
    around,
    build.joined(build.integers([group, -1]), inputs, build.integers(kernel)),
  ]);
  const exchanged = build.transpose(parts, [0, 2, 1, ...rest.map((axis) => axis + 3)]);
  const outputs = build.op('Div', [build.lengthOf(weight, 0), build.integers([group])]);
  return build.op('Reshape', [
    exchanged,
    build.joined(build.integers([-1]), outputs, build.integers(kernel)),
  ]);
}

/** The cotangent of a convolution's weight, [out, in/group, …kernel]. */
function ofWeight(build: Builder, x: string, g: string, weight: string, windows: Windows): string {
  const { kernel, strides, dilations, pads, group } = windows;
  const rest = kernel.map((_, axis) => axis);
  const inputs = build.lengthOf(weight, 1);
  // Batch and the channels of a group exchanged: [in/group, group · batch, …].
  const parts = build.op('Reshape', [x, build.joined(build.integers([0, group]), inputs, spatial(build, x))]);
  const turned = build.transpose(parts, [2, 1, 0, ...rest.map((axis) => axis + 3)]);
  const images = build.op('Reshape', [turned, build.joined(inputs, build.integers([-1]), spatial(build, x))]);
  const filters = build.transpose(g, [1, 0, ...rest.map((axis) => axis + 2)]);
  const made = build.op('Conv', [images, filters], {
    ...{ strides: big(dilations), dilations: big(strides), pads: big(pads), group: BigInt(group) },
  });
  const cut = build.op('Slice', [
    made,
    build.integers(rest.map(() => 0)),
    build.integers(kernel),
    build.integers(rest.map((axis) => axis + 2)),
  ]);
  return build.transpose(cut, [1, 0, ...rest.map((axis) => axis + 2)]);
}

/** Summed over all but the channels. */
const ofBias = (build: Builder, g: string) => build.sum(build.reshape(g, [0, 0, -1]), [0, 2], false);

const known = (build: Builder): Ask => ({ shapeOf: (name) => build.dimsOf(name) });
const unfit = (node: NodeProto, ask: Known) =>
  windowsOf(node, ask) ? undefined : 'sizes that its windows depend on are not known';

const conv: Rule = {
  inputs: inputsOf,
  unfit,
  pull({ node, inputs: [x, weight], cotangent: g, build }) {
    const windows = windowsOf(node, known(build))!;
    return {
      0: () => spread(build, g, weight!, x!, windows),
      1: () => ofWeight(build, x!, g, weight!, windows),
      2: () => ofBias(build, g),
    };
  },
};

/** The transpose of a convolution: what goes back is that convolution. */
const convTranspose: Rule = {
  inputs: inputsOf,
  unfit: (node, ask) =>
    attributeOf(node, 'output_shape') ? 'its padding follows from its output' : unfit(node, ask),
  pull({ node, inputs: [x, weight], cotangent: g, build }) {
    const windows = windowsOf(node, known(build))!;
    const { kernel, strides, dilations, pads, group } = windows;
    return {
      0: () =>
        build.op('Conv', [g, weight!], {
          ...{ kernel_shape: big(kernel), strides: big(strides), dilations: big(dilations) },
          ...{ pads: big(pads), group: BigInt(group) },
        }),
      1: () => ofWeight(build, g, x!, weight!, windows),
      2: () => ofBias(build, g),
    };
  },
};

const poolUnfit = (node: NodeProto, ask: Known) =>
  intAttribute(node, 'ceil_mode', 0) !== 0 ? 'its windows may end outside' : unfit(node, ask);

const averagePool: Rule = {
  inputs: () => [0],
  unfit: poolUnfit,
  pull: ({ node, inputs: [x], cotangent: g, build }) => ({
    0() {
      const windows = windowsOf(node, known(build))!;
      const { kernel, strides, dilations, pads } = windows;
      const size = kernel.reduce((product, length) => product * length, 1);
      let share = build.mul(g, 1 / size);
      if (pads.some((count) => count > 0) && intAttribute(node, 'count_include_pad', 0) === 0) {
        const ones = build.expandLike(build.scalar(1, x!), x!);
        // What part of each window is no padding.
        const inside = build.op('AveragePool', [ones], {
          ...{ kernel_shape: big(kernel), strides: big(strides), pads: big(pads), count_include_pad: 1n },
          ...(attributeOf(node, 'dilations') ? { dilations: big(dilations) } : {}),
        });
        share = build.div(share, inside);
      }
      // Each channel by itself.
      const rows = build.op('Reshape', [share, build.joined(build.integers([-1, 1]), spatial(build, g))]);
      const ones = build.filled(1, [1, 1, ...kernel], g);
      return build.reshapeLike(spread(build, rows, ones, x!, windows), x!);
    },
  }),
};

const maxPool: Rule = {
  inputs: () => [0],
  unfit: (node) => (intAttribute(node, 'storage_order', 0) === 0 ? undefined : 'its indices are by columns'),
  pull: ({ node, inputs: [x], outputs: [, indices], cotangent: g, build }) => ({
    0: () => putBack(build, x!, indices || build.again(node, [x!], DataType.INT64, 2), g),
  }),
};

export const windows: Readonly<Record<string, Rule>> = {
  Conv: conv,
  ConvTranspose: convTranspose,
  AveragePool: averagePool,
  MaxPool: maxPool,
  GlobalAveragePool: {
    inputs: () => [0],
    pull: ({ inputs: [x], outputs: [y], cotangent: g, build }) => ({
      0: () => build.expandLike(build.overCount(g, x!, y!), x!),
    }),
  },
  GlobalMaxPool: {
    inputs: () => [0],
    pull: ({ inputs: [x], outputs: [y], cotangent: g, build }) => ({
      0() {
        const chosen = build.indicator(build.equal(x!, y!), x!);
        const count = build.reshapeLike(build.sum(build.reshape(chosen, [0, 0, -1]), [2]), y!);
        return build.mul(chosen, build.div(g, count));
      },
    }),
  },
};
