import { writePlot } from '../plot';
import { settings } from './encoder';
import { type MethodName, type Result } from './plan';

/** Also the order of the legend. */
const shown: MethodName[] = ['msq', 'gptq, largest-weight scale, uncorrected', 'gptq', 'vertex'];

/** How far the sentence encoder's embeddings turn, by method and setting. */
export async function plotCosines(path: string, runs: readonly Result[]): Promise<void> {
  const values = runs
    .filter(
      ({ network, setting, method, grid }) =>
        network === 'encoder' && shown.includes(method) && grid === settings[setting]!.options.grid,
    )
    .map(({ setting, method, cosine }) => ({ setting, method, distance: 1 - cosine }));
  await writePlot(path, {
    title: { text: 'Sentence encoder: how far the embeddings turn', fontSize: 15, offset: 14 },
    data: { values },
    width: 420,
    height: 260,
    mark: { type: 'point', filled: true, size: 110, opacity: 1 },
    encoding: {
      x: {
        field: 'setting',
        type: 'nominal',
        sort: Object.keys(settings),
        title: null,
        axis: { labelAngle: 0, labelLimit: 200, labelExpr: "split(datum.label, ', ')" },
      },
      y: { field: 'distance', type: 'quantitative', scale: { type: 'log' }, title: '1 − mean cosine' },
      color: { field: 'method', type: 'nominal', sort: shown, title: null, legend: { labelLimit: 300 } },
    },
  });
}
