// Problem B, on which several peers' own code was measured (docs/quality.md).
import { layerCalibration } from '../../lib/fit/layer-rows';
import { settingsOf } from '../../lib/fit/quantize-layer';
import { quantizeWeights } from '../../lib/fit/quantize-weights';
import { mulberry32, type Random } from '../../scripts/models/trainer/random';
import { markdownTable } from '../document';
import { gaussian } from '../paper/data';
import { methods } from './measure';

const [samples, inFeatures] = [2048, 1024];

/** `count` orthonormal vectors of the given length, by Gram and Schmidt, twice. */
function orthonormal(length: number, count: number, random: Random): Float64Array[] {
  const basis: Float64Array[] = [];
  while (basis.length < count) {
    const vector = gaussian(length, random);
    for (const other of [...basis, ...basis]) {
      let product = 0;
      for (let i = 0; i < length; i++) product += other[i]! * vector[i]!;
      for (let i = 0; i < length; i++) vector[i]! -= product * other[i]!;
    }
    const norm = Math.hypot(...vector);
    basis.push(vector.map((value) => value / norm));
  }
  return basis;
}

/** Rows U·diag(√m/k)·Vᵀ plus 1e-3 noise, for a V that calibration and held-out rows share. */
function rows(right: readonly Float64Array[], random: Random): Float32Array {
  const left = orthonormal(samples, inFeatures, random);
  const x = gaussian(samples * inFeatures, random).map((value) => 1e-3 * value);
  for (const [k, u] of left.entries()) {
    const v = right[k]!;
    for (let row = 0; row < samples; row++) {
      const factor = (u[row]! * Math.sqrt(samples)) / (k + 1);
      for (let i = 0; i < inFeatures; i++) x[row * inFeatures + i]! += factor * v[i]!;
    }
  }
  return Float32Array.from(x);
}

const alphabets = [
  { name: '2 bits', kind: { bits: 2 } },
  { name: '3 bits', kind: { bits: 3 } },
  { name: '4 bits', kind: { bits: 4 } },
  { name: 'ternary', kind: { levels: 3 } },
  { name: 'one bit', kind: { bits: 1 } },
] as const;

/** Held-out errors, one scale a neuron. */
export async function problemTable(neurons: number): Promise<string> {
  const random = mulberry32(20_231);
  const right = orthonormal(inFeatures, inFeatures, random);
  const layer = {
    weight: Float32Array.from(gaussian(neurons * inFeatures, random)),
    outFeatures: neurons,
    inFeatures,
    activations: rows(right, random),
    holdout: rows(right, random),
  };
  const data = { gram: await layerCalibration(layer, 'gram'), rows: await layerCalibration(layer, 'rows') };
  const lines: string[][] = [];
  for (const [method, settings] of Object.entries(methods)) {
    const line = [method];
    for (const { kind } of alphabets) {
      const grid = 'levels' in kind ? 'integer' : 'zero-free';
      const { report } = await quantizeWeights(
        { name: 'problem B', kind: 'Linear', ...layer, ...data[settings.method === 'msq' ? 'rows' : 'gram'] },
        { ...settingsOf(layer, { method: settings.method, ...kind, grid }), ...settings },
        {},
      );
      line.push(report.error.own.holdout!.toFixed(4));
    }
    lines.push(line);
  }
  return markdownTable(['problem B', ...alphabets.map(({ name }) => name)], lines);
}
