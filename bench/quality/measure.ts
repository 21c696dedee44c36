// Every method on every layer, at every width.
import { layerCalibration } from '../../lib/fit/layer-rows';
import { settingsOf } from '../../lib/fit/quantize-layer';
import type { LayerSettings } from '../../lib/fit/layer-settings';
import { quantizeWeights } from '../../lib/fit/quantize-weights';
import type { Method } from '../../lib/types';
import { sentenceEncoderLayers } from './layers';

/** Named as in the tables; settings that are no public options among them. Grid: zero-free at 2 bits, where it is best; else asymmetric. */
export const methods: Record<string, Partial<LayerSettings> & { method: Method }> = {
  'msq, max scale': { method: 'msq', scale: 'max' },
  msq: { method: 'msq' },
  gpfq: { method: 'gpfq' },
  'gptq, published': { method: 'gptq', scale: 'max', passes: 0 },
  'gptq, strong': { method: 'gptq', passes: 0 },
  gptq: { method: 'gptq' },
  'vertex, effort 0': { method: 'vertex', passes: 0 },
  vertex: { method: 'vertex', passes: 128 },
};
/** What the tables are relative to: the strongest GPTQ of one decoding. */
export const rival = 'gptq, strong';
export const widths = [2, 3, 4] as const;
export const groups = ['channel', 128, 32] as const;

export interface Result {
  layer: string;
  bits: number;
  groupSize: number | 'channel';
  method: string;
  calibration: number;
  holdout: number;
  seconds: number;
}

export async function measure(neurons: number, mostLayers: number): Promise<Result[]> {
  const results: Result[] = [];
  let done = 0;
  for await (const layer of sentenceEncoderLayers(neurons)) {
    const input = { ...layer, kind: 'Linear' };
    const data = { gram: await layerCalibration(layer, 'gram'), rows: await layerCalibration(layer, 'rows') };
    for (const bits of widths)
      for (const groupSize of groups)
        for (const [method, settings] of Object.entries(methods)) {
          const grid = bits === 2 ? 'zero-free' : 'asymmetric';
          const { report } = await quantizeWeights(
            { ...input, ...data[settings.method === 'msq' ? 'rows' : 'gram'] },
            { ...settingsOf(layer, { method: settings.method, bits, groupSize, grid }), ...settings },
            {},
          );
          const { calibration, holdout } = report.error as { calibration: number; holdout: number };
          results.push({
            layer: layer.name,
            bits,
            groupSize,
            method,
            calibration,
            holdout,
            seconds: report.seconds,
          });
        }
    console.error(layer.name);
    if (++done === mostLayers) break;
  }
  return results;
}
