import type {
  CheckpointInspection,
  CheckpointReport,
  InspectedTensor,
  Verification,
  VerifiedWeight,
} from '../checkpoints/types';
import type { InspectedWeight } from '../types';
import type { Errors, LayerReport } from '../types';
import { type Column, formatTable, numberCell } from './columns';
import { againstFloatColumn, ownColumn, storedColumn, weightErrorColumn } from './error-columns';
import { runOf } from './shares';
import { columnsFor, layerRows, runSummary, type TableOptions, weightedError } from './table';
import { provenanceLines } from './provenance';
import { fewOf, painter, visible } from './text';
import { formatBytes, formatPercent, formatSeconds, percentCell, plural } from './units';

const shapeOf = ({ shape }: { shape: readonly number[] }) => shape.join('×');

const layerColumns: Column<LayerReport>[] = [
  { title: 'weight', cell: ({ name }) => name },
  { title: 'shape', cell: shapeOf, align: 'right', dispensable: 4 },
  { title: 'method', cell: ({ method }) => method, dispensable: 1 },
  { title: 'bits', cell: ({ bits }) => String(bits), align: 'right', dispensable: 1 },
  { title: 'group', cell: ({ groupSize }) => String(groupSize), align: 'right', dispensable: 2 },
  storedColumn,
  weightErrorColumn,
  ownColumn,
  againstFloatColumn,
  { title: 'weighted', cell: weightedError, align: 'right', dispensable: 3 },
  { title: 'size', cell: ({ bytes }) => formatBytes(bytes.after), align: 'right', dispensable: 5 },
];

/** A report on a checkpoint: totals, a weight a line, what became of all bytes. */
export function checkpointTable(report: CheckpointReport, { color, width }: TableOptions): string {
  const { layers } = report;
  const rows = layerRows(layers, columnsFor(layerColumns, layers), { color, width });
  return summary(report, rows, { color, width });
}

/** `checkpointTable` without its weights. */
export function checkpointSummary(report: CheckpointReport, look: TableOptions): string {
  return summary(report, '', look);
}

/** How many tokens experts saw. */
function expertLines(layers: readonly LayerReport[]): string[] {
  const experts = layers.flatMap(({ expert }) => expert ?? []);
  if (experts.length === 0) return [];
  const rows = experts.map((expert) => expert.rows).sort((a, b) => a - b);
  const few = experts.filter(({ fittedTo }) => fittedTo === 'all').length;
  const median = rows[Math.floor(rows.length / 2)]!;
  return [
    `${plural(experts.length, 'weight')} of experts saw ${rows[0]} tokens at the least, ${median} in the median` +
      (few === 0 ? '' : `; ${few} saw fewer than they have inputs, and are fitted to all tokens`),
  ];
}

/** What tuning did to blocks. */
function tunedLines(layers: readonly LayerReport[]): string[] {
  const blocks = new Map(layers.flatMap(({ tuned }) => (tuned ? [[tuned.block, tuned] as const] : [])));
  if (blocks.size === 0) return [];
  const all = [...blocks.values()];
  const kept = all.filter(({ isKept }) => isKept);
  const meanOf = (errors: readonly Errors[]) =>
    errors.reduce((sum, { calibration, holdout }) => sum + (holdout ?? calibration ?? 0), 0) / errors.length;
  const before = meanOf(all.map((block) => block.before));
  const after = meanOf(all.map((block) => (block.isKept ? block.after : block.before)));
  const told = all.some(({ before: { holdout } }) => holdout !== null) ? ' on held-out rows' : '';
  return [
    `scales of ${plural(all.length, 'block')} tuned: mean error against the float network${told} ${formatPercent(before)}, then ${formatPercent(after)}` +
      (kept.length === all.length
        ? ''
        : `; ${all.length - kept.length} had no lower one, and stay as they were`),
  ];
}

function summary(report: CheckpointReport, rows: string, look: TableOptions): string {
  const { layers, resumed, bytes, seconds } = report;
  const lines = [
    runSummary(report, runOf(report), rows, look),
    ...expertLines(layers),
    ...tunedLines(layers),
  ];
  if (resumed > 0) lines.push(`${formatBytes(resumed)} had been done by an interrupted run`);
  else if (seconds > 0) lines.push(`${formatBytes(bytes.before / seconds)}/s`);
  return lines.join('\n');
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
  const { files, layers, others, quantization, quantizedAlready, bytes, input, metadata } = found;
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
  if (found.provenance) lines.push('', ...provenanceLines(found.provenance));
  if (/\.gguf$/i.test(input))
    lines.push('', ...Object.entries(metadata).map(([key, value]) => visible(`${key} = ${value}`)));
  if (quantizedAlready.length > 0)
    lines.push(
      `quantized already: ${visible(fewOf(quantizedAlready, 3))} (quantize stops there; --allow-quantized leaves such weights as they are)`,
    );
  return lines.join('\n');
}

const verifiedColumns: Column<VerifiedWeight>[] = [
  { title: 'weight', cell: ({ name }) => name },
  { title: 'shape', cell: shapeOf, align: 'right', dispensable: 2 },
  { title: 'bits', cell: ({ bits }) => numberCell(bits), align: 'right', dispensable: 1 },
  { title: 'group', cell: ({ groupSize }) => numberCell(groupSize), align: 'right', dispensable: 3 },
  { title: 'weight error', cell: ({ error }) => percentCell(error), align: 'right' },
  { title: 'size', cell: ({ bytes }) => formatBytes(bytes), align: 'right', dispensable: 4 },
];

/** What reading a checkpoint back has shown. */
export function verificationTable(
  { quantized, original, weights, identical, manifest, faults, notCompared, seconds }: Verification,
  { color, width }: TableOptions,
): string {
  const paint = painter(color);
  const lines = weights.length > 0 ? [formatTable(weights, verifiedColumns, { paint, width }), ''] : [];
  lines.push(
    paint(
      'bold',
      `${visible(quantized)}: ${plural(weights.length, 'weight')} read back in ${formatSeconds(seconds)}`,
    ),
  );
  if (original !== null)
    lines.push(
      `${plural(identical.tensors, 'other tensor')}, ${formatBytes(identical.bytes)}: byte for byte as in ${visible(original)}`,
    );
  if (manifest)
    lines.push(
      `${plural(manifest.files, 'file')}, ${formatBytes(manifest.bytes)}: compared with the checksums that were written with them`,
    );
  for (const left of notCompared) lines.push(paint('yellow', `not compared: ${visible(left)}`));
  for (const fault of faults) lines.push(paint('red', visible(fault)));
  return lines.join('\n');
}
