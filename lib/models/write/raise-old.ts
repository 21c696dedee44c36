import { attributeOf, floatAttribute, intAttribute, textAttribute } from '../../containers/onnx/graph';
import { attribute, node as makeNode, tensor } from '../../containers/onnx/make';
import {
  TensorProto_DataType as DataType,
  type ModelProto,
  type NodeProto,
  type TensorProto,
} from '../../containers/onnx/onnx_pb';
import { isExternal } from '../../containers/onnx/tensor';
import type { Edits } from './edit';
import type { Names } from './names';

// What versions 8 to 13 of the standard operators changed, from the operators' changelog (Changelog.md of github.com/onnx/onnx).

export interface Context {
  model: ModelProto;
  names: Names;
  edits: Edits;
  constants: SmallConstants;
}

/** A change of an operator's meaning. */
export interface Change {
  /** The version that made it. */
  version: number;
  /** Whether a node of an earlier version can be written in the new one. */
  fits?: (node: NodeProto, constants: SmallConstants) => boolean;
  /** Does so. */
  adapt?: (node: NodeProto, context: Context) => void;
}

/** The oldest version that is raised: before, operators of two values repeated them otherwise. */
export const oldestOpset = 7;

/** A new constant of the model. */
function constant({ model, names }: Context, name: string, make: (name: string) => TensorProto): string {
  const own = names.unused(name);
  model.graph!.initializer.push(make(own));
  return own;
}

function taken(node: NodeProto, name: string) {
  const found = attributeOf(node, name);
  if (found) node.attribute.splice(node.attribute.indexOf(found), 1);
  return found;
}

/** Attributes with lists of integers that became inputs, in the order of these. */
const listsToInputs =
  (lists: readonly (readonly [name: string, input: number])[]): NonNullable<Change['adapt']> =>
  (node, context) => {
    for (const [name, input] of lists) {
      const ints = taken(node, name)?.ints;
      if (!ints) continue;
      while (node.input.length < input) node.input.push('');
      node.input[input] = constant(context, `${node.output[0]!}_${name}`, (own) =>
        tensor(own, [ints.length], BigInt64Array.from(ints)),
      );
    }
  };

const scalar = (context: Context, node: NodeProto, name: string, value: number) =>
  constant(context, `${node.output[0]!}_${name}`, (own) => tensor(own, [], Float32Array.of(value)));

/** Up to version 12 they were of all axes from one on together, by default from the second. */
const softmax: Change = {
  version: 13,
  adapt(node, context) {
    const axis = intAttribute(node, 'axis', 1);
    taken(node, 'axis');
    // The last one alone.
    if (axis === -1) return;
    const [input, output] = [node.input[0]!, node.output[0]!];
    const own = (what: string) => context.names.unused(`${output}_${what}`);
    const [flat, soft, shape] = [own('flat'), own('soft'), own('shape')];
    const { domain } = node;
    const name = own('form');
    const before = [
      makeNode('Shape', [input], [shape], { domain }),
      makeNode('Flatten', [input], [flat], { domain, attributes: { axis: BigInt(axis) } }),
    ];
    node.input = [flat];
    node.output = [soft];
    node.attribute.push(attribute('axis', -1n));
    const behind = makeNode('Reshape', [soft, shape], [output], { domain, name });
    context.edits.insertBefore(node, before);
    context.edits.insertBehind(node, [behind]);
  },
};

/** The constants of a model's own graph, by name. */
export class SmallConstants {
  private tensors: Map<string, TensorProto> | undefined;

  constructor(private readonly model: ModelProto) {}

