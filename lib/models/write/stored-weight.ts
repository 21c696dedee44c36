import type { QuantizedLayer } from '../../types';
import type { Layer } from '../layers/layer';
import type { ModelProto, TensorProto } from '../../containers/onnx/onnx_pb';
import type { Edits } from './edit';
import type { Names } from './names';

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
  /** What becomes of its nodes and initializers, once all is wired. */
  edits: Edits;
  /** Rank of the value that the layer sees, where it is known. */
  activationRank: number | undefined;
}

/** Brings a quantized weight into a format. Rejects with ERR_VERTEXQ_FORMAT where the format cannot hold it; with the signal's reason. */
export type Store = (
  layer: Layer,
  quantized: QuantizedLayer,
  names: Names,
  signal?: AbortSignal,
) => Promise<StoredWeight>;
