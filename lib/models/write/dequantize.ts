import { create } from '@bufbuild/protobuf';
import { integerForm, type PlannedCodes, type Width, widthFor } from '../../encodings/onnx/integer-codes';
import { type IntegerTensor, integerTensor, type Order } from '../../encodings/onnx/integer-tensor';
import type { QuantizedLayer } from '../../types';
import type { Layer } from '../layers/layer';
import { node, tensor } from '../../containers/onnx/make';
import {
  type ModelProto,
  TensorProto_DataType as DataType,
  TensorProtoSchema,
} from '../../containers/onnx/onnx_pb';
import { opsetOf, raiseIrVersion } from '../../containers/onnx/opset';
import { importMicrosoft } from './edit';
import { namingLayer } from './naming-layer';
import type { Names } from './names';
import { scalesTensor } from './scales';
import { SharedValue } from './shared-value';
import { Steps } from './steps';
import type { Store, StoredWeight } from './stored-weight';
import { isHalf, plainDims, turn, type View, viewOf, weightName } from './view';

/** The signed integer types of ONNX; those of few bits have no name in this version's schema. */
const integerTypes: Record<Width, number> = { 2: 26, 4: 22, 8: DataType.INT8 };

/** How a weight is dequantized. */
interface Form {
  order: Order;
  /** Of the integers, and of the scales; along `axis` each scale is for one of them, or for a block of `blockSize`. */
  dims: readonly number[];
  scaleDims: readonly number[];
  axis: number;
  blockSize: number | null;
  /** The form of what the DequantizeLinear gives, once it is cut where that is too long. */
  view: View;
}

/**
 * DequantizeLinear before the node: ONNX's own where the model's operator set has it for the integers, else onnxruntime's, which has
 * no blocks. A scale for each neuron becomes one for each index of an axis, groups of inputs become blocks of an axis where there
 * are such; else the integers lie in another form, and a Reshape follows.
 *
 * The store rejects with ERR_VERTEXQ_FORMAT at weights that are neither float32 nor float16, and at 256 zero-free levels.
 */
export function storeDequantizeLinear(model: ModelProto): Store {
  const opset = opsetOf(model);
  return namingLayer((layer, quantized, names, signal) => store(layer, quantized, names, opset, signal));
}

async function store(
  layer: Layer,
  quantized: QuantizedLayer,
  names: Names,
  opset: number,
  signal: AbortSignal | undefined,
): Promise<StoredWeight> {
  const view = viewOf(layer);
  const half = isHalf(view);
  const widths = widthsOf(opset);
  const { bits } = integerForm(quantized, widths);
  const form = formOf(view, quantized, opset);
  const made = await integerTensor(quantized, widths, form.order, signal);
  const standard = opset >= { 2: 25, 4: 21, 8: half ? 19 : 13 }[bits];

  const base = weightName(layer);
  const integers = names.unused(`${base}_Q${bits}`);
  const scales = names.unused(`${base}_scales`);
  const tensors = [
    integersTensor(integers, form.dims, made.integers, bits),
    await scalesTensor(scales, form.scaleDims, made.scales, half, signal),
  ];
  const inputs = [integers, scales];
  if (made.zeroPoints) {
    const zeros = names.unused(`${base}_zero_points`);
    tensors.push(integersTensor(zeros, form.scaleDims, made.zeroPoints, bits));
    inputs.push(zeros);
  }
  const bytes = tensors.reduce((sum, { rawData }) => sum + rawData.length, 0);

  const value = names.unused(`${base}_dequantized`);
  const steps = new Steps(names, value, opset);
  steps.add((_, output) =>
    node('DequantizeLinear', inputs, [output], {
      name: names.unused(`${base}_DequantizeLinear`),
      ...(standard ? {} : { domain: 'com.microsoft' }),
      attributes: {
        axis: BigInt(form.axis),
        ...(form.blockSize === null ? {} : { block_size: BigInt(form.blockSize) }),
      },
    }),
  );
  if (form.order.kind === 'scale-major') uncut(quantized, steps);
  turn(form.view, view, steps);
  const shared = new SharedValue(value, view, steps.nodes(integers, value));
  return {
    tensors: [...tensors, ...steps.tensors],
    bytes,
    wire: (to, wiring) => {
      shared.wire(to, wiring);
      if (!standard) importMicrosoft(wiring.model);
      else if (bits < 8) raiseIrVersion(wiring.model, bits === 2 ? 13 : 10);
    },
  };
}

