import { attributeOf, intAttribute, isStandard, withSubgraphs } from '../../containers/onnx/graph';
import { attribute, tensor } from '../../containers/onnx/make';
import type { ModelProto, NodeProto } from '../../containers/onnx/onnx_pb';
import { raiseIrVersion, settleInitializers } from '../../containers/onnx/opset';
import { Edits } from './edit';
import { Names } from './names';
import { type Change, oldChanges, oldestOpset, SmallConstants } from './raise-old';

// What versions 14 to 21 of the standard operators changed, from the operators' changelog (Changelog.md of github.com/onnx/onnx).

/** Operators that mean the same in every version from 13 to 21 that has them: later ones at most take more types or attributes. */
const unchanged: ReadonlySet<string> = new Set(
  `
  Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr
  BitwiseXor BlackmanWindow Cast CastLike Ceil Celu CenterCropPad Clip Col2Im Compress Concat
  ConcatFromSequence Constant ConstantOfShape Conv ConvInteger ConvTranspose Cos Cosh CumSum DepthToSpace
  DequantizeLinear Det Div Dropout DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand EyeLike Flatten
  Floor GRU Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool Greater
  GreaterOrEqual HammingWindow HannWindow HardSigmoid HardSwish Hardmax Identity If InstanceNormalization
  IsInf IsNaN LRN LSTM LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax Loop LpNormalization
  MatMul MatMulInteger Max MaxPool MaxUnpool Mean MeanVarianceNormalization MelWeightMatrix Min Mish Mod
  Mul Neg NonMaxSuppression NonZero Not OneHot Or PRelu Pad Pow QLinearConv QLinearMatMul QuantizeLinear
  RNN RandomNormal RandomNormalLike RandomUniform RandomUniformLike Range Reciprocal ReduceSum Relu
  Reshape Resize ReverseSequence Round STFT Scan ScatterElements ScatterND Selu SequenceAt
  SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength Shape Shrink Sigmoid Sign
  Sin Sinh Size Slice Softmax Softplus Softsign SpaceToDepth SplitToSequence Sqrt Squeeze Sub Sum Tan Tanh
  ThresholdedRelu Tile TopK Transpose Trilu Unique Unsqueeze Where Xor
  `.match(/\w+/g),
);

/** The axes of a reduction became an input. */
const reduction: Change = {
  version: 18,
  adapt: (node, { model, names }) => {
    const axes = attributeOf(node, 'axes');
    if (!axes) return;
    node.attribute.splice(node.attribute.indexOf(axes), 1);
    // Of no axes, as without the attribute, all are meant.
    if (axes.ints.length === 0) return;
    const name = names.unused(`${node.name || node.output[0]!}_axes`);
    model.graph!.initializer.push(tensor(name, [axes.ints.length], BigInt64Array.from(axes.ints)));
    node.input[1] = name;
  },
};

const textOf = (node: NodeProto, name: string) => new TextDecoder().decode(attributeOf(node, name)?.s);

const changes: Record<string, Change> = {
  ReduceL1: reduction,
  ReduceL2: reduction,
  ReduceLogSum: reduction,
  ReduceLogSumExp: reduction,
  ReduceMax: reduction,
  ReduceMean: reduction,
  ReduceMin: reduction,
  ReduceProd: reduction,
  ReduceSumSquare: reduction,
  // Windows that begin in the padding behind the input count no longer.
  AveragePool: { version: 19, fits: (node) => intAttribute(node, 'ceil_mode', 0) === 0 },
  // More outputs than one said that the network was in training.
  BatchNormalization: {
    version: 14,
    fits: (node) => node.output.filter((name) => name !== '').length === 1,
  },
  GridSample: {
    version: 20,
    adapt: (node) => {
      const mode = attributeOf(node, 'mode');
      const renamed = { bilinear: 'linear', bicubic: 'cubic' }[textOf(node, 'mode')];
      if (mode && renamed) mode.s = new TextEncoder().encode(renamed);
    },
  },
  // The default of an attribute that is new was not what there had been.
  RoiAlign: {
    version: 16,
    adapt: (node) => node.attribute.push(attribute('coordinate_transformation_mode', 'output_half_pixel')),
  },
  // Without sizes, the number of parts is to be said.
  Split: {
    version: 18,
    adapt: (node) => {
      if (!node.input[1]) node.attribute.push(attribute('num_outputs', BigInt(node.output.length)));
    },
  },
};

/** Of the standard operators: with blocks in DequantizeLinear, and INT4. */
export const blocksOpset = 21;

/**
 * Raises the standard operators of a model from version `least` to 20, 13 by default and at least 7, to version 21, which has DequantizeLinear
 * with blocks, so that the model computes the same. Returns whether it is of that version, or a later one, now; false, with the model as it was, where that
 * cannot be said: it is older, or has operators that changed in a way that is not provided for, that are not known, or functions.
 */
export function raiseOpset(model: ModelProto, least = 13): boolean {
  const imports = model.opsetImport.filter(({ domain }) => domain === '' || domain === 'ai.onnx');
  const from = Number(imports[0]?.version ?? 1);
  if (imports.length === 1 && from >= blocksOpset) return true;
  if (imports.length !== 1 || from < Math.max(least, oldestOpset) || model.functions.length > 0) return false;
  if (from >= 13 && model.irVersion < 4n) return false;

  const graphs = [...withSubgraphs(model.graph!)];
  const nodes = graphs.flatMap((graph) => graph.node.filter(isStandard));
  const changed = [oldChanges, changes].flatMap((list) =>
    nodes.flatMap((node) => {
      const change = Object.hasOwn(list, node.opType) ? list[node.opType]! : undefined;
      return change && change.version > from ? [{ node, change }] : [];
    }),
  );
  const known = ({ opType }: NodeProto) =>
    unchanged.has(opType) ||
    Object.hasOwn(changes, opType) ||
    (from < 13 && Object.hasOwn(oldChanges, opType));
  const constants = new SmallConstants(model);
  if (!nodes.every(known) || changed.some(({ node, change }) => change.fits?.(node, constants) === false))
    return false;

  settleInitializers(model);
  const context = { model, names: new Names(model), edits: new Edits(), constants };
  for (const { node, change } of changed) change.adapt?.(node, context);
  context.edits.apply(model);
  imports[0]!.version = BigInt(blocksOpset);
  raiseIrVersion(model, 10);
  return true;
}
