import type { Evaluation, Latency, OutputEvaluation } from '../evaluate/types';
import { type Column, formatTable } from './columns';
import type { TableOptions } from './table';
import { painter, visible } from './text';
import { formatBytes, formatCount, formatDecibels, percentCell, formatSeconds, plural } from './units';

const columns: Column<OutputEvaluation>[] = [
  { title: 'output', cell: ({ name }) => name },
  { title: 'type', cell: ({ type }) => type, dispensable: 4 },
  { title: 'rows', cell: ({ rows }) => formatCount(rows), align: 'right', dispensable: 3 },
  { title: 'cosine', cell: ({ cosine }) => cosine?.toFixed(5) ?? '–', align: 'right' },
  { title: 'error', cell: ({ error }) => percentCell(error), align: 'right' },
  { title: 'SQNR', cell: ({ sqnrDb }) => formatDecibels(sqnrDb), align: 'right', dispensable: 1 },
  {
    title: 'largest error',
    cell: ({ maxError }) => (maxError === null ? '–' : maxError === Infinity ? '∞' : maxError.toPrecision(3)),
    align: 'right',
    dispensable: 2,
  },
  { title: 'same answer', cell: ({ agreement }) => percentCell(agreement), align: 'right' },
];

/** An evaluation as a table, an output a line; then sizes, latencies, the score and warnings. */
export function evaluationTable(evaluation: Evaluation, { color, width }: TableOptions): string {
  const paint = painter(color);
  const { outputs, bytes, latency, hints, score, samples, seconds, warnings } = evaluation;
  const lines = [
    paint('bold', `${plural(samples, 'sample')} in ${formatSeconds(seconds)}`),
    `size:    ${formatBytes(bytes.float)} → ${formatBytes(bytes.quantized)} (${(bytes.float / bytes.quantized).toFixed(1)}×)`,
  ];
  if (latency)
    lines.push(
      `latency: ${spread(latency.float)} → ${spread(latency.quantized)} ` +
        `(${plural(latency.samples, 'sample')}; median and middle half of ${plural(latency.runs, 'run')})`,
    );
  for (const hint of hints) lines.push(`         ${visible(hint)}`);
  if (score) lines.push(`score:   ${score.float.toPrecision(5)} → ${score.quantized.toPrecision(5)}`);
  for (const text of warnings) lines.push(`${paint('yellow', 'warning:')} ${visible(text)}`);
  return `${formatTable(outputs, columns, { paint, width })}\n\n${lines.join('\n')}`;
}

function spread({ median, lower, upper }: Latency): string {
  return `${milliseconds(median)} [${milliseconds(lower)}, ${milliseconds(upper)}]`;
}

/** Runs take less than a millisecond, or seconds. */
function milliseconds(seconds: number): string {
  return seconds < 1 ? `${(1000 * seconds).toPrecision(3)} ms` : formatSeconds(seconds);
}
