import { floatTypes } from '../../../containers/onnx/element-types';
import { attributeOf, intAttribute, textAttribute } from '../../../containers/onnx/graph';
import { TensorProto_DataType as DataType, type NodeProto } from '../../../containers/onnx/onnx_pb';
import type { Builder } from '../builder';
import type { Known } from '../known';
import { inputsOf, type Rule } from '../rule';
import { placesOf, putBack } from './places';

const first = () => [0];

const passed: Rule = { inputs: first, pull: ({ cotangent }) => ({ 0: () => cotangent }) };

/** The same numbers in another shape. */
const reshaped: Rule = {
  inputs: first,
  pull: ({ inputs: [x], cotangent, build }) => ({ 0: () => build.reshapeLike(cotangent, x!) }),
};

const cast: Rule = {
  inputs: ({ input, output }, known) =>
    [input[0]!, output[0]!].every((name) => floatTypes.has(known.typeOf(name))) ? [0] : [],
  pull: ({ inputs: [x], cotangent, build }) => ({ 0: () => build.cast(cotangent, build.typeOf(x!)) }),
};

const transpose: Rule = {
  inputs: first,
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

/** Any operator whose outputs are numbers of its first input: where they came from is what it makes of their places. */
function moved(node: NodeProto, inputs: readonly string[], cotangent: string, build: Builder): string {
  const places = build.again(node, [placesOf(build, inputs[0]!), ...inputs.slice(1)], DataType.INT64);
  return putBack(build, inputs[0]!, places, cotangent);
}

const move: Rule = {
  inputs: first,
  pull: ({ node, inputs, cotangent, build }) => ({ 0: () => moved(node, inputs, cotangent, build) }),
};

const concat: Rule = {
  inputs: inputsOf,
  pull({ node, inputs, cotangent, build }) {
    const axis = intAttribute(node, 'axis', 0);
    const parts = () =>
      inputs.length === 1
        ? [cotangent]
        : build.several(
            'Split',
            [cotangent, build.joined(...inputs.map((input) => build.lengthOf(input, axis)))],
            inputs.length,
            { axis: BigInt(axis) },
          );
    return inputs.map((_, i) => () => parts()[i]!);
  },
};

const split: Rule = {
  inputs: first,
  outputs: 'all',
  pull: ({ node, outputs, cotangents, build }) => ({
    0: () =>
      build.op(
        'Concat',
        outputs.map((name, i) => cotangents[i] ?? build.zerosLike(name)),
        { axis: BigInt(intAttribute(node, 'axis', 0)) },
      ),
  }),
};

/** Where a part that is no more than shifted begins: its first places, of which those below 0 are counted from the end, and its axes. */
function shift({ input }: NodeProto, build: Builder): { starts: number[]; axes: number[] } | undefined {
  const rank = build.rankOf(input[0]!);
  const [starts, ends, given, steps] = [1, 2, 3, 4].map((i) =>
    input[i] ? build.integersOf(input[i]) : undefined,
  );
  if (
    !starts ||
    rank === undefined ||
    (input[3] && !given) ||
    (input[4] && !steps?.every((step) => step === 1))
  )
    return undefined;
  const axes = (given ?? [...starts.keys()]).map((axis) => (axis < 0 ? axis + rank : axis));
  const isToTheEnd = (i: number) => ends !== undefined && ends[i]! >= 2 ** 31 - 1;
  return starts.every((start, i) => start >= 0 || isToTheEnd(i)) ? { starts, axes } : undefined;
}

const slice: Rule = {
  inputs: first,
  pull: ({ node, inputs, outputs: [y], cotangent, build }) => ({
    0() {
      const [x] = inputs;
      const known = shift(node, build);
      if (!known) return moved(node, inputs, cotangent, build);
      // Zeros around it.
      const { starts, axes } = known;
      const rank = build.rankOf(x!)!;
      const of = (value: (start: number) => number) =>
        Array.from({ length: rank }, (_, axis) =>
          axes.includes(axis) ? value(starts[axes.indexOf(axis)]!) : 0,
        );
      const missing = build.sub(build.shapeOf(x!), build.shapeOf(y!));
      const fromEnd = of((start) => (start < 0 ? 1 : 0));
      const plain = build.integers(of((start) => Math.max(start, 0)));
      const before = fromEnd.some((one) => one === 1)
        ? build.add(plain, build.mul(missing, build.integers(fromEnd)))
        : plain;
      return build.op('Pad', [cotangent, build.joined(before, build.sub(missing, before))]);
    },
  }),
};

const pad: Rule = {
  inputs: ({ input }) => (input[2] ? [0, 2] : [0]),
  unfit: (node, known) => {
    if (textAttribute(node, 'mode', 'constant') !== 'constant') return undefined;
    const pads = known.integersOf(node.input[1]!);
    return pads?.every((count) => count >= 0) ? undefined : 'its padding is computed or negative';
  },
  pull({ node, inputs, cotangent, build }) {
    const [x, pads, value, axes] = inputs;
    const inside = () => {
      const before = build.integersOf(pads!)!;
      const starts = before.slice(0, before.length / 2);
      const over = axes ? [axes] : [];
      const lengths = axes ? build.op('Gather', [build.shapeOf(x!), axes]) : build.shapeOf(x!);
      const begin = build.integers(starts);
      return build.op('Slice', [cotangent, begin, build.add(begin, lengths), ...over]);
    };
    return {
      0: () =>
        textAttribute(node, 'mode', 'constant') === 'constant'
          ? inside()
          : moved(node, [x!, pads!, '', ...(axes ? [axes] : [])], cotangent, build),
      2() {
        const outside = build.sub(
          build.sum(cotangent, undefined, false),
          build.sum(inside(), undefined, false),
        );
        return build.reshapeLike(outside, value!);
      },
    };
  },
};

const expand: Rule = {
  inputs: first,
  pull: ({ inputs: [x], outputs: [y], cotangent, build }) => ({
    0: () => build.reducedTo(x!, y!, cotangent),
  }),
};

const scatterUnfit = (node: NodeProto) => {
  const reduction = textAttribute(node, 'reduction', 'none');
  return ['none', 'add'].includes(reduction) ? undefined : `its reduction is "${reduction}"`;
};

/** Puts updates in place of some numbers, or adds them. `take` is the operator that looks up what `put` puts. */
function scatter(take: string, axisOf: (node: NodeProto) => Record<string, bigint>): Rule {
  return {
    inputs: () => [0, 2],
    unfit: scatterUnfit,
    pull: ({ node, inputs: [, indices, updates], cotangent, build }) => ({
      0: () =>
        textAttribute(node, 'reduction', 'none') === 'add'
          ? cotangent
          : build.op(node.opType, [cotangent, indices!, build.zerosLike(updates!)], axisOf(node)),
      2: () => build.op(take, [cotangent, indices!], axisOf(node)),
    }),
  };
}

const axisOf = (node: NodeProto) => ({ axis: BigInt(intAttribute(node, 'axis', 0)) });

const gatherElements: Rule = {
  inputs: first,
  pull: ({ node, inputs: [x, indices], cotangent, build }) => ({
    0: () =>
      build.op('ScatterElements', [build.zerosLike(x!), indices!, cotangent], {
        ...axisOf(node),
        reduction: 'add',
      }),
  }),
};

const topK: Rule = {
  inputs: first,
  pull: ({ node, inputs: [x], outputs: [, indices], cotangent, build }) => ({
    0: () =>
      build.op('ScatterElements', [build.zerosLike(x!), indices!, cotangent], {
        axis: BigInt(intAttribute(node, 'axis', -1)),
      }),
  }),
};

function isFalse({ graph }: Known, name: string): boolean {
  const maker = graph.producerOf(name);
  const flag =
    graph.initializer(name) ?? (maker?.opType === 'Constant' ? attributeOf(maker, 'value')?.t : undefined);
  return flag !== undefined && [...flag.rawData, ...flag.int32Data].every((value) => value === 0);
}

const blocks = (node: NodeProto) => ({ blocksize: BigInt(intAttribute(node, 'blocksize', 1)) });

export const movement: Readonly<Record<string, Rule>> = {
  Identity: passed,
  // Nothing is dropped but in training.
  Dropout: {
    ...passed,
    flat: [1],
    unfit: ({ input }, known) =>
      input[2] && !isFalse(known, input[2]) ? 'it may be in training' : undefined,
  },
  Cast: cast,
  CastLike: { ...cast, flat: [1] },
  Reshape: reshaped,
  Flatten: reshaped,
  Squeeze: reshaped,
  Unsqueeze: reshaped,
  Transpose: transpose,
  Concat: concat,
  Split: split,
  Slice: slice,
  Pad: pad,
  Expand: expand,
  Tile: move,
  Gather: move,
  GatherND: move,
  GatherElements: gatherElements,
  ScatterElements: scatter('GatherElements', axisOf),
  ScatterND: scatter('GatherND', () => ({})),
  TopK: topK,
  Resize: {
    inputs: first,
    flat: [1, 2],
    unfit: (node) => (textAttribute(node, 'mode', 'nearest') === 'nearest' ? undefined : 'it mixes numbers'),
    pull: ({ node, inputs: [x, ...sizes], cotangent, build }) => ({
      0() {
        // The runtime has no kernel for 64 bits.
        const places = build.cast(placesOf(build, x!), DataType.INT32);
        return putBack(build, x!, build.again(node, [places, ...sizes], DataType.INT32), cotangent);
      },
    }),
  },
  DepthToSpace: {
    inputs: first,
    unfit: (node) => (textAttribute(node, 'mode', 'DCR') === 'DCR' ? undefined : 'its mode is "CRD"'),
    pull: ({ node, cotangent, build }) => ({ 0: () => build.op('SpaceToDepth', [cotangent], blocks(node)) }),
  },
  SpaceToDepth: {
    inputs: first,
    pull: ({ node, cotangent, build }) => ({ 0: () => build.op('DepthToSpace', [cotangent], blocks(node)) }),
  },
  Trilu: {
    inputs: first,
    pull: ({ node, inputs: [, diagonal], cotangent, build }) => ({
      0: () =>
        build.op('Trilu', [cotangent, ...(diagonal ? [diagonal] : [])], {
          upper: BigInt(intAttribute(node, 'upper', 1)),
        }),
    }),
  },
};
