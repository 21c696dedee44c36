import type { Outcome } from './accuracy';
import type { Curve } from './curves';
import { writeLines } from '../plot';

const extent = (values: readonly number[], by: number): [number, number] => [
  Math.min(...values) / by,
  Math.max(...values) * by,
];

/** Error against N, both logarithmic, a panel for 1 and one for 2 bits. */
export async function plotCurves(path: string, curves: readonly Curve[], title: string): Promise<void> {
  const points = curves.flatMap(({ bits, name, points: own }) =>
    own.map(({ inputs, error }) => ({ panel: bits === 1 ? '1 bit' : '2 bits', name, x: inputs, y: error })),
  );
  const ticks = [...new Set(points.map(({ x }) => x))];
  await writeLines(path, {
    title,
    subtitle: 'Lower is better; dashed: variants, and the bound that the certificate gives',
    points,
    x: { title: 'inputs N', type: 'log', domain: [ticks[0]!, ticks.at(-1)!], ticks, format: 'd' },
    y: {
      title: 'relative output error',
      type: 'log',
      domain: extent(
        points.map(({ y }) => y),
        1.1,
      ),
      format: '~g',
    },
    width: 300,
    height: 300,
    dashed: ['certificate', 'msq, searched scale', 'maly-saab, cell'],
  });
}

/** Wrong answers against the number of samples, a panel for each width. */
export async function plotAccuracy(path: string, outcomes: readonly Outcome[]): Promise<void> {
  const points = outcomes.map(({ method, bits, samples, accuracy }) => ({
    panel: bits === 1 ? '1 bit' : `${bits} bits`,
    name: method === 'msq' ? method : `maly-saab, ${method}`,
    x: samples,
    y: 100 * (1 - accuracy),
  }));
  const ticks = [...new Set(points.map(({ x }) => x))];
  const names = [...new Set(points.map(({ name }) => name))].filter((name) => name !== 'msq');
  await writeLines(path, {
    title: 'MNIST, 784-500-300-10: wrong answers',
    subtitle: 'Lower is better',
    points,
    x: {
      title: 'calibration samples m',
      type: 'log',
      domain: [ticks[0]!, ticks.at(-1)!],
      ticks,
      format: 'd',
    },
    y: {
      title: 'wrong answers, %',
      type: 'log',
      domain: extent(
        points.map(({ y }) => y),
        1.15,
      ),
      format: '~g',
    },
    width: 280,
    height: 210,
    dashed: names.slice(1),
  });
}
