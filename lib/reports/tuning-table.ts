import type { TuneReport } from '../tuning/types';
import { type Column, formatTable } from './columns';
import type { TableOptions } from './table';
import { fewOf, painter, visible } from './text';
import { formatCount, formatSeconds, plural } from './units';

interface Row {
  name: string;
  calibration: number;
  holdout: number | null;
}

const columns: Column<Row>[] = [
  { title: 'KL', cell: ({ name }) => name },
  { title: 'calibration', cell: ({ calibration }) => formatCount(calibration), align: 'right' },
  {
    title: 'held out',
    cell: ({ holdout }) => (holdout === null ? '' : formatCount(holdout)),
    align: 'right',
  },
];

/** What tuning has done to the divergence, what was not tuned, and warnings. */
export function tuningTable(report: TuneReport, { color, width }: TableOptions): string {
  const paint = painter(color);
  const { divergence, data, weights, scales, steps, left, output, seconds, warnings, isKept } = report;
  const rows: Row[] = [
    { name: 'before', ...divergence.before },
    { name: 'after', ...divergence.after },
  ];
  const { fit, holdout } = data;
  const lines = [
    paint(
      'bold',
      `${visible(output)}: ${isKept ? `${plural(scales, 'scale')} of ${plural(weights, 'weight')} tuned` : 'the scales that it was given'} in ${formatSeconds(seconds)}`,
    ),
    `${plural(steps, 'step')} on ${plural(fit.tokens ?? 0, 'token')}; ${plural(holdout.tokens ?? 0, 'token')} held out`,
  ];
  if (left.length > 0)
    lines.push(
      `not tuned: ${fewOf(
        left.map(({ name, reason }) => `${visible(name)} (${reason})`),
        3,
      )}`,
    );
  for (const text of warnings) lines.push(`${paint('yellow', 'warning:')} ${visible(text)}`);
  return `${formatTable(rows, columns, { paint, width })}\n\n${lines.join('\n')}`;
}
