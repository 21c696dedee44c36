import type { BudgetReport, ChosenWidths } from '../sensitivity/choose';
import { type Sensitivity, widthName } from '../sensitivity/types';
import { type Column, formatTable } from './columns';
import { fewOf, type Paint } from './text';
import { formatBytes, formatCount, plural } from './units';

const columns: Column<ChosenWidths>[] = [
  { title: 'width', cell: widthName },
  { title: 'layers', cell: ({ layers }) => String(layers.length), align: 'right' },
  { title: 'such as', cell: ({ layers }) => fewOf(layers.map(plain), 2), dispensable: 1 },
];

/** A name as it is, not as a glob. */
const plain = (glob: string) => glob.replace(/\\(.)/g, '$1');

/** How a change is called. */
export const changeOf = (change: number, { how, unit }: Pick<Sensitivity, 'how' | 'unit'>): string =>
  `${formatCount(change)}${unit === 'kl' ? ' nats of KL divergence' : ' of mean squared error'} (${how})`;

/** How a run came to its widths: a width a line. */
export function budgetTable(budget: BudgetReport, look: { paint: Paint; width: number | undefined }): string {
  const { target, bytes, change, gap, overrides, sensitivity } = budget;
  return [
    `widths chosen for ${target.change === undefined ? `${target.of} of ${formatBytes(target.bytes)}` : `a change of ${formatCount(target.change)} at the most`} (${formatBytes(bytes)}), ${plural(overrides.length, 'kind')}; each alone, added up, they change the outputs by about ${changeOf(change, sensitivity)}` +
      (gap === 0
        ? ', the least that is possible'
        : `, at most ${formatCount(gap)} more than the least that is possible`),
    formatTable(overrides, columns, look),
  ].join('\n');
}
