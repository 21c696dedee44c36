import { quantizeLayer, type FloatArray, type QuantizeOptions } from '../../lib/index';
import { loadMnist } from '../../scripts/models/mnist';
import { mulberry32 } from '../../scripts/models/trainer/random';
import { gaussian, imageRows, logLogSlope, median, uniform } from './data';
import { markdownTable } from '../document';

/** Samples: the rows of X. */
export const samples = 32;

export interface Curve {
  bits: number;
  name: string;
  slope: number;
  points: { inputs: number; error: number }[];
}

const paper = { method: 'maly-saab', grid: 'zero-free', rank: samples } as const;
const methods: { name: string; bits: number[]; options: QuantizeOptions }[] = [
  { name: 'msq', bits: [1, 2], options: { method: 'msq', grid: 'zero-free', scale: 'max' } },
  {
    name: 'msq, searched scale',
    bits: [1, 2],
    options: { method: 'msq', grid: 'zero-free', scale: 'search' },
  },
  { name: 'maly-saab', bits: [1, 2], options: { ...paper, box: 'saturate' } },
  { name: 'maly-saab, cell', bits: [2], options: { ...paper, box: 'cell' } },
];
const certificate = 'certificate';

export interface Sweep {
  /** Numbers of inputs N. */
  inputs: number[];
  rows: (inputs: number, seed: number) => FloatArray;
}

export function gaussianSweep(quick: boolean): Sweep {
  return {
    inputs: [8, 9, 10, 11, 12, 13].slice(0, quick ? 3 : 6).map((power) => 2 ** power),
    rows: (inputs, seed) => gaussian(samples * inputs, mulberry32(seed)),
  };
}

export function mnistSweep(quick: boolean): Sweep {
  const { train } = loadMnist();
  return {
    inputs: [16, 23, 32, 45, 64, 90].slice(0, quick ? 3 : 6).map((side) => side ** 2),
    rows: (inputs, seed) => imageRows(train, samples, Math.sqrt(inputs), seed),
  };
}

/** The median relative output error of each method for each N, over `draws` of X with `neurons` weight vectors each. */
export async function measure({ inputs, rows }: Sweep, draws: number, neurons: number): Promise<Curve[]> {
  const found = new Map<string, Map<number, number[]>>();
  const note = (bits: number, name: string, n: number, error: number): void => {
    const key = `${bits} ${name}`;
    const byInputs = found.get(key) ?? new Map<number, number[]>();
    found.set(key, byInputs);
    byInputs.set(n, [...(byInputs.get(n) ?? []), error]);
  };
  for (const n of inputs)
    for (let draw = 0; draw < draws; draw++) {
      const activations = rows(n, 1000 * n + draw);
      for (let neuron = 0; neuron < neurons; neuron++) {
        const weight = uniform(n, mulberry32(1_000_000_007 + 1000 * n + 50 * draw + neuron));
        for (const { name, bits: widths, options } of methods)
          for (const bits of widths) {
            const layer = { weight, outFeatures: 1, inFeatures: n, activations };
            const { report } = await quantizeLayer(layer, { ...options, bits });
            note(bits, name, n, report.error.own.calibration!);
            if (name === 'maly-saab') note(bits, certificate, n, report.bound!);
          }
      }
    }
  return [...found].map(([key, byInputs]) => {
    const points = [...byInputs].map(([n, errors]) => ({ inputs: n, error: median(errors) }));
    return {
      bits: Number(key.slice(0, 1)),
      name: key.slice(2),
      slope: logLogSlope(points.map(({ inputs: x, error: y }) => ({ x, y }))),
      points,
    };
  });
}

/** Two tables, of 1 and 2 bits: the curves, their slopes and how far below MSQ the method is. */
export function curveTables(curves: readonly Curve[]): string {
  return [1, 2]
    .map((bits) => {
      const shown = curves.filter((curve) => curve.bits === bits);
      const of = (name: string): Curve => shown.find((curve) => curve.name === name)!;
      const inputs = of('msq').points.map((point) => point.inputs);
      const lines = shown.map(({ name, points, slope }) => [
        name,
        ...points.map(({ error }) => error.toPrecision(3)),
        slope.toFixed(3),
      ]);
      for (const name of bits === 1 ? ['maly-saab'] : ['maly-saab', 'maly-saab, cell'])
        lines.push([
          `msq ÷ ${name}`,
          ...of('msq').points.map(({ error }, i) => (error / of(name).points[i]!.error).toFixed(1)),
          logLogSlope(
            of('msq').points.map(({ error, inputs: x }, i) => ({ x, y: error / of(name).points[i]!.error })),
          ).toFixed(3),
        ]);
      return markdownTable([`${bits} bit${bits > 1 ? 's' : ''}, N =`, ...inputs.map(String), 'slope'], lines);
    })
    .join('\n\n');
}
