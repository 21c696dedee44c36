import { lookOfMethod } from '../../lib/reports/colors';
import { writeLines } from '../plot';

/** One effort: its time, and its errors. */
export interface Effort {
  seconds: number;
  calibration: number;
  holdout: number;
}

/** Error against time, from 0: what passes after the first few gain is little. */
export async function plotEffort(path: string, curve: readonly Effort[]): Promise<void> {
  const points = curve.flatMap(({ seconds, calibration, holdout }) => [
    { name: 'held out', x: seconds, y: 100 * holdout },
    { name: 'rows of the fit', x: seconds, y: 100 * calibration },
  ]);
  const seconds = points.map(({ x }) => x);
  await writeLines(path, {
    title: 'Error against time, first feed-forward layer, 2 bits a neuron',
    subtitle: 'Lower is better; each mark is a value of effort, the first 0',
    points,
    x: {
      title: 'seconds',
      type: 'log',
      domain: [Math.min(...seconds) / 1.2, Math.max(...seconds) * 1.2],
      format: '~g',
    },
    y: { title: 'relative output error, %', domain: [0, Math.ceil(Math.max(...points.map(({ y }) => y)))] },
    colors: { 'held out': lookOfMethod('vertex').color },
    dashed: ['rows of the fit'],
  });
}
