import type { ComparedRun, Comparison } from '../compare/types';
import type { LayerReport } from '../types';
import { type Column, formatTable } from './columns';
import { toldError } from './error-columns';
import { errorOf } from './error-plot';
import type { TableOptions } from './table';
import { fewOf, painter, visible } from './text';
import { formatBytes, formatCount, formatPercent, formatSeconds, plural } from './units';

/** With more layers than this, single layers are only in the JSON. */
const mostLayers = 40;
const mostNames = 6;
const mostWarnings = 4;

/** A comparison as tables: all runs; then, for a model, each layer's error by method; then which method was best. */
export function comparisonTable(comparison: Comparison, { color, width }: TableOptions): string {
  const paint = painter(color);
  const { runs, skipped, seconds } = comparison;
  const parts = [formatTable(runs, runColumns(comparison), { paint, width })];
  const layers = runs[0]?.layers.length ?? 0;
  if (layers > 1 && layers <= mostLayers)
    for (const bits of comparison.bits) parts.push(layersTable(comparison, bits, { color, width }));
  const lines = [paint('bold', `${plural(runs.length, 'run')} in ${formatSeconds(seconds)}`)];
  for (const bits of comparison.bits) lines.push(bestOf(comparison, bits));
  if (skipped.length > 0)
    lines.push(
      `${plural(skipped.length, 'weight')} left as ${skipped.length === 1 ? 'it is' : 'they are'}: ${fewOf(
        skipped.map(({ name, reason }) => `${visible(name)} (${visible(reason)})`),
        mostNames,
      )}`,
    );
  const [shown, more] = warningsOf(comparison);
  for (const text of shown) lines.push(`${paint('yellow', 'warning:')} ${visible(text)}`);
  if (more > 0) lines.push(`  … and ${more} more of single layers, all of them in the JSON`);
  return [...parts, lines.join('\n')].join('\n\n');
}

function runColumns({ runs, score }: Comparison): Column<ComparedRun>[] {
  const columns: Column<ComparedRun>[] = [
    { title: 'method', cell: ({ method }) => method },
    { title: 'bits', cell: ({ bits }) => String(bits), align: 'right' },
  ];
  if (runs.some(({ output }) => output !== null))
    columns.push(
      { title: 'output', cell: ({ output }) => formatPercent(output?.error ?? null), align: 'right' },
      {
        title: 'cosine',
        cell: ({ output }) => output?.cosine?.toFixed(5) ?? '–',
        align: 'right',
        dispensable: 3,
      },
    );
  if (score !== null)
    columns.push({
      title: `score (float ${digits(score)})`,
      cell: (run) => digits(run.score),
      align: 'right',
    });
  columns.push(
    { title: 'own', cell: (run) => meanText(run, 'own'), align: 'right', dispensable: 4 },
    ...(runs.some(({ error }) => error.againstFloat)
      ? [
          {
            title: 'against float',
            cell: (run: ComparedRun) => meanText(run, 'againstFloat'),
            align: 'right' as const,
            dispensable: 2,
          },
        ]
      : []),
    { title: 'weights', cell: ({ bytes }) => formatBytes(bytes.after), align: 'right', dispensable: 1 },
    { title: 'time', cell: ({ seconds }) => formatSeconds(seconds), align: 'right', dispensable: 5 },
  );
  return columns;
}

/** A mean over the layers, and over how many where some have no error. */
function meanText({ error, measured, layers }: ComparedRun, of: 'own' | 'againstFloat'): string {
  const told = toldError(error[of]);
  const count = measured[of][(error[of]?.holdout ?? null) === null ? 'calibration' : 'holdout'];
  return (
    formatPercent(told) + (told !== null && count < layers.length ? ` (${count} of ${layers.length})` : '')
  );
}

function digits(score: number | null): string {
  return score !== null && Math.abs(score) < 1000 ? score.toPrecision(4) : formatCount(score);
}

/** Each layer's error with every method: against float, where all have that, and else its own. */
function layersTable({ runs }: Comparison, bits: number, { color, width }: TableOptions): string {
  const paint = painter(color);
  const shown = runs.filter((run) => run.bits === bits);
  const all = shown.flatMap(({ layers }) => layers);
  const isFloat = all.every(({ error }) => toldError(error.againstFloat) !== null);
  const judged = ({ error }: LayerReport) => toldError(isFloat ? error.againstFloat : error.own);
  const columns: Column<number>[] = [
    {
      title: `layer, ${plural(bits, 'bit')}, ${isFloat ? 'against float' : 'own error'}`,
      cell: (i) => shown[0]!.layers[i]!.name,
    },
    ...shown.map(({ method, layers }): Column<number> => ({
      title: method,
      cell: (i) => formatPercent(judged(layers[i]!)),
      align: 'right',
    })),
  ];
  return formatTable([...shown[0]!.layers.keys()], columns, { paint, width });
}

function bestOf(comparison: Comparison, bits: number): string {
  const { of, title } = errorOf(comparison);
  const ranked = comparison.runs
    .filter((run) => run.bits === bits)
    .map((run) => ({ method: run.method, error: of(run) ?? Infinity }))
    .sort((a, b) => a.error - b.error);
  const list = ranked.map(({ method, error }) => `${method} ${formatPercent(error)}`);
  return `${plural(bits, 'bit')}, ${title}: ${list.join(', ')}`;
}

/** Those of single layers once, whichever runs they are of, and only a few; how many more there are. */
function warningsOf({ warnings, runs }: Comparison): [shown: string[], more: number] {
  const ofLayers = new Set<string>();
  for (const { layers } of runs)
    for (const { name, warnings: texts } of layers)
      for (const text of texts) ofLayers.add(`${name}: ${text}`);
  return [[...warnings, ...[...ofLayers].slice(0, mostWarnings)], ofLayers.size - mostWarnings];
}
