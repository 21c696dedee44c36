import {
  type Constant,
  intAttribute,
  intsAttribute,
  isStandard,
  textAttribute,
} from '../../containers/onnx/graph';
import type { NodeProto } from '../../containers/onnx/onnx_pb';
import { autoPads, type ConvGeometry } from '../../traversal/layer';
import type { Layer } from './layer';

/** A layer without what does not depend on its operator; or why its weight cannot be quantized. */
export type Described = Omit<Layer, 'name' | 'kind' | 'node' | 'scope' | 'constant'> | { reason: string };

/** A weight that an operator may have. */
interface WeightInput {
  index: number;
  /** What is added to the node's name where it has several. */
  suffix?: string;
  describe: (node: NodeProto, constant: Constant) => Described;
}

/** The weights that a node of this operator may have; null for an operator that holds none, or none that is known here. */
export function weightInputs(node: NodeProto): readonly WeightInput[] | null {
  const kinds = isStandard(node) ? standard : node.domain === 'com.microsoft' ? microsoft : {};
  return Object.hasOwn(kinds, node.opType) ? kinds[node.opType]! : null;
}

/** Operators whose weights are quantized unless an option says otherwise. An embedding takes no part in the fit. */
export const defaultOperators: readonly string[] = [
  ...['MatMul', 'Gemm', 'Conv', 'ConvTranspose', 'LSTM', 'GRU', 'RNN'],
  ...['FusedMatMul', 'FusedGemm', 'FusedConv', 'Attention'],
];

export const knownOperators: readonly string[] = [...defaultOperators, 'Gather'];

const product = (numbers: readonly number[]) => numbers.reduce((a, b) => a * b, 1);

/** A weight [inFeatures, outFeatures] on the right of a product, or [outFeatures, inFeatures] if `flipped`. */
function right(node: NodeProto, { dims }: Constant, flipped: boolean, axis: number): Described {
  const lead = dims.slice(0, -2);
  if (dims.length < 2) return { reason: `its weight has ${dims.length} dimensions, not 2` };
  if (product(lead) !== 1) return { reason: `its weight is a batch of matrices, [${dims.join(', ')}]` };
  const [rows, columns] = dims.slice(-2) as [number, number];
  return {
    weightIndex: 1,
    order: flipped ? 'neuron-major' : 'input-major',
    outFeatures: flipped ? rows : columns,
    inFeatures: flipped ? columns : rows,
    groups: 1,
    input: { value: node.input[0]!, rows: { kind: 'axis', axis } },
  };
}

/** A weight [outFeatures, inFeatures] on the left of a product. */
function left(node: NodeProto, { dims }: Constant): Described {
  if (dims.length !== 2) return { reason: `its weight has ${dims.length} dimensions, not 2` };
  return {
    weightIndex: 0,
    order: 'neuron-major',
    outFeatures: dims[0]!,
    inFeatures: dims[1]!,
    groups: 1,
    input: { value: node.input[1]!, rows: { kind: 'axis', axis: -2 } },
  };
}

function gemm(node: NodeProto, constant: Constant): Described {
  if (constant.dims.length !== 2)
    return { reason: `its weight has ${constant.dims.length} dimensions, not 2` };
  const axis = intAttribute(node, 'transA', 0) === 0 ? -1 : -2;
  return right(node, constant, intAttribute(node, 'transB', 0) !== 0, axis);
}

/** A weight on the left of a Gemm: [outFeatures, inFeatures], or [inFeatures, outFeatures] with `transA`. */
function gemmLeft(node: NodeProto, constant: Constant): Described {
  if (constant.dims.length !== 2)
    return { reason: `its weight has ${constant.dims.length} dimensions, not 2` };
  const axis = intAttribute(node, 'transB', 0) === 0 ? -2 : -1;
  const described = right(node, constant, intAttribute(node, 'transA', 0) === 0, axis);
  if ('reason' in described) return described;
  return { ...described, weightIndex: 0, input: { ...described.input!, value: node.input[1]! } };
}

function fusedMatMul(node: NodeProto, constant: Constant): Described {
  if (intAttribute(node, 'transBatchA', 0) !== 0 || intAttribute(node, 'transBatchB', 0) !== 0)
    return { reason: 'it exchanges the dimensions of batches' };
  return gemm(node, constant);
}

/** Spatial axes of a convolution's weight and its groups, which the first dimension falls into; or what is wrong with them. */
function kernelOf(
  node: NodeProto,
  { dims }: Constant,
  first: 'input' | 'output',
): { kernel: number[]; groups: number } | { reason: string } {
  if (dims.length < 3 || dims.length > 5)
    return { reason: `its weight has ${dims.length - 2} spatial dimensions, not 1 to 3` };
  const groups = intAttribute(node, 'group', 1);
  if (!(groups >= 1) || dims[0]! % groups !== 0)
    return { reason: `its ${dims[0]} ${first} channels do not fall into ${groups} groups` };
  return { kernel: dims.slice(2), groups };
}

