// Every block type on layers: what ggml's own quantizer makes of them, and what ours does.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { packed, unpacked } from '../../lib/encodings/gguf/blocks';
import { type GgufType, ggufTypes, unfit } from '../../lib/encodings/gguf/table';
import { ggufTypeNames } from '../../lib/encodings/names';
import { layerCalibration } from '../../lib/fit/layer-rows';
import { settingsOf } from '../../lib/fit/quantize-layer';
import type { LayerSettings } from '../../lib/fit/layer-settings';
import { quantizeWeights } from '../../lib/fit/quantize-weights';
import type { LayerInput } from '../../lib/types';

export interface Result {
  layer: string;
  inFeatures: number;
  type: string;
  quantizer: string;
  /** ‖W − Q‖ / ‖W‖. */
  weight: number;
  /** The same with inputs weighted by their mean squares. */
  weighted: number;
  /** Of outputs on rows held out. */
  holdout: number | null;
  seconds: number;
}

export type Layer = LayerInput & { name: string };

/** Ours: by name, settings beside the type's own and whether there are rows. */
export const fits: Record<string, { data: 'none' | 'rows' | 'gram'; settings: Partial<LayerSettings> }> = {
  'msq, no data': { data: 'none', settings: { method: 'msq' } },
  'msq, diagonal': { data: 'rows', settings: { method: 'msq' } },
  gptq: { data: 'gram', settings: { method: 'gptq' } },
  'vertex, 16 passes': { data: 'gram', settings: { method: 'vertex', passes: 16 } },
};

/** All types that hold the layer, by all quantizers. `python`: the interpreter that has libgguf. */
export async function measure(layer: Layer, python: string): Promise<Result[]> {
  const { outFeatures, inFeatures, weight } = layer;
  const shape = [outFeatures, inFeatures] as const;
  const types = ggufTypeNames.map((name) => ggufTypes[name]).filter((type) => !unfit(type, shape));
  const importance = layer.activations
    ? meanSquares(layer.activations, inFeatures)
    : new Float32Array(inFeatures).fill(1);
  const results: Result[] = [];
  const judge = (type: GgufType, quantizer: string, values: Float32Array, seconds: number) =>
    results.push({
      ...{ layer: layer.name, inFeatures, type: type.name, quantizer, seconds },
      weight: relative(weight, values, () => 1),
      weighted: relative(weight, values, (i) => importance[i % inFeatures]!),
      holdout: layer.holdout ? outputError(layer, values) : null,
    });
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'vertexq-gguf-'));
  try {
    fs.writeFileSync(path.join(folder, 'weight.f32'), new Uint8Array(Float32Array.from(weight).buffer));
    fs.writeFileSync(path.join(folder, 'importance.f32'), new Uint8Array(importance.buffer));
    const script = path.join(__dirname, 'ggml_rows.py');
    execFileSync(python, [
      script,
      folder,
      `${outFeatures}`,
      `${inFeatures}`,
      ...types.map(({ name }) => name),
    ]);
    for (const type of types)
      for (const suffix of ['plain', 'imatrix']) {
        const bytes = new Uint8Array(fs.readFileSync(path.join(folder, `${type.name}.${suffix}.f32`)));
        judge(type, `ggml, ${suffix}`, new Float32Array(bytes.buffer), 0);
      }
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
  const none = { calibration: null, holdout: null };
  const data = layer.activations
    ? {
        none,
        gram: await layerCalibration(layer, 'gram', {}),
        rows: await layerCalibration(layer, 'rows', {}),
      }
    : { none, gram: none, rows: none };
  for (const type of types)
    for (const [quantizer, { data: kind, settings }] of Object.entries(fits)) {
      if (kind !== 'none' && !layer.activations) continue;
      const method = settings.method!;
      const { report, ...coded } = await quantizeWeights(
        { kind: 'Linear', ...layer, ...data[kind] },
        { ...settingsOf(layer, { method }), ...type.settings, ...settings },
        {},
      );
      judge(type, quantizer, await unpacked(type, await packed(type, coded), shape), report.seconds);
    }
  return results;
}

function meanSquares(rows: ArrayLike<number>, width: number): Float32Array {
  const sums = new Float64Array(width);
  for (let i = 0; i < rows.length; i++) sums[i % width]! += rows[i]! ** 2;
  return Float32Array.from(sums, (sum) => (sum * width) / rows.length);
}

function relative(
  weight: ArrayLike<number>,
  values: Float32Array,
  importance: (i: number) => number,
): number {
  let [error, signal] = [0, 0];
  for (let i = 0; i < values.length; i++) {
    error += importance(i) * (weight[i]! - values[i]!) ** 2;
    signal += importance(i) * weight[i]! ** 2;
  }
  return Math.sqrt(error / signal);
}

/** Of the outputs on the first held-out rows. */
function outputError({ weight, outFeatures, inFeatures, holdout }: LayerInput, values: Float32Array): number {
  const rows = Math.min(holdout!.length / inFeatures, 500);
  let [error, signal] = [0, 0];
  for (let r = 0; r < rows; r++)
    for (let n = 0; n < outFeatures; n++) {
      let [change, output] = [0, 0];
      for (let i = 0; i < inFeatures; i++) {
        const [x, w] = [holdout![r * inFeatures + i]!, weight[n * inFeatures + i]!];
        output += x * w;
        change += x * (w - values[n * inFeatures + i]!);
      }
      error += change ** 2;
      signal += output ** 2;
    }
  return Math.sqrt(error / signal);
}
