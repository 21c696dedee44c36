import type { StoredTypes } from '../../layers/quantize-weights';
import type { QuantizedLayer } from '../../types';
import type { Layer } from '../layers/layer';
import { TensorProto_DataType as DataType, type ModelProto, type TensorProto } from '../onnx/onnx_pb';
import type { Names } from './names';

export type Format = 'matmulnbits' | 'qdq' | 'float';

/** A quantized weight as an output format holds it. A tied weight has one, which is wired to each of its nodes. */
export interface StoredWeight {
  /** Initializers to add to the graph. */
  tensors: TensorProto[];
  /** Bytes that they take. */
  bytes: number;
  /** Lets a layer's node compute with them: changes the node, or puts others in its place. */
  wire(layer: Layer, wiring: Wiring): void;
}

/** What wiring needs to know and may change. */
export interface Wiring {
  model: ModelProto;
  names: Names;
  /** Rank of the value that the layer sees, where it is known. */
  activationRank: number | undefined;
}

/** How a format keeps a layer's scales, or its values: in the type of the weight. */
export function storedTypes({ constant }: Layer, format: Format): StoredTypes {
  const half = { [DataType.FLOAT16]: 'F16', [DataType.BFLOAT16]: 'BF16' } as const;
  const type = half[constant.dataType as keyof typeof half];
  if (!type) return { scales: 'F32', values: null };
  // In each format the same scales, so that all give the same values.
  return { scales: type, values: format === 'float' ? type : null };
}

/** Brings a quantized weight into a format. Throws ERR_VERTEXQ_FORMAT where the format cannot hold it. */
export type Store = (layer: Layer, quantized: QuantizedLayer, names: Names) => StoredWeight;