/** How a convolution's kernel goes over its input, or what is wrong with that. */
function geometryOf(node: NodeProto, kernel: number[]): ConvGeometry | { reason: string } {
  const [strides, dilations, pads] = ['strides', 'dilations', 'pads'].map((name) =>
    intsAttribute(node, name),
  ) as [number[], number[], number[]];
  for (const [name, values, count, least] of [
    ['strides', strides, kernel.length, 1],
    ['dilations', dilations, kernel.length, 1],
    ['pads', pads, 2 * kernel.length, 0],
  ] as const)
    if (values.length > 0 && (values.length !== count || values.some((value) => value < least)))
      return { reason: `its ${name} are [${values.join(', ')}], not ${count} of at least ${least}` };
  const given = textAttribute(node, 'auto_pad', 'NOTSET');
  const autoPad = autoPads.find((known) => known === given);
  return autoPad ? { kernel, strides, dilations, pads, autoPad } : { reason: `its auto_pad is "${given}"` };
}

function conv(node: NodeProto, constant: Constant): Described {
  const found = kernelOf(node, constant, 'output');
  if ('reason' in found) return found;
  const { kernel, groups } = found;
  const [outFeatures, channels] = constant.dims as [number, number];
  const geometry = geometryOf(node, kernel);
  if ('reason' in geometry) return geometry;
  return {
    weightIndex: 1,
    order: 'neuron-major',
    outFeatures,
    inFeatures: channels * product(kernel),
    groups,
    input: { value: node.input[0]!, rows: { kind: 'patches', geometry } },
  };
}

/** Each position of the input, a row of its channels, adds its products with W to a patch of the output. */
function convTranspose(node: NodeProto, constant: Constant): Described {
  const found = kernelOf(node, constant, 'input');
  if ('reason' in found) return found;
  const { kernel, groups } = found;
  const [channels, perGroup] = constant.dims as [number, number];
  return {
    weightIndex: 1,
    order: 'input-major',
    outFeatures: groups * perGroup * product(kernel),
    inFeatures: channels / groups,
    groups,
    input: { value: node.input[0]!, rows: { kind: 'axis', axis: 1 } },
  };
}

/** [directions, gates · hidden, inputs]: all directions and gates see the same rows. */
const recurrent =
  (weightIndex: 1 | 2) =>
  (node: NodeProto, { dims }: Constant): Described => {
    if (dims.length !== 3) return { reason: `its weight has ${dims.length} dimensions, not 3` };
    return {
      weightIndex,
      order: 'neuron-major',
      outFeatures: dims[0]! * dims[1]!,
      inFeatures: dims[2]!,
      groups: 1,
      // The states that the recurrent weights see are no value of the graph.
      input: weightIndex === 1 ? { value: node.input[0]!, rows: { kind: 'axis', axis: -1 } } : null,
    };
  };

/** A table [entries, features]: each entry is given out as it is. */
function gather(node: NodeProto, { dims }: Constant): Described {
  if (dims.length !== 2) return { reason: `its table has ${dims.length} dimensions, not 2` };
  if (![0, -2].includes(intAttribute(node, 'axis', 0)))
    return { reason: 'it does not look up whole entries of its table' };
  return {
    weightIndex: 0,
    order: 'neuron-major',
    outFeatures: dims[0]!,
    inFeatures: dims[1]!,
    groups: 1,
    input: null,
  };
}

const matMul: WeightInput[] = [
  { index: 1, describe: (node, constant) => right(node, constant, false, -1) },
  { index: 0, describe: left },
];
const gemms: WeightInput[] = [
  { index: 1, describe: gemm },
  { index: 0, describe: gemmLeft },
];
const recurrentWeights: WeightInput[] = [
  { index: 1, suffix: '/W', describe: recurrent(1) },
  { index: 2, suffix: '/R', describe: recurrent(2) },
];

const standard: Record<string, readonly WeightInput[]> = {
  MatMul: matMul,
  Gemm: gemms,
  Conv: [{ index: 1, describe: conv }],
  ConvTranspose: [{ index: 1, describe: convTranspose }],
  LSTM: recurrentWeights,
  GRU: recurrentWeights,
  RNN: recurrentWeights,
  Gather: [{ index: 0, describe: gather }],
};

const microsoft: Record<string, readonly WeightInput[]> = {
  FusedMatMul: [{ index: 1, describe: fusedMatMul }],
  FusedGemm: gemms,
  FusedConv: [{ index: 1, describe: conv }],
  Attention: [{ index: 1, describe: (node, constant) => right(node, constant, false, -1) }],
};
