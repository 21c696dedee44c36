import type { ModelEncoding } from '../../encodings/onnx/encoding';
import type { QuantizedLayer } from '../../types';
import { type Layer, storageOf } from '../layers/layer';
import type { OpenModel } from '../open-model';
import type { SpoolFile, Workspace } from '../workspace';
import { Names } from './names';
import type { Store, StoredWeight } from './stored-weight';

/** Larger tensors of the output wait for it in a file. */
const longestInMemory = 2 ** 20;

/** Brings weights into the output's format, one by one, and keeps them until it is written. */
export class WeightStores {
  readonly names: Names;
  private spool: Promise<SpoolFile> | undefined;

  constructor(
    private readonly opened: OpenModel,
    private readonly layers: readonly Layer[],
    private readonly encoding: ModelEncoding,
    private readonly hasData: boolean,
    private readonly workspace: Workspace,
  ) {
    this.names = new Names(opened.model);
  }

  async store(layer: Layer, quantized: QuantizedLayer, signal?: AbortSignal): Promise<StoredWeight> {
    const stored = await this.storeFor(layer)(layer, quantized, this.names, signal);
    for (const tensor of stored.tensors) {
      if (tensor.rawData.length < longestInMemory) continue;
      this.spool ??= this.workspace.create('weights');
      const file = await this.spool;
      const place = await this.workspace.guarded(() => file.append(tensor.rawData));
      this.opened.weights.locate(tensor, { path: file.path, ...place });
      tensor.rawData = new Uint8Array(0);
    }
    return stored;
  }

  private storeFor(layer: Layer): Store {
    const { model } = this.opened;
    return this.encoding.storeFor(layer, { model, alike: this.alike(layer), hasData: this.hasData });
  }

  /** The layers that share a weight's codes, and itself. */
  private alike(layer: Layer): Layer[] {
    const form = storageOf(layer);
    return this.layers.filter(
      (other) => other.constant.tensor === layer.constant.tensor && storageOf(other) === form,
    );
  }
}