/** Bytes of a layer's tensors, unless all of its zero points come to be 0 and are left out. */
export function dequantizeLinearLength(model: ModelProto, layer: Layer, codes: PlannedCodes): number {
  const opset = opsetOf(model);
  const bits = widthFor(codes.levels, codes.grid === 'zero-free', widthsOf(opset))!;
  const { dims, scaleDims } = formOf(viewOf(layer), codes, opset);
  const count = (of: readonly number[]) => of.reduce((product, dim) => product * dim, 1);
  const integers = (of: readonly number[]) => Math.ceil((count(of) * bits) / 8);
  const scales = count(scaleDims) * (isHalf(viewOf(layer)) ? 2 : 4);
  return integers(dims) + scales + (codes.grid === 'asymmetric' ? integers(scaleDims) : 0);
}

const widthsOf = (opset: number): Width[] => (opset >= 25 ? [2, 4, 8] : [4, 8]);

const formOf = (view: View, codes: Shape, opset: number): Form =>
  perAxis(view, codes) ?? (opset >= 21 ? blocked(view, codes) : perAxisOfRows(view, codes));

type Shape = Pick<QuantizedLayer, 'outFeatures' | 'inFeatures' | 'groupSize'>;

function integersTensor(name: string, dims: readonly number[], data: IntegerTensor['integers'], bits: Width) {
  if (bits === 8) return tensor(name, dims, new Int8Array(data.buffer, data.byteOffset, data.byteLength));
  return create(TensorProtoSchema, {
    name,
    dims: dims.map(BigInt),
    dataType: integerTypes[bits],
    rawData: data,
  });
}

const groupsOf = ({ inFeatures, groupSize }: Shape) => Math.ceil(inFeatures / groupSize);

/** The order in which a node sees a weight. */
const orderOf = ({ order, groups }: View): Order =>
  order === 'neuron-major' ? { kind: order } : { kind: order, groups };

/** A view of the same numbers with the dimensions that show what others split. */
const plain = (view: View): View => ({ ...view, dims: plainDims(view) });

/** One scale a neuron: along an axis of the node's own dimensions, or of plain ones. */
function perAxis(seen: View, quantized: Shape): Form | null {
  if (groupsOf(quantized) !== 1 || (seen.order === 'input-major' && seen.groups > 1)) return null;
  const { outFeatures } = seen;
  for (const view of [seen, plain(seen)]) {
    const { dims } = view;
    // Of a neuron-major weight the neurons come first, of an input-major one last.
    const axis = dims.findIndex(
      (dim, i) =>
        dim === outFeatures &&
        (view.order === 'neuron-major' ? dims.slice(0, i) : dims.slice(i + 1)).every((other) => other === 1),
    );
    if (axis >= 0)
      return { order: orderOf(view), dims, scaleDims: [outFeatures], axis, blockSize: null, view };
  }
  return null;
}

/** Blocks along the axis of the inputs: the node's own, or a plain one. */
function blocked(seen: View, quantized: Shape): Form {
  const { groupSize: blockSize } = quantized;
  const { inFeatures, outFeatures, groups } = seen;
  const before = seen.order === 'neuron-major' ? outFeatures : groups;
  const view = [seen, plain(seen)].find(({ dims }) => inputAxis(dims, before, inFeatures) >= 0)!;
  const axis = inputAxis(view.dims, before, inFeatures);
  const scaleDims = view.dims.map((dim, i) => (i === axis ? groupsOf(quantized) : dim));
  return { order: orderOf(view), dims: view.dims, scaleDims, axis, blockSize, view };
}

/** The axis of this length with so many elements before it; −1 where there is none. */
function inputAxis(dims: readonly number[], before: number, length: number): number {
  return dims.findIndex(
    (dim, i) => dim === length && dims.slice(0, i).reduce((product, other) => product * other, 1) === before,
  );
}

/** A row for each scale, for a DequantizeLinear without blocks. */
function perAxisOfRows(seen: View, quantized: Shape): Form {
  const { outFeatures, inFeatures } = seen;
  const rows = outFeatures * groupsOf(quantized);
  return {
    order: { kind: 'scale-major' },
    dims: [rows, quantized.groupSize],
    scaleDims: [rows],
    axis: 0,
    blockSize: null,
    view: { ...seen, order: 'neuron-major', groups: 1, dims: [outFeatures, inFeatures] },
  };
}

/** From rows of one scale each to [outFeatures, inFeatures]. */
function uncut(quantized: QuantizedLayer, steps: Steps): void {
  const { outFeatures, inFeatures, groupSize } = quantized;
  const length = groupsOf(quantized) * groupSize;
  steps.reshape([outFeatures, length]);
  if (length > inFeatures) steps.keep(inFeatures, 1);
}
