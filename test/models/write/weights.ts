import { create } from '@bufbuild/protobuf';
import type { Codes } from '../../../lib/encodings/onnx/integer-codes';
import { floatToHalf, halfToFloat } from '../../numbers';
import type { Layer } from '../../../lib/models/layers/layer';
import { Edits } from '../../../lib/models/write/edit';
import { Names } from '../../../lib/models/write/names';
import type { Store } from '../../../lib/models/write/stored-weight';
import type { View } from '../../../lib/models/write/view';
import { Scope } from '../../../lib/containers/onnx/graph';
import { node, tensor } from '../../../lib/containers/onnx/make';
import {
  GraphProtoSchema,
  TensorProto_DataType as DataType,
  type ModelProto,
  type NodeProto,
} from '../../../lib/containers/onnx/onnx_pb';
import type { LayerReport, QuantizedLayer } from '../../../lib/types';
import { plainValues } from '../../encodings/onnx/codes';
import { float, network } from '../networks';

/** A quantized layer that no method made. */
export const quantizedOf = (codes: Codes): QuantizedLayer => ({
  ...codes,
  ...{ minima: null, table: null },
  bits: Math.ceil(Math.log2(codes.levels)),
  dequantize: () => plainValues(codes),
  report: {} as LayerReport,
});

/** A neuron-major view [outFeatures, inFeatures], or with other dimensions. */
export const neuronMajor = (
  outFeatures: number,
  inFeatures: number,
  dims: readonly number[] = [outFeatures, inFeatures],
  dataType = DataType.FLOAT,
): View => ({ order: 'neuron-major', outFeatures, inFeatures, groups: 1, dims, dataType });

/** An input-major view [inFeatures, outFeatures], or with other dimensions. */
export const inputMajor = (
  outFeatures: number,
  inFeatures: number,
  dims: readonly number[] = [inFeatures, outFeatures],
  groups = 1,
  dataType = DataType.FLOAT,
): View => ({ order: 'input-major', outFeatures, inFeatures, groups, dims, dataType });

/** A layer of a weight that is seen as `view`. */
export function layerOf(node: NodeProto, weightIndex: number, view: View, name = 'w'): Layer {
  const { dims, dataType, ...rest } = view;
  const weight = tensor(name, dims, new Float32Array(dims.reduce((a, b) => a * b, 1)));
  const order = dims.map((_, i) => i);
  const scope = new Scope(create(GraphProtoSchema, {}), 'a file');
  const constant = {
    tensor: weight,
    scope,
    chain: [],
    transposed: false,
    dims: [...dims],
    dataType,
    order,
    unchanged: true,
  };
  return { name: node.name, kind: node.opType, node, scope, weightIndex, constant, ...rest, input: null };
}

/** Values [outFeatures, inFeatures] as a view shows them, found element by element. */
export function seenAs({ order, outFeatures, inFeatures, groups }: View, values: Float32Array): Float32Array {
  if (order === 'neuron-major') return values;
  const width = outFeatures / groups;
  return values.map((_, i) => {
    const neuron = Math.floor(i / (width * inFeatures)) * width + (i % width);
    return values[neuron * inFeatures + (Math.floor(i / width) % inFeatures)]!;
  });
}

/** The values with scales, and results, rounded to float16. */
export function halfValues(codes: Codes, zeroFree: boolean): Float32Array {
  const factor = zeroFree ? 2 : 1;
  const scales = halfToFloat(floatToHalf(codes.scales.map((scale) => scale / factor))).map(
    (scale) => scale * factor,
  );
  return halfToFloat(floatToHalf(quantizedOf({ ...codes, scales }).dequantize()));
}

/** A model that only gives out the weight of each view, as float32: `y0`, `y1`, …; and the layers that see them. */
export function showing(views: readonly View[], opset: number): { model: ModelProto; layers: Layer[] } {
  const layers = views.map((view, i) => layerOf(node('Identity', ['w'], [`seen${i}`]), 0, view));
  const model = network({
    nodes: layers.flatMap(({ node: seen }, i) => [
      seen,
      node('Cast', [`seen${i}`], [`y${i}`], { attributes: { to: BigInt(DataType.FLOAT) } }),
    ]),
    constants: [],
    inputs: [],
    outputs: views.map((_, i) => float(`y${i}`)),
    model: { irVersion: 4n, opsetImport: [{ domain: '', version: BigInt(opset) }] },
  });
  return { model, layers };
}

/** Stores a weight and wires it to layers, as when a network is written. */
export async function wire(
  model: ModelProto,
  layers: readonly Layer[],
  store: Store,
  quantized: QuantizedLayer,
  activationRank?: number,
): Promise<{ bytes: number }> {
  const names = new Names(model);
  const stored = await store(layers[0]!, quantized, names);
  model.graph!.initializer.push(...stored.tensors);
  // Meanwhile the data may wait elsewhere.
  const data = stored.tensors.map(({ rawData }) => rawData);
  for (const made of stored.tensors) made.rawData = new Uint8Array(0);
  const edits = new Edits();
  for (const layer of layers) stored.wire(layer, { model, names, edits, activationRank });
  edits.apply(model);
  for (const [i, made] of stored.tensors.entries()) made.rawData = data[i]!;
  return stored;
}
