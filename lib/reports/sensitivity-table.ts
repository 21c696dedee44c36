import { type SensitiveLayer, type Sensitivity, widthName } from '../sensitivity/types';
import { type Column, formatTable } from './columns';
import type { TableOptions } from './table';
import { fewOf, painter, visible } from './text';
import { formatBytes, formatCount, formatSeconds, plural } from './units';

/** Columns of widths before it is said how many more there are. */
const mostWidths = 12;

/** What each layer in each width does: a layer a line, those that change most first. */
export function sensitivityTable(sensitivity: Sensitivity, { color, width }: TableOptions): string {
  const { input, layers, unmeasured, how, unit, rows, warnings, seconds } = sensitivity;
  const paint = painter(color);
  const names = widthsIn(layers);
  const isCorrected = layers.some(({ left }) => left !== undefined);
  const columns: Column<SensitiveLayer>[] = [
    { title: 'layer', cell: ({ name }) => name },
    { title: 'shape', cell: ({ shape }) => shape.join('×'), align: 'right', dispensable: 20 },
    { title: 'bytes', cell: ({ widths }) => `${formatBytes(widths[0]!.bytes)} … ${formatBytes(widths.at(-1)!.bytes)}`, align: 'right', dispensable: 19 }, // prettier-ignore
    ...(isCorrected ? [{ title: 'left', cell: ({ left }: SensitiveLayer) => left === undefined ? '' : `${Math.round(100 * left)} %`, align: 'right' as const, dispensable: 18 }] : []), // prettier-ignore
    ...names.slice(0, mostWidths).map((name, i) => ({
      title: name,
      cell: ({ widths }: SensitiveLayer) => change(widths.find((own) => widthName(own) === name)?.change),
      align: 'right' as const,
      dispensable: i + 1,
    })),
  ];
  const least = ({ widths }: SensitiveLayer) => widths[0]!.change;
  const sorted = [...layers].sort((a, b) => least(b) - least(a));
  const what = unit === 'kl' ? 'KL divergence in nats' : 'squared error of a row of outputs';
  return [
    paint('bold', `${visible(input)}: ${plural(layers.length, 'layer')}, each alone in each width: ${what} (${how}, ${plural(rows, 'row')} of outputs); in ${formatSeconds(seconds)}`), // prettier-ignore
    '',
    formatTable(sorted, columns, { paint, width }),
    ...(isCorrected ? ['', "left: of all of a layer's changes, in a run that corrects errors"] : []),
    ...(names.length > mostWidths ? ['', `${names.length - mostWidths} more widths are in the result (--json, --output)`] : []), // prettier-ignore
    ...reasons(unmeasured),
    ...warnings.map((text) => `${paint('yellow', 'warning:')} ${visible(text)}`),
  ].join('\n');
}

const change = (value: number | undefined) => (value === undefined ? '' : formatCount(Number(value.toPrecision(3)))); // prettier-ignore

/** Names of widths, those of the fewest bytes first. */
function widthsIn(layers: readonly SensitiveLayer[]): string[] {
  const largest = [...layers].sort((a, b) => b.widths.length - a.widths.length);
  return [...new Set(largest.flatMap(({ widths }) => widths.map(widthName)))];
}

function reasons(unmeasured: Sensitivity['unmeasured']): string[] {
  const by = new Map<string, string[]>();
  for (const { name, reason } of unmeasured) by.set(reason, [...(by.get(reason) ?? []), name]);
  return [...by].map(([reason, names]) => `not measured: ${fewOf(names, 4)}: ${reason}`);
}
