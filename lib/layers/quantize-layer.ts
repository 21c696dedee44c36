import {
  alphabetKind,
  boxFor,
  checkJobOptions,
  groupSizeFor,
  methodFor,
  quantizeOptionNames,
  rankRule,
  requireKnown,
  scaleFor,
} from '../options';
import type { LayerInput, QuantizedLayer, QuantizeOptions } from '../types';
import { layerCalibration } from './calibration';
import { checkLayer, snapshot } from './layer-input';
import { quantizeWeights } from './quantize-weights';

/**
 * Quantizes one layer's weights.
 *
 * The default method is `maly-saab` where there is data, else `msq`. Rejects with a TypeError or RangeError for arguments;
 * VertexqError ERR_VERTEXQ_NOT_FINITE at NaN or infinite numbers, ERR_VERTEXQ_SCALE_RANGE, ERR_VERTEXQ_GRAM, ERR_VERTEXQ_NUMERIC,
 * ERR_VERTEXQ_UNSUPPORTED; with the signal's reason when aborted.
 */
export async function quantizeLayer(
  layer: LayerInput,
  options: QuantizeOptions = {},
): Promise<QuantizedLayer> {
  requireKnown(options, quantizeOptionNames);
  checkJobOptions(options);
  checkLayer(layer);
  const method = methodFor(options, layer.activations !== undefined || layer.gram !== undefined);
  const settings = {
    ...alphabetKind(options, 'asymmetric'),
    method,
    scale: scaleFor(options, method),
    groupSize: groupSizeFor(options, layer.inFeatures),
    box: boxFor(options, 'cell'),
    ...rankRule(options, layer.inFeatures, 'auto'),
  };
  const started = performance.now();
  const input = snapshot(layer);
  const data = await layerCalibration(input, options.signal);
  const quantized = await quantizeWeights(
    { name: 'layer', kind: 'Linear', ...input, ...data },
    settings,
    options,
  );
  quantized.report.seconds = (performance.now() - started) / 1000;
  return quantized;
}
