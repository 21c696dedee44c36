import type { StoredTypes } from '../../fit/layer-settings';
import type { Layer } from '../../models/layers/layer';
import { typeNameOf } from '../../containers/onnx/element-types';
import { type ModelProto, TensorProto_DataType as DataType } from '../../containers/onnx/onnx_pb';
import type { Store } from '../../models/write/stored-weight';
import type { Encoding } from '../encoding';
import type { PlannedCodes } from './integer-codes';
import type { ModelFormat } from '../names';

/** What else tells how a layer's weight is best written. */
export interface Surroundings {
  model: ModelProto;
  /** The layers that share the weight's codes, itself among them. */
  alike: readonly Layer[];
  /** Whether the network is run, so that the ranks of values are seen. */
  hasData: boolean;
}

/** An encoding of ONNX networks. */
export interface ModelEncoding extends Encoding {
  /** Changes a network, before its layers are looked for, so that its weights can be written. */
  prepare(model: ModelProto): void;
  /** Why it cannot hold a layer's weight; undefined where it can. */
  unfit(layer: Layer): string | undefined;
  /** What a layer's scales, or its values, are rounded to. */
  stored(layer: Layer): StoredTypes;
  /** The operators that take the weight over. */
  storeFor(layer: Layer, surroundings: Surroundings): Store;
  /** Bytes of the tensors that these will take, unless zero points that are all 0 are left out. */
  lengthOf(layer: Layer, surroundings: Surroundings, codes: PlannedCodes): number;
}

/** Rounded as the weight's own type is; in each format the same scales, so that all give the same values. */
export function storedLike({ constant }: Layer, asValues: boolean): StoredTypes {
  const half = { [DataType.FLOAT16]: 'F16', [DataType.BFLOAT16]: 'BF16' } as const;
  const type = half[constant.dataType as keyof typeof half];
  if (!type) return { scales: 'F32', values: null };
  return { scales: type, values: asValues ? type : null };
}

/** What encodings have in common that keep integers and scales. */
export const ofIntegers = (format: ModelFormat) => ({
  isPlain: false,
  groupSize: 32,
  // Four levels of a zero-free grid would take a container of 4 bits, twice the bytes.
  gridFor: () => 'asymmetric' as const,
  prepare() {},
  /** Runtimes turn few-bit weights into float32 and float16 alone. */
  unfit({ constant: { dataType } }: Layer): string | undefined {
    if (dataType === DataType.FLOAT || dataType === DataType.FLOAT16) return undefined;
    return `its weight is ${typeNameOf(dataType)}: the format "${format}" holds float32 and float16, "float" the others`;
  },
  stored: (layer: Layer) => storedLike(layer, false),
});
