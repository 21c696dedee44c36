import type { ModelEncoding } from '../../encodings/onnx/encoding';
import type { QuantizedLayer } from '../../types';
import { bySource, type WeightSource } from '../../traversal/layer';
import type { Sink } from '../../traversal/sink';
import type { ModelLayer } from '../layers/model-layers';
import type { OpenModel } from '../open-model';
import type { OutputFile } from '../../files/output-file';
import type { Workspace } from '../../runs/workspace';
import { Names } from './names';
import type { Store, StoredWeight } from './stored-weight';

/** Larger tensors of the output wait for it in a file. */
const longestInMemory = 2 ** 20;

/** Brings weights into the output's format, one by one, and keeps them until it is written. */
export class WeightStores implements Sink<ModelLayer, StoredWeight> {
  readonly names: Names;
  private readonly alike: ReadonlyMap<WeightSource, readonly ModelLayer[]>;
  private spool: Promise<OutputFile> | undefined;

  constructor(
    private readonly opened: OpenModel,
    layers: readonly ModelLayer[],
    private readonly encoding: ModelEncoding,
    private readonly hasData: boolean,
    private readonly workspace: Workspace,
  ) {
    this.names = new Names(opened.model);
    this.alike = bySource(layers);
  }

  async store(layer: ModelLayer, quantized: QuantizedLayer, signal?: AbortSignal): Promise<StoredWeight> {
    const stored = await this.storeFor(layer)(layer, quantized, this.names, signal);
    for (const tensor of stored.tensors) {
      if (tensor.rawData.length < longestInMemory) continue;
      this.spool ??= this.workspace.create('weights');
      const file = await this.spool;
      const place = await file.append(tensor.rawData);
      this.opened.weights.locate(tensor, { path: file.temporary, ...place });
      tensor.rawData = new Uint8Array(0);
    }
    return stored;
  }

  private storeFor(layer: ModelLayer): Store {
    const { model } = this.opened;
    const alike = this.alike.get(layer.source) ?? [];
    return this.encoding.storeFor(layer, { model, alike, hasData: this.hasData });
  }
}
