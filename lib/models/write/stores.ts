import type { QuantizedLayer } from '../../types';
import { isSeen, type Layer, storageOf } from '../layers/layer';
import type { OpenModel } from '../model-steps';
import type { SpoolFile, Workspace } from '../workspace';
import { storeDequantizeLinear } from './dequantize';
import { storeFloat } from './float';
import { isOnlyUsedBy, storeInPlace } from './in-place';
import { fitsMatMulNBits, storeMatMulNBits } from './matmulnbits';
import { Names } from './names';
import type { Format, Store, StoredWeight } from './stored-weight';

/** Larger tensors of the output wait for it in a file. */
const longestInMemory = 2 ** 20;

/** Brings weights into the output's format, one by one, and keeps them until it is written. */
export class WeightStores {
  readonly names: Names;
  private readonly dequantizeLinear: Store;
  private spool: Promise<SpoolFile> | undefined;

  constructor(
    private readonly opened: OpenModel,
    private readonly layers: readonly Layer[],
    private readonly format: Format,
    private readonly hasData: boolean,
    private readonly workspace: Workspace,
  ) {
    this.names = new Names(opened.model);
    this.dequantizeLinear = storeDequantizeLinear(opened.model);
  }

  async store(layer: Layer, quantized: QuantizedLayer): Promise<StoredWeight> {
    const stored = this.storeFor(layer)(layer, quantized, this.names);
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
    if (this.format === 'float') return this.isReplaceable(layer) ? storeInPlace : storeFloat;
    // A DequantizeLinear would turn the whole table into floats for every look-up.
    const packed = this.format === 'matmulnbits' || layer.kind === 'Gather';
    return packed && this.alike(layer).every((other) => this.isPackable(other))
      ? storeMatMulNBits
      : this.dequantizeLinear;
  }

  /** To turn a product round, the rank of its other side must have been seen. */
  private isPackable(layer: Layer): boolean {
    const turns = layer.input?.rows.kind === 'axis' && layer.input.rows.axis === -2;
    return fitsMatMulNBits(layer) && ((this.hasData && isSeen(layer)) || !turns || layer.kind === 'Gemm');
  }

  /** The layers that share a weight's codes, and itself. */
  private alike(layer: Layer): Layer[] {
    const form = storageOf(layer);
    return this.layers.filter(
      (other) => other.constant.tensor === layer.constant.tensor && storageOf(other) === form,
    );
  }

  /** Whether a weight may change where it is: all of its uses are quantized, and alike. */
  private isReplaceable(layer: Layer): boolean {
    const { unchanged } = layer.constant;
    return unchanged && isOnlyUsedBy(layer, this.alike(layer).length);
  }
}
