import type { Errors, LayerReport } from '../types';
import type { Column } from './columns';
import { percentCell } from './units';

/** What is told of errors in one number: on held-out rows, or where none were held out on those of the fit. */
export const toldError = (errors: Errors | null): number | null =>
  errors && (errors.holdout ?? errors.calibration);

/** The two errors of layers, as they are called everywhere (LayerReport). */
export const ownColumn: Column<LayerReport> = {
  title: 'own',
  cell: ({ error }) => percentCell(toldError(error.own)),
  align: 'right',
};
export const againstFloatColumn: Column<LayerReport> = {
  title: 'against float',
  cell: ({ error }) => percentCell(toldError(error.againstFloat)),
  align: 'right',
};
export const weightErrorColumn: Column<LayerReport> = {
  title: 'weight error',
  cell: ({ error }) => percentCell(error.weight),
  align: 'right',
};

export const storedColumn: Column<LayerReport> = {
  title: 'stored',
  cell: ({ storedBits }) => storedBits.toFixed(2),
  align: 'right',
  dispensable: 2,
};

/** Whether any layer has an error of outputs. */
export const hasErrors = (layers: readonly LayerReport[]): boolean =>
  layers.some(({ error }) => toldError(error.own) !== null);
const hasFloat = (layers: readonly LayerReport[]): boolean =>
  layers.some(({ error }) => toldError(error.againstFloat) !== null);

/** What the columns of a table of these layers mean, in a line; empty where there are none. */
export function errorLegend(layers: readonly LayerReport[]): string {
  if (!hasErrors(layers)) return '';
  const heldOut = layers.some(
    ({ error }) => error.own.holdout !== null || (error.againstFloat?.holdout ?? null) !== null,
  );
  const parts = ['own: error of the layer alone, on the inputs that it sees'];
  if (hasFloat(layers)) parts.push('against float: with the errors of the layers before it');
  return `${parts.join('; ')} (${heldOut ? 'on held-out rows' : 'on the rows of the fit: none were held out'})`;
}

/** Without columns that no layer has anything to tell in. */
export const errorColumnsFor = (
  columns: readonly Column<LayerReport>[],
  layers: readonly LayerReport[],
): Column<LayerReport>[] =>
  columns.filter(
    (column) =>
      (column !== ownColumn || hasErrors(layers)) && (column !== againstFloatColumn || hasFloat(layers)),
  );
