import { type PackedWeight, packMatMulNBits } from '../../encodings/onnx/packed-blocks';
import type { QuantizedLayer } from '../../types';
import type { Layer } from '../layers/layer';
import { tensor } from '../../containers/onnx/make';
import type { TensorProto } from '../../containers/onnx/onnx_pb';
import type { Names } from './names';
import { scalesTensor } from './scales';
import { isHalf, viewOf, weightName } from './view';

/** A weight in blocks of few bits, as com.microsoft.MatMulNBits and GatherBlockQuantized both read it. */
export interface PackedTensors extends Pick<PackedWeight, 'bits' | 'blockSize' | 'blocks'> {
  outFeatures: number;
  inFeatures: number;
  /** Whether its scales, and what is computed with it, are float16. */
  half: boolean;
  /** uint8: [outFeatures, blocks, bytes of a block], or [outFeatures, bytes of a neuron]. */
  codes: TensorProto;
  /** [outFeatures, blocks]. */
  scales: TensorProto;
  zeroPoints: TensorProto | null;
}

/** Rejects with ERR_VERTEXQ_FORMAT at weights, or scales, of a type or size that the operators do not take. */
export async function packedTensors(
  layer: Layer,
  quantized: QuantizedLayer,
  names: Names,
  signal?: AbortSignal,
): Promise<PackedTensors> {
  const half = isHalf(viewOf(layer));
  const { bits, blockSize, blocks, ...data } = await packMatMulNBits(quantized, signal);
  const { outFeatures, inFeatures } = quantized;
  const base = weightName(layer);
  const codes = names.unused(`${base}_Q${bits}`);
  const scales = names.unused(`${base}_scales`);
  return {
    ...{ bits, blockSize, blocks, outFeatures, inFeatures, half },
    codes: tensor(codes, [outFeatures, blocks, (blockSize * bits) / 8], data.codes),
    scales: await scalesTensor(scales, [outFeatures, blocks], data.scales, half, signal),
    zeroPoints:
      data.zeroPoints &&
      tensor(
        names.unused(`${base}_zero_points`),
        [outFeatures, data.zeroPoints.length / outFeatures],
        data.zeroPoints,
      ),
  };
}
