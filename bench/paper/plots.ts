import type { Outcome } from './accuracy';
import type { Curve } from './curves';
import { writePlot } from '../plot';

/** Error against N, both logarithmic, a panel for 1 and one for 2 bits. */
export async function plotCurves(path: string, curves: readonly Curve[], title: string): Promise<void> {
  const names = ['msq', 'msq, searched scale', 'maly-saab', 'maly-saab, cell', 'certificate'];
  const values = curves.flatMap(({ bits, name, points }) =>
    points.map(({ inputs, error }) => ({ panel: bits === 1 ? '1 bit' : '2 bits', name, inputs, error })),
  );
  const ticks = [...new Set(values.map(({ inputs }) => inputs))];
  await writePlot(path, {
    title: { text: title, fontSize: 15, anchor: 'middle', offset: 14 },
    data: { values },
    facet: { column: { field: 'panel', type: 'nominal', title: null } },
    spec: {
      width: 320,
      height: 300,
      mark: { type: 'line', point: { size: 45 }, strokeWidth: 2.5 },
      encoding: {
        x: {
          field: 'inputs',
          type: 'quantitative',
          title: 'inputs N',
          scale: { type: 'log', base: 2, domain: [ticks[0]!, ticks.at(-1)!], nice: false },
          axis: { values: ticks, format: 'd', grid: true },
        },
        y: {
          field: 'error',
          type: 'quantitative',
          title: 'relative output error',
          scale: { type: 'log' },
          axis: { format: '~g', tickCount: 5 },
        },
        color: { field: 'name', type: 'nominal', sort: names, title: null, legend: { orient: 'bottom' } },
        strokeDash: {
          condition: { test: "datum.name === 'certificate'", value: [6, 4] },
          value: [1, 0],
        },
      },
    },
  });
}

/** Right answers against the number of samples, a panel for each width. */
export async function plotAccuracy(path: string, outcomes: readonly Outcome[]): Promise<void> {
  const values = outcomes.map(({ method, bits, samples, accuracy }) => ({
    panel: bits === 1 ? '1 bit' : `${bits} bits`,
    name: method === 'msq' ? method : `maly-saab, ${method}`,
    samples,
    percent: 100 * accuracy,
  }));
  const counts = [...new Set(values.map(({ samples }) => samples))];
  await writePlot(path, {
    title: { text: 'MNIST, 784-500-300-10', fontSize: 15, anchor: 'middle', offset: 14 },
    data: { values },
    facet: { field: 'panel', type: 'nominal', title: null },
    columns: 2,
    spec: {
      width: 320,
      height: 210,
      mark: { type: 'line', point: { size: 45 }, strokeWidth: 2.5 },
      encoding: {
        x: {
          field: 'samples',
          type: 'quantitative',
          title: 'calibration samples m',
          scale: { type: 'log', base: 2, domain: [counts[0]!, counts.at(-1)!], nice: false },
          axis: { values: counts, format: 'd' },
        },
        y: {
          field: 'percent',
          type: 'quantitative',
          title: 'right answers, %',
          scale: { zero: false },
        },
        color: {
          field: 'name',
          type: 'nominal',
          sort: [...new Set(values.map(({ name }) => name))],
          title: null,
          legend: { orient: 'bottom', columns: 2, labelLimit: 400 },
        },
      },
    },
  });
}
