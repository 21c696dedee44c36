import { VertexqError } from '../../errors';
import type { Layer } from '../layers/layer';
import type { NodeProto } from '../../containers/onnx/onnx_pb';
import { opsetOf } from '../../containers/onnx/opset';
import { importMicrosoft } from './edit';
import { isLookup, lookUp } from './gather';
import { namingLayer } from './naming-layer';
import { type PackedTensors, packedTensors } from './packed';
import { isProduct, multiply } from './product';
import { Steps } from './steps';
import type { Store, StoredWeight, Wiring } from './stored-weight';

/** Whether `storeMatMulNBits` has an operator for a layer. */
export function fitsMatMulNBits(layer: Layer): boolean {
  return isProduct(layer) || isLookup(layer);
}

/**
 * Format `matmulnbits`: com.microsoft.MatMulNBits in place of products, GatherBlockQuantized in place of look-ups, both with the
 * same tensors. The store throws ERR_VERTEXQ_FORMAT at layers that `fitsMatMulNBits` does not know, at weights that are neither
 * float32 nor float16, at 256 zero-free levels and at groups that are not of a multiple of 16 inputs.
 */
export const storeMatMulNBits: Store = namingLayer(async (layer, quantized, names, signal) => {
  requireFit(layer);
  return new Packed(await packedTensors(layer, quantized, names, signal));
});

function requireFit(layer: Layer): void {
  if (!fitsMatMulNBits(layer))
    throw new VertexqError(
      'ERR_VERTEXQ_FORMAT',
      `"matmulnbits" has no operator for a ${layer.kind} with a weight like this`,
    );
}

class Packed implements StoredWeight {
  readonly tensors;
  readonly bytes;
  private products = 0;
  private readonly lookups: NodeProto[] = [];
  /** The codes as look-ups take them, made of those that products take. */
  private table: { name: string; nodes: NodeProto[] } | null = null;

  constructor(private readonly packed: PackedTensors) {
    const { codes, scales, zeroPoints } = packed;
    this.tensors = [codes, scales, ...(zeroPoints ? [zeroPoints] : [])];
    this.bytes = this.tensors.reduce((sum, { rawData }) => sum + rawData.length, 0);
  }

  wire(layer: Layer, wiring: Wiring): void {
    requireFit(layer);
    importMicrosoft(wiring.model);
    if (isLookup(layer)) {
      this.lookups.push(lookUp(this.packed, layer, wiring));
    } else {
      multiply(this.packed, layer, wiring);
      this.products++;
    }
    this.shape(wiring);
  }

  /** Gives the codes the shape that products want, where there are any, else that of look-ups. */
  private shape({ model, names, edits }: Wiring): void {
    const { codes, outFeatures, blocks, blockSize, bits } = this.packed;
    const blockBytes = (blockSize * bits) / 8;
    codes.dims = (
      this.products > 0 ? [outFeatures, blocks, blockBytes] : [outFeatures, blocks * blockBytes]
    ).map(BigInt);
    if (this.products === 0 || this.lookups.length === 0) return;
    if (!this.table) {
      const steps = new Steps(names, codes.name, opsetOf(model));
      steps.reshape([outFeatures, blocks * blockBytes]);
      model.graph!.initializer.push(...steps.tensors);
      const name = names.unused(`${codes.name}_table`);
      this.table = { name, nodes: steps.nodes(codes.name, name) };
    }
    for (const lookup of this.lookups) lookup.input[0] = this.table.name;
    edits.placeBeforeUses(this.table.nodes, this.table.name);
  }
}
