import type { PlannedTensor, RunPlan } from '../runs/plan';
import { budgetTable } from './budget';
import { type Column, formatTable, numberCell } from './columns';
import { change, headline, type Run, shareTable } from './shares';
import { foldedNames, type TableOptions } from './table';
import { fewOf, painter, visible } from './text';
import { formatBytes, formatCount, formatSeconds } from './units';

/** Names of files before it is said how many more there are. */
const mostFiles = 6;

const planColumns: Column<PlannedTensor>[] = [
  { title: 'weight', cell: ({ name }) => name },
  { title: 'dtype', cell: ({ dtype }) => dtype ?? '', dispensable: 3 },
  { title: 'shape', cell: ({ shape }) => shape.join('×'), align: 'right', dispensable: 2 },
  {
    title: 'becomes',
    cell: ({ action, reason, method }) => (action === 'copy' ? `copied: ${reason}` : method!),
  },
  { title: 'bits', cell: ({ bits }) => numberCell(bits), align: 'right' },
  { title: 'group', cell: ({ groupSize }) => numberCell(groupSize), align: 'right', dispensable: 1 },
  {
    title: 'size',
    cell: ({ bytes }) => change(bytes),
    align: 'right',
    dispensable: 4,
  },
];

/** What would be done with a network or a checkpoint: totals, a weight a line, what would become of all bytes. */
export function planTable(plan: RunPlan, { color, width }: TableOptions): string {
  const paint = painter(color);
  const { bitsPerWeight, seconds, memory, tensors, warnings, files, fitted, tokens } = plan;
  const run = runOf(plan);
  return [
    paint('bold', `${headline(run, true)}, ${formatCount(bitsPerWeight)} bits a weight`),
    '',
    formatTable(tensors, planColumns, { paint, width }),
    '',
    shareTable(run, { paint, width }),
    '',
    ...(plan.budget ? [budgetTable(plan.budget, { paint, width }), ''] : []),
    ...(fitted > 0
      ? [
          `${count(fitted, 'weight')} fitted to ${tokens === null ? 'data' : count(tokens, 'token')}, ${run.quantized - fitted} rounded`,
        ]
      : []),
    `about ${seconds === null ? 'as long as the fits take' : formatSeconds(seconds)}, ${formatBytes(memory)} of memory; nothing was written`,
    `would be written: ${visible(fewOf(files, mostFiles))}`,
    ...foldedNames(run),
    ...warnings.map((text) => `${paint('yellow', 'warning:')} ${visible(text)}`),
  ].join('\n');
}

const count = (number: number, thing: string) =>
  `${number.toLocaleString('en')} ${thing}${number === 1 ? '' : 's'}`;

function runOf({ tensors, skipped, bytes }: RunPlan): Run {
  const floats = new Set(skipped.map(({ name }) => name));
  const others = { count: 0, bytes: 0 };
  for (const { name, action, bytes: size } of tensors) {
    if (action === 'quantize' || floats.has(name)) continue;
    others.count++;
    others.bytes += size.before;
  }
  const quantized = tensors.filter(({ action }) => action === 'quantize').length;
  return { quantized, thing: 'weight', skipped, bytes, others };
}
