import { writePlot } from '../plot';
import { rowsOf, type Row } from './rows';

/** A neuron's walk in units of GEMM against r, for both forms and the one that is chosen. */
export async function plotForms(path: string, rows: readonly Row[]): Promise<void> {
  const sweep = rowsOf(rows, 'forms');
  const inputs = sweep[0]!.inFeatures;
  const names = { tableau: 'tableau form', inverse: 'inverse form', auto: 'chosen' };
  await writePlot(path, {
    title: {
      text: `A walk of one neuron, N = ${inputs}, float64`,
      fontSize: 15,
      anchor: 'middle',
      offset: 14,
    },
    data: {
      values: sweep.map(({ form, rank, perGemm }) => ({ name: names[form], rank, perGemm })),
    },
    width: 420,
    height: 300,
    mark: { type: 'line', point: { size: 45 }, strokeWidth: 2.5 },
    encoding: {
      x: {
        field: 'rank',
        type: 'quantitative',
        title: 'directions held, r',
        scale: { domain: [0, inputs] },
        axis: { values: [...new Set(sweep.map(({ rank }) => rank))] },
      },
      y: { field: 'perGemm', type: 'quantitative', title: 'time, in N × N × N matrix products' },
      color: { field: 'name', type: 'nominal', sort: Object.values(names), title: null },
      strokeDash: { condition: { test: "datum.name === 'chosen'", value: [6, 4] }, value: [1, 0] },
    },
  });
}
