import type { CheckpointEvaluation, CheckpointMeasures, Estimate } from '../evaluate/language/types';
import { type Column, formatTable } from './columns';
import type { TableOptions } from './table';
import { painter, visible } from './text';
import { formatBytes, formatCount, formatPercent, formatSeconds, plural } from './units';

/** Documents that are told of: those farthest from the float network. */
const worst = 3;

type Row = Partial<CheckpointMeasures> & { name: string; bytes: number; own: Estimate };

const columns: Column<Row>[] = [
  { title: 'checkpoint', cell: ({ name }) => name },
  { title: 'size', cell: ({ bytes }) => formatBytes(bytes), align: 'right', dispensable: 2 },
  { title: 'perplexity', cell: ({ own }) => formatEstimate(own), align: 'right' },
  { title: '× float', cell: of('perplexityRatio'), align: 'right', dispensable: 1 },
  { title: 'KL', cell: of('klDivergence'), align: 'right' },
  {
    title: '99.9 %',
    cell: ({ klDivergence999: value }) => (value === undefined ? '' : formatCount(value)),
    align: 'right',
    dispensable: 3,
  },
  {
    title: 'same token',
    cell: ({ sameNextToken: value }) => (value ? formatEstimate(value, formatPercent) : ''),
    align: 'right',
  },
];

function of(name: 'perplexityRatio' | 'klDivergence'): (row: Row) => string {
  return ({ [name]: value }) => (value ? formatEstimate(value) : '');
}

/** As many digits as the error leaves any sense in, and one more. */
export function formatEstimate(
  { mean, standardError }: Estimate,
  format: (value: number) => string = plain,
): string {
  if (format !== plain)
    return standardError === null ? format(mean) : `${format(mean)} ± ${format(standardError)}`;
  if (standardError === null || standardError === 0) return plain(mean);
  const digits = Math.min(8, Math.max(0, 1 - Math.floor(Math.log10(standardError))));
  return `${mean.toFixed(digits)} ± ${standardError.toFixed(digits)}`;
}

/** Five significant digits. */
const plain = (value: number) => String(Number(value.toPrecision(5)));

/** Quantized language models beside the float one, one a line; then the documents that suffer most, and warnings. */
export function checkpointEvaluationTable(
  { float, bytes, data, checkpoints, seconds, warnings }: CheckpointEvaluation,
  { color, width }: TableOptions,
): string {
  const paint = painter(color);
  const [first] = checkpoints;
  const rows: Row[] = [
    { name: float, bytes, own: first!.perplexity.float },
    ...checkpoints.map((own) => ({ ...own, name: own.quantized, own: own.perplexity.quantized })),
  ];
  const lines = [
    paint(
      'bold',
      `${plural(first!.tokens, 'token')} of ${plural(data.documents, 'document')} in windows of up to ${data.longest}, in ${formatSeconds(seconds)}`,
    ),
  ];
  for (const { quantized, documents } of checkpoints) {
    if (documents.length < 2) continue;
    const farthest = [...documents].sort((a, b) => b.klDivergence - a.klDivergence).slice(0, worst);
    const told = farthest.map(
      ({ document, klDivergence, tokens }) =>
        `${document} (KL ${plain(klDivergence)}, ${plural(tokens, 'token')})`,
    );
    lines.push(
      `documents farthest from the float model${checkpoints.length > 1 ? `, ${visible(quantized)}` : ''}: ${told.join(', ')}`,
    );
  }
  for (const text of warnings) lines.push(`${paint('yellow', 'warning:')} ${visible(text)}`);
  return `${formatTable(rows, columns, { paint, width })}\n\n${lines.join('\n')}`;
}