  /** The numbers of a small one; undefined where it is none. */
  floats(name: string): number[] | undefined {
    this.tensors ??= this.find();
    const found = this.tensors.get(name);
    if (found?.dataType !== DataType.FLOAT || isExternal(found)) return undefined;
    const { rawData, floatData } = found;
    const view = new DataView(rawData.buffer, rawData.byteOffset, rawData.byteLength);
    return floatData.length > 0
      ? floatData
      : Array.from({ length: rawData.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
  }

  private find(): Map<string, TensorProto> {
    const { node, initializer } = this.model.graph!;
    const made = node.flatMap((own): [string, TensorProto][] => {
      const value = own.opType === 'Constant' ? attributeOf(own, 'value')?.t : undefined;
      return value ? [[own.output[0]!, value]] : [];
    });
    return new Map([...made, ...initializer.map((tensor) => [tensor.name, tensor] as const)]);
  }
}

const scalesOf = (node: NodeProto, constants: SmallConstants) =>
  attributeOf(node, 'scales')?.floats ?? constants.floats(node.input[1] ?? '');

/**
 * Up to version 10 a place of the output came from the one that it is the multiple of: of two the first where there are more places than
 * before, as the runtime has it, and the second where there are fewer.
 */
const resized: Change = {
  version: 11,
  fits(node, constants) {
    const scales = scalesOf(node, constants);
    return (
      textAttribute(node, 'mode', 'nearest') !== 'nearest' ||
      [Math.sign, (scale: number) => -Math.sign(scale)].some((turn) =>
        scales?.every((scale) => turn(scale - 1) >= 0),
      )
    );
  },
  adapt(node, context) {
    const scales = scalesOf(node, context.constants);
    const given = taken(node, 'scales')?.floats;
    const input = given
      ? constant(context, `${node.output[0]!}_scales`, (own) =>
          tensor(own, [given.length], Float32Array.from(given)),
        )
      : node.input[1]!;
    node.input = [node.input[0]!, '', input];
    node.opType = 'Resize';
    node.attribute.push(attribute('coordinate_transformation_mode', 'asymmetric'));
    node.attribute.push(attribute('nearest_mode', scales?.some((scale) => scale < 1) ? 'ceil' : 'floor'));
  },
};

const axes: Change = { version: 13, adapt: listsToInputs([['axes', 1]]) };

export const oldChanges: Readonly<Record<string, Change>> = {
  Clip: {
    version: 11,
    adapt(node, context) {
      for (const [i, name] of ['min', 'max'].entries()) {
        const value = floatAttribute(node, name, NaN);
        if (!taken(node, name) || Number.isNaN(value)) continue;
        while (node.input.length < i + 1) node.input.push('');
        node.input[i + 1] = scalar(context, node, name, value);
      }
    },
  },
  Dropout: {
    version: 12,
    fits: (node) => node.output.filter((name) => name !== '').length === 1,
    adapt: (node) => void taken(node, 'ratio'),
  },
  Hardmax: softmax,
  LogSoftmax: softmax,
  Pad: {
    version: 11,
    adapt(node, context) {
      const value = floatAttribute(node, 'value', 0);
      taken(node, 'value');
      listsToInputs([['pads', 1]])(node, context);
      if (value !== 0) node.input[2] = scalar(context, node, 'value', value);
    },
  },
  ReduceSum: axes,
  Resize: resized,
  Scan: { version: 9, fits: () => false },
  Scatter: { version: 11, adapt: (node) => void (node.opType = 'ScatterElements') },
  Slice: {
    version: 10,
    adapt: listsToInputs([
      ['starts', 1],
      ['ends', 2],
      ['axes', 3],
    ]),
  },
  Softmax: softmax,
  Split: { version: 13, adapt: listsToInputs([['split', 1]]) },
  Squeeze: axes,
  TopK: {
    version: 10,
    adapt(node, context) {
      const count = intAttribute(node, 'k', 1);
      taken(node, 'k');
      node.input[1] = constant(context, `${node.output[0]!}_k`, (own) =>
        tensor(own, [1], BigInt64Array.of(BigInt(count))),
      );
    },
  },
  Unsqueeze: axes,
  Upsample: resized,
};
