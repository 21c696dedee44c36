import { type FloatDtype, floatBytes } from '../formats/safetensors/dtypes';
import type { TensorEntry } from '../formats/safetensors/header';
import { byteLengthOf } from '../formats/safetensors/dtypes';
import type { TensorSpec } from '../formats/safetensors/layout';
import type { LayerSettings } from '../layers/quantize-weights';
import { moduleOf } from './tensor-names';
import type { CheckpointFormat } from './types';

/** The tensors that a weight becomes. */
export interface WeightLayout {
  /** How the addon packs it. */
  format: 'compressed-tensors' | 'gptq' | 'float';
  /** Of the scales, or the values. */
  outType: FloatDtype;
  zeroShift: 0 | -1;
  codes: TensorSpec;
  scales: TensorSpec | null;
  zeroPoints: TensorSpec | null;
  /** Tensors that are known beforehand. */
  constants: { spec: TensorSpec; data: Uint8Array }[];
  /** Whether some of a weight's rows are written by themselves: each part is neuron by neuron. */
  byRows: boolean;
}

/** Bytes that some tensors take. */
export const bytesOf = (specs: readonly (TensorSpec | null)[]): number =>
  specs.reduce((sum, spec) => sum + (spec ? byteLengthOf(spec.dtype, spec.shape)! : 0), 0);

export function specsOf({ codes, scales, zeroPoints, constants }: WeightLayout): TensorSpec[] {
  return [codes, scales, zeroPoints, ...constants.map(({ spec }) => spec)].filter((spec) => spec !== null);
}

const words = (count: number, bits: number) => Math.ceil((count * bits) / 32);

/** Why a format cannot hold a weight; undefined where it can. */
export function cannotHold(
  format: CheckpointFormat,
  [outFeatures, inFeatures]: readonly [number, number],
  { bits, groupSize }: Pick<LayerSettings, 'bits' | 'groupSize'>,
): string | undefined {
  if (format === 'float') return undefined;
  if (inFeatures % groupSize !== 0)
    return `its ${inFeatures} inputs are no whole groups of ${groupSize}: "overrides" can give it others`;
  if (format === 'compressed-tensors') return undefined;
  const per = 32 / gcd(32, bits);
  for (const [count, what] of [
    [inFeatures, 'inputs'],
    [outFeatures, 'outputs'],
  ] as const)
    if (count % per !== 0) return `its ${count} ${what} fill no whole words: ${per} codes do`;
  return undefined;
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}

/** What a weight becomes in a format that holds it. */
export function layoutFor(
  format: CheckpointFormat,
  name: string,
  { dtype, shape }: TensorEntry,
  settings: LayerSettings,
): WeightLayout {
  const [outFeatures, inFeatures] = shape as [number, number];
  const module = moduleOf(name);
  const { bits, grid } = settings;
  const groups = Math.ceil(inFeatures / settings.groupSize);
  if (format === 'float')
    return {
      ...{ format, outType: dtype as FloatDtype, zeroShift: 0, scales: null, zeroPoints: null },
      ...{ codes: { name, dtype, shape }, constants: [], byRows: true },
    };
  if (format === 'compressed-tensors') {
    const outType = dtype === 'F64' ? 'F32' : (dtype as FloatDtype);
    const spec = (part: string, type: string, dims: number[]) => ({
      ...{ name: `${module}.weight_${part}`, dtype: type, shape: dims },
    });
    return {
      ...{ format, outType, zeroShift: 0 },
      codes: spec('packed', 'I32', [outFeatures, words(inFeatures, bits)]),
      scales: spec('scale', outType, [outFeatures, groups]),
      zeroPoints:
        grid === 'asymmetric' ? spec('zero_point', 'I32', [words(outFeatures, bits), groups]) : null,
      constants: [
        {
          spec: spec('shape', 'I64', [2]),
          data: new Uint8Array(BigInt64Array.of(BigInt(outFeatures), BigInt(inFeatures)).buffer),
        },
      ],
      byRows: true,
    };
  }
  const indices = Int32Array.from({ length: inFeatures }, (_, i) => Math.floor(i / settings.groupSize));
  return {
    ...{ format: 'gptq', outType: 'F16', zeroShift: format === 'gptq' ? -1 : 0, byRows: false },
    codes: { name: `${module}.qweight`, dtype: 'I32', shape: [words(inFeatures, bits), outFeatures] },
    scales: { name: `${module}.scales`, dtype: 'F16', shape: [groups, outFeatures] },
    zeroPoints: { name: `${module}.qzeros`, dtype: 'I32', shape: [groups, words(outFeatures, bits)] },
    constants: [
      {
        spec: { name: `${module}.g_idx`, dtype: 'I32', shape: [inFeatures] },
        data: new Uint8Array(indices.buffer),
      },
    ],
  };
}

/** A weight's part of some rows: its bytes among all of the part's. */
export interface RowPart {
  name: string;
  begin: number;
  length: number;
}

/** The parts of the rows [begin, end), codes first, then scales, then zero points, where they are there. */
export function partsOfRows(
  layout: WeightLayout,
  [outFeatures, inFeatures]: readonly [number, number],
  { bits, groupSize }: Pick<LayerSettings, 'bits' | 'groupSize'>,
  begin: number,
  end: number,
): RowPart[] {
  const { codes, scales, zeroPoints, outType } = layout;
  const part = (spec: TensorSpec, rowBytes: number, from = begin, to = end) => ({
    ...{ name: spec.name, begin: from * rowBytes, length: (to - from) * rowBytes },
  });
  if (!layout.byRows)
    return [codes, scales!, zeroPoints!].map((spec) => ({
      ...{ name: spec.name, begin: 0, length: bytesOf([spec]) },
    }));
  if (layout.format === 'float') return [part(codes, inFeatures * floatBytes[outType])];
  const groups = Math.ceil(inFeatures / groupSize);
  const parts = [part(codes, words(inFeatures, bits) * 4), part(scales!, groups * floatBytes[outType])];
  // Packed along the neurons: whole words at every multiple of 32 of them.
  if (zeroPoints)
    parts.push(part(zeroPoints, groups * 4, words(begin, bits), words(Math.min(end, outFeatures), bits)));
  return parts;
}
