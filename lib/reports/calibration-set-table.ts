import type { WrittenCalibrationSet } from '../models/write-calibration-set';
import { type Column, formatTable } from './columns';
import { warningLines } from './table';
import { type Paint, visible } from './text';
import { formatBytes, plural } from './units';

const columns: Column<WrittenCalibrationSet['tensors'][number]>[] = [
  { title: 'input', cell: ({ name }) => name },
  { title: 'type', cell: ({ type }) => type },
  { title: 'shape', cell: ({ dims }) => (dims.length === 0 ? 'a number' : dims.join('×')), align: 'right' },
];

/** What a calibration set holds: an input a line. */
export function calibrationSetTable(
  { tensors, samples, bytes, output, warnings }: WrittenCalibrationSet,
  look: { paint: Paint; width: number | undefined },
): string {
  return [
    formatTable(tensors, columns, look),
    '',
    `${plural(samples, 'sample')}, ${formatBytes(bytes)}: ${visible(output)}`,
    ...(warnings.length > 0 ? [warningLines({ warnings, layers: [] }, look.paint)] : []),
  ].join('\n');
}
