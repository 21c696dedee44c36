import Table from 'cli-table3';
import type { Paint } from './text';
import { shortenNames, visible } from './text';

/** A column of a table whose rows are `Row`s. */
export interface Column<Row> {
  title: string;
  cell: (row: Row) => string;
  align?: 'left' | 'right';
  /** Where the table is too wide, columns of equal cells go first, then those of the highest number; without one, none. */
  dispensable?: number;
}

/** A number, where there is one. */
export const numberCell = (value: number | null) => (value === null ? '' : String(value));

/** Characters between columns, and to which names are shortened before columns are left out. */
const gap = 2;
const narrowestName = 20;
/** A table of tens of thousands takes minutes to lay out, and then the stack. */
const mostRows = 5000;

interface Shown {
  title: string;
  align: 'left' | 'right';
  cells: string[];
  dispensable: number | undefined;
}

/**
 * A table without borders. The first column holds names, which are shortened in the middle where `width` columns of the terminal
 * are too few; then columns are left out.
 */
export function formatTable<Row>(
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  { paint, width = Infinity }: { paint: Paint; width?: number | undefined },
): string {
  const all = columns.map(({ title, cell, align = 'left', dispensable }): Shown => ({
    title,
    align,
    cells: rows.slice(0, mostRows).map((row) => visible(cell(row))),
    dispensable,
  }));
  const { shown, common } = fit(all, width);
  const names = shown[0]!;
  const rest = shown.slice(1).reduce((sum, column) => sum + widthOf(column) + gap, 0);
  const room = Math.max(narrowestName, width - rest);
  const table = new Table({
    chars: noBorders,
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0, compact: true },
    colAligns: shown.map(({ align }) => align),
    head: shown.map(({ title }) => paint('bold', title)),
  });
  const shortNames = shortenNames(names.cells, room);
  for (const i of names.cells.keys())
    table.push(shown.map((column) => (column === names ? shortNames[i]! : column.cells[i]!)));
  const lines = table
    .toString()
    .split('\n')
    .map((line) => line.trimEnd());
  if (common.length > 0)
    lines.unshift(paint('dim', common.map(({ title, cells }) => `${title} ${cells[0]}`).join(', ')));
  if (rows.length > mostRows) lines.push(`… and ${rows.length - mostRows} more, all of them in the JSON`);
  return lines.join('\n');
}

/** Leaves out columns until the rest fits. `common` are those whose one value still can be told. */
function fit(columns: Shown[], width: number): { shown: Shown[]; common: Shown[] } {
  const shown = [...columns];
  const common: Shown[] = [];
  const least = () =>
    Math.min(narrowestName, widthOf(shown[0]!)) +
    shown.slice(1).reduce((sum, column) => sum + widthOf(column) + gap, 0);
  const same = ({ cells }: Shown) => cells.length > 1 && cells.every((cell) => cell === cells[0]);
  const order = shown
    .filter(({ dispensable }) => dispensable !== undefined)
    .sort((a, b) => Number(same(b)) - Number(same(a)) || b.dispensable! - a.dispensable!);
  for (const column of order) {
    if (least() <= width) break;
    shown.splice(shown.indexOf(column), 1);
    if (same(column)) common.push(column);
  }
  return { shown, common: columns.filter((column) => common.includes(column)) };
}

function widthOf({ title, cells }: Shown): number {
  return cells.reduce((width, cell) => Math.max(width, cell.length), title.length);
}

const noBorders = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: ' '.repeat(gap),
};
