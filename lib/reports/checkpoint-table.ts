import type {
  CheckpointInspection,
  CheckpointPlan,
  CheckpointReport,
  InspectedTensor,
  InspectedWeight,
  PlannedTensor,
} from '../checkpoints/types';
import type { LayerReport } from '../types';
import { type Column, formatTable } from './columns';
import { layerSummary, type TableOptions } from './table';
import { painter, visible } from './text';
import { formatBytes, formatCount, formatPercent, formatSeconds, plural } from './units';

const shapeOf = ({ shape }: { shape: readonly number[] }) => shape.join('×');
const number = (value: number | null) => (value === null ? '' : String(value));

const layerColumns: Column<LayerReport>[] = [
  { title: 'weight', cell: ({ name }) => name },
  { title: 'shape', cell: shapeOf, align: 'right', dispensable: 4 },
  { title: 'method', cell: ({ method }) => method, dispensable: 1 },
  { title: 'bits', cell: ({ bits }) => String(bits), align: 'right', dispensable: 1 },
  { title: 'group', cell: ({ groupSize }) => String(groupSize), align: 'right', dispensable: 2 },
  { title: 'weight error', cell: ({ error }) => formatPercent(error.weight), align: 'right' },
  { title: 'error', cell: ({ error }) => formatPercent(error.calibration), align: 'right', dispensable: 3 },
  { title: 'held out', cell: ({ error }) => formatPercent(error.holdout), align: 'right', dispensable: 3 },
  { title: 'size', cell: ({ bytes }) => formatBytes(bytes.after), align: 'right', dispensable: 5 },
];

/** A report on a checkpoint, a weight a line, with totals. */
export function checkpointTable(report: CheckpointReport, { color, width }: TableOptions): string {
  const rows = formatTable(report.layers, layerColumns, { paint: painter(color), width });
  return [...(report.layers.length === 0 ? [] : [rows]), checkpointSummary(report, { color })].join('\n\n');
}

/** The end of `checkpointTable`. */
export function checkpointSummary(report: CheckpointReport, { color }: Pick<TableOptions, 'color'>): string {
  const { copied, resumed, bytes, seconds } = report;
  const lines = [`${plural(copied.tensors, 'tensor')} copied as they are, ${formatBytes(copied.bytes)}`];
  if (resumed > 0) lines.push(`${formatBytes(resumed)} had been done by an interrupted run`);
  else if (seconds > 0) lines.push(`${formatBytes(bytes.before / seconds)}/s`);
  return [layerSummary(report, { color }), ...lines].join('\n');
}

const planColumns: Column<PlannedTensor>[] = [
  { title: 'tensor', cell: ({ name }) => name },
  { title: 'dtype', cell: ({ dtype }) => dtype, dispensable: 3 },
  { title: 'shape', cell: shapeOf, align: 'right', dispensable: 2 },
  {
    title: 'becomes',
    cell: ({ action, reason, method }) => (action === 'copy' ? `copied: ${reason}` : method!),
  },
  { title: 'bits', cell: ({ bits }) => number(bits), align: 'right' },
  { title: 'group', cell: ({ groupSize }) => number(groupSize), align: 'right', dispensable: 1 },
  {
    title: 'size',
    cell: ({ bytes }) => `${formatBytes(bytes.before)} → ${formatBytes(bytes.after)}`,
    align: 'right',
    dispensable: 4,
  },
];

/** What would be done with a checkpoint, a tensor a line. */
export function checkpointPlanTable(plan: CheckpointPlan, { color, width }: TableOptions): string {
  const paint = painter(color);
  const { bytes, bitsPerWeight, seconds, memory, tensors, warnings } = plan;
  const count = tensors.filter(({ action }) => action === 'quantize').length;
  return [
    formatTable(tensors, planColumns, { paint, width }),
    '',
    paint(
      'bold',
      `${plural(count, 'weight')}: ${formatBytes(bytes.weightsBefore)} → ${formatBytes(bytes.weightsAfter)}, ` +
        `${formatCount(bitsPerWeight)} bits a weight; files ${formatBytes(bytes.before)} → ${formatBytes(bytes.after)}`,
    ),
    `about ${seconds === null ? 'as long as the fits take' : formatSeconds(seconds)}, ${formatBytes(memory)} of memory; nothing was written`,
    ...warnings.map((text) => `${paint('yellow', 'warning:')} ${visible(text)}`),
  ].join('\n');
}

const tensorColumns: Column<InspectedTensor>[] = [
  { title: 'tensor', cell: ({ name }) => name },
  { title: 'dtype', cell: ({ dtype }) => dtype },
  { title: 'shape', cell: shapeOf, align: 'right' },
  { title: 'size', cell: ({ bytes }) => formatBytes(bytes), align: 'right' },
  { title: 'file', cell: ({ file }) => file, dispensable: 1 },
];
const weightColumns: Column<InspectedWeight>[] = [
  { title: 'weight', cell: ({ name }) => name },
  { title: 'shape', cell: shapeOf, align: 'right' },
  { title: 'bits', cell: ({ bits }) => String(bits), align: 'right' },
  { title: 'group', cell: ({ groupSize }) => String(groupSize), align: 'right' },
  { title: 'grid', cell: ({ symmetric }) => (symmetric ? 'symmetric' : 'asymmetric') },
  { title: 'size', cell: ({ bytes }) => formatBytes(bytes), align: 'right' },
];

/** What a checkpoint holds. */
export function checkpointInspectionTable(
  found: CheckpointInspection,
  { color, width }: TableOptions,
): string {
  const paint = painter(color);
  const { files, layers, others, quantization, bytes, input } = found;
  const lines = [
    paint('bold', `${visible(input)}: ${plural(files.length, 'file')}, ${formatBytes(bytes.files)}`),
    '',
  ];
  if (quantization) {
    const { weights, method, format } = quantization;
    if (weights.length > 0) lines.push(formatTable(weights, weightColumns, { paint, width }), '');
    lines.push(
      paint('bold', `${plural(weights.length, 'weight')} quantized, ${visible(method)} (${visible(format)})`),
    );
  }
  if (layers.length > 0) lines.push(formatTable(layers, tensorColumns, { paint, width }), '');
  lines.push(
    paint('bold', `${plural(layers.length, 'weight')} can be quantized: ${formatBytes(bytes.quantizable)}`),
    `${plural(others.length, 'other tensor')}: ${formatBytes(bytes.others)}`,
  );
  return lines.join('\n');
}
