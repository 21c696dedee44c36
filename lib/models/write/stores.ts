import type { ModelEncoding } from '../../encodings/onnx/encoding';
import { giveBack } from '../../native/buffers';
import type { QuantizedLayer } from '../../types';
import { bySource, type WeightSource } from '../../traversal/layer';
import type { Sink } from '../../traversal/sink';
import type { ModelLayer } from '../layers/model-layers';
import { DataPlaces, liesBeside } from '../../containers/onnx/data-places';
import type { BegunFile } from '../../containers/onnx/serialize';
import type { OpenModel } from '../open-model';
import type { OutputFile } from '../../files/output-file';
import type { Workspace } from '../../runs/workspace';
import { Names } from './names';
import type { Store, StoredWeight } from './stored-weight';

/** Larger tensors of the output wait for it in files. */
const longestInMemory = 2 ** 20;

/** Brings weights into the output's format, one by one, and keeps them until it is written. */
export class WeightStores implements Sink<ModelLayer, StoredWeight> {
  readonly names: Names;
  private readonly alike: ReadonlyMap<WeightSource, readonly ModelLayer[]>;
  /** Where tensors will lie beside the network, if nothing of it goes but the layers' weights: there they wait, too. */
  private readonly places = new DataPlaces();
  private readonly begun = new Map<number, { name: string; file: OutputFile; size: number }>();

  constructor(
    private readonly opened: OpenModel,
    layers: readonly ModelLayer[],
    private readonly encoding: ModelEncoding,
    private readonly hasData: boolean,
    private readonly workspace: Workspace,
  ) {
    this.names = new Names(opened.model);
    this.alike = bySource(layers);
    const { model, weights } = opened;
    const going = new Set(layers.map(({ constant }) => constant.tensor));
    for (const tensor of model.graph!.initializer)
      if (!going.has(tensor) && liesBeside(tensor, weights)) this.places.next(weights.byteLengthOf(tensor));
  }

  /** Files of large tensors, for `serializeModel` to go on with. */
  get begunFiles(): ReadonlyMap<number, BegunFile> {
    return new Map(
      [...this.begun].map(([index, { name, file, size }]) => {
        const goOn = (to: string) => this.workspace.move(name, to);
        return [index, { path: file.temporary, size, goOn }];
      }),
    );
  }

  async store(layer: ModelLayer, quantized: QuantizedLayer, signal?: AbortSignal): Promise<StoredWeight> {
    const stored = await this.storeFor(layer)(layer, quantized, this.names, signal);
    const { weights } = this.opened;
    for (const tensor of stored.tensors) {
      if (!liesBeside(tensor, weights)) continue;
      const { length } = tensor.rawData;
      const { index, position } = this.places.next(length);
      if (length < longestInMemory) continue;
      const begun = await this.fileOf(index);
      await begun.file.write(tensor.rawData, position);
      begun.size = position + length;
      weights.locate(tensor, { path: begun.file.temporary, position, length });
      // Codes that are stored as they are go back with their layer.
      if (tensor.rawData.buffer !== quantized.codes.buffer) giveBack(tensor.rawData);
      tensor.rawData = new Uint8Array(0);
    }
    return stored;
  }

  private async fileOf(index: number) {
    const name = `weights_${index}`;
    const found = this.begun.get(index) ?? { name, file: await this.workspace.create(name), size: 0 };
    this.begun.set(index, found);
    return found;
  }

  private storeFor(layer: ModelLayer): Store {
    const { model } = this.opened;
    const alike = this.alike.get(layer.source) ?? [];
    return this.encoding.storeFor(layer, { model, alike, hasData: this.hasData });
  }
}
