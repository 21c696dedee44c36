import { lookOfMethod } from '../../lib/reports/colors';
import { writeLines } from '../plot';
import { rowsOf, type Row } from './rows';

/** A neuron's walk in units of GEMM against r, for both forms and the one that is chosen. */
export async function plotForms(path: string, rows: readonly Row[]): Promise<void> {
  const sweep = rowsOf(rows, 'forms');
  const inputs = sweep[0]!.inFeatures;
  const names = { tableau: 'tableau form', inverse: 'inverse form', auto: 'chosen' };
  const points = sweep.map(({ form, rank, perGemm }) => ({ name: names[form], x: rank, y: perGemm }));
  const ticks = [...new Set(points.map(({ x }) => x))];
  await writeLines(path, {
    title: `A walk of one neuron, N = ${inputs}, float64`,
    subtitle: 'Lower is better',
    points,
    x: { title: 'directions held, r', domain: [0, inputs], ticks },
    y: {
      title: 'time, in N × N × N matrix products',
      domain: [0, 1.05 * Math.max(...points.map(({ y }) => y))],
    },
    colors: {
      [names.tableau]: lookOfMethod('gptq').color,
      [names.inverse]: lookOfMethod('vertex').color,
      [names.auto]: '#1b1f24',
    },
    dashed: [names.auto],
  });
}
