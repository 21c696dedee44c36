import { traitsOf } from '../methods';
import type { LayerReport, Method } from '../types';
import type { DataCounts, InspectedLayer, Inspection, Report } from '../models/types';
import { budgetTable } from './budget';
import { type Column, formatTable } from './columns';
import {
  againstFloatColumn,
  errorColumnsFor,
  errorLegend,
  hasErrors,
  ownColumn,
  storedColumn,
  weightErrorColumn,
} from './error-columns';
import { passesLine } from './passes';
import { change, headline, leftNames, type Run, runOf, shareTable } from './shares';
import { provenanceLines } from './provenance';
import { fewOf, type Paint, painter, visible } from './text';
import {
  formatBytes,
  formatCount,
  formatDecibels,
  formatPercent,
  formatSeconds,
  percentCell,
  plural,
} from './units';

export interface TableOptions {
  /** Whether to use the escape codes of terminals. */
  color: boolean;
  /** Characters in a line of the terminal; without it lines are as long as they need to be. */
  width?: number | undefined;
}

/** Names and lines that a list has before it says how many more there are. */
const mostNames = 6;
const mostLines = 20;

const layerColumns: Column<LayerReport>[] = [
  { title: 'layer', cell: ({ name }) => name },
  { title: 'shape', cell: ({ shape }) => shape.join('×'), align: 'right', dispensable: 4 },
  { title: 'method', cell: methodOf, dispensable: 1 },
  { title: 'bits', cell: ({ bits }) => String(bits), align: 'right', dispensable: 1 },
  storedColumn,
  { title: 'group', cell: ({ groupSize }) => String(groupSize), align: 'right', dispensable: 6 },
  { title: 'samples', cell: ({ samples }) => String(samples), align: 'right', dispensable: 7 },
  { title: 'rank', cell: ({ rank }) => String(rank), align: 'right', dispensable: 5 },
  { title: 'off alphabet', cell: offAlphabet, align: 'right', dispensable: 2 },
  weightErrorColumn,
  ownColumn,
  againstFloatColumn,
  { title: 'weighted', cell: weightedError, align: 'right', dispensable: 3 },
  { title: 'effective', cell: effectiveRows, align: 'right', dispensable: 7 },
  { title: 'SQNR', cell: ({ sqnrDb }) => formatDecibels(sqnrDb), align: 'right', dispensable: 3 },
  { title: 'size', cell: ({ bytes }) => change(bytes), align: 'right', dispensable: 3 },
  { title: 'time', cell: ({ seconds }) => formatSeconds(seconds), align: 'right', dispensable: 8 },
];

/** The method, and the one that was asked for where it was not kept. */
function methodOf({ method, fellBackFrom }: LayerReport): string {
  return fellBackFrom === null ? method : `${method}, not ${fellBackFrom}`;
}

/** Under the weights of rows: on those held out, or where there are none on those of the fit. */
export function weightedError({ weighted }: LayerReport): string {
  return percentCell(weighted && (weighted.holdout ?? weighted.calibration));
}

/** As how many rows of one weight these count. */
function effectiveRows({ weighted }: LayerReport): string {
  return formatCount(weighted && Math.round(weighted.effectiveRows));
}

/** Without what is told of weighted rows alone where there are none, and errors that no layer has. */
export function columnsFor(
  columns: readonly Column<LayerReport>[],
  layers: readonly LayerReport[],
): Column<LayerReport>[] {
  const isWeighted = layers.some(({ weighted }) => weighted !== null);
  return errorColumnsFor(columns, layers).filter(
    ({ cell }) => isWeighted || (cell !== weightedError && cell !== effectiveRows),
  );
}

/** Whether the walk alone decides which weights are left to be rounded; other methods move nearly all of them. */
const walksOnly = ({ method }: LayerReport) => traitsOf(method as Method)?.certifies ?? false;

/** Weights per neuron that were rounded, and their share of the inputs. */
function offAlphabet(layer: LayerReport): string {
  const { freeEntries, shape } = layer;
  if (!walksOnly(layer)) return formatCount(null);
  return `${formatCount(freeEntries)} (${formatPercent(freeEntries / shape[1])})`;
}

/**
 * A report as tables: totals; a layer a line; what became of all bytes; then the weights that could not be quantized, and warnings. In a
 * narrow terminal, values that all layers share go above the table, and less important columns are left out. Errors are relative
 * output errors (LayerReport); without data, those of the weights.
 */
export function layerTable(report: Omit<Report, 'files'>, { color, width }: TableOptions): string {
  const { layers } = report;
  const columns = columnsFor(layerColumns, layers).filter(
    (column) =>
      (column.cell !== offAlphabet || layers.some(walksOnly)) &&
      (column !== weightErrorColumn || !hasErrors(layers)),
  );
  const rows = layerRows(layers, columns, { color, width });
  return runSummary(report, runOf(report), rows, { color, width });
}

/** A layer a line, and what their errors mean; empty without any. */
export function layerRows(
  layers: readonly LayerReport[],
  columns: readonly Column<LayerReport>[],
  { color, width }: TableOptions,
): string {
  if (layers.length === 0) return '';
  const paint = painter(color);
  const legend = errorLegend(layers);
  return [formatTable(layers, columns, { paint, width }), legend && paint('dim', legend)]
    .filter(Boolean)
    .join('\n');
}

/** `layerTable` without its layers. */
export function layerSummary(report: Omit<Report, 'files'>, look: TableOptions): string {
  return runSummary(report, runOf(report), '', look);
}

/** What all reports on a run say, `rows` after the first line. */
export function runSummary(
  report: Pick<Report, 'layers' | 'seconds' | 'warnings' | 'calibration' | 'budget'>,
  run: Run,
  rows: string,
  { color, width }: TableOptions,
): string {
  const paint = painter(color);
  const totals = paint('bold', `${headline(run)}; in ${formatSeconds(report.seconds)}`);
  const notes = [...foldedNames(run), passesLine(report.layers), warningLines(report, paint)]
    .filter(Boolean)
    .join('\n');
  const data = report.calibration ? countsLine(report.calibration) : '';
  const widths = report.budget ? budgetTable(report.budget, { paint, width }) : '';
  return [[totals, data].filter(Boolean).join('\n'), rows, shareTable(run, { paint, width }), widths, notes]
    .filter(Boolean)
    .join('\n\n');
}

/** What text the layers were fitted to; nothing of other data, which each layer's samples tell. */
function countsLine({ fit, holdout }: DataCounts): string {
  if (fit.tokens === null) return '';
  const of = ({ documents, samples, tokens }: DataCounts['fit']) =>
    [
      ...(documents === null ? [] : [plural(documents, 'document')]),
      plural(samples, documents === null ? 'sample' : 'window'),
      plural(tokens ?? 0, 'token'),
    ].join(', ');
  return `fitted to ${of(fit)}; held out: ${holdout.samples === 0 ? 'none' : of(holdout)}`;
}

/** `leftNames`, folded: layers are often left by the dozen for the same reason. */
export function foldedNames(run: Run): string[] {
  const [title, ...lines] = leftNames(run);
  return title === undefined ? [] : [title, ...folded(lines)];
}

/** Warnings of several layers that differ in nothing but numbers are one line, with those of the layer whose first number is the largest. */
export function warningLines(report: Pick<Report, 'layers' | 'warnings'>, paint: Paint): string {
  const all = [
    ...report.warnings.map((text) => ({ text, name: '' })),
    ...report.layers.flatMap(({ name, warnings: texts }) => texts.map((text) => ({ text, name }))),
  ];
  const groups = new Map<string, Warning[]>();
  for (const warning of all) {
    const group = groups.get(keyOf(warning));
    if (group) group.push(warning);
    else groups.set(keyOf(warning), [warning]);
  }
  const lines = [...groups.values()].map((alike) => {
    const differ = alike.some(({ text }) => text !== alike[0]!.text);
    alike.sort((a, b) => firstNumber(b) - firstNumber(a));
    const names = [...new Set(alike.map(({ name }) => visible(name)))].filter(Boolean);
    const where = `${fewOf(names, mostNames)}${differ && names.length > 1 ? ', the worst first' : ''}`;
    return `${paint('yellow', 'warning:')} ${where === '' ? '' : `${where}: `}${visible(alike[0]!.text)}`;
  });
  return folded(lines).join('\n');
}

interface Warning {
  text: string;
  /** Of its layer; empty for a run's own. */
  name: string;
}

const numbers = /\d+(?:\.\d+)?/g;
const keyOf = ({ text, name }: Warning) =>
  name === '' ? `run ${text}` : `layer ${text.replace(numbers, '#')}`;
const firstNumber = ({ text }: Warning) => Number(text.match(numbers)?.[0] ?? 0);

function folded(lines: string[]): string[] {
  if (lines.length <= mostLines + 1) return lines;
  return [
    ...lines.slice(0, mostLines),
    `  … and ${lines.length - mostLines} more, all of them in the JSON report`,
  ];
}

const inspectedColumns: Column<InspectedLayer>[] = [
  { title: 'layer', cell: ({ name }) => name },
  { title: 'operator', cell: ({ kind }) => kind, dispensable: 2 },
  { title: 'shape', cell: ({ shape }) => shape.join('×'), align: 'right' },
  { title: 'parameters', cell: ({ parameters }) => String(parameters), align: 'right', dispensable: 3 },
  { title: 'size', cell: ({ bytes }) => formatBytes(bytes), align: 'right' },
  { title: 'weight', cell: ({ weight }) => weight, dispensable: 4 },
];

/** What a model holds: its layers that can be quantized, its other weights, inputs and outputs. */
export function inspectionTable(inspection: Inspection, { color, width }: TableOptions): string {
  const paint = painter(color);
  const { layers, others, bytes, inputs, outputs, opsets } = inspection;
  const versions = Object.entries(opsets).map(
    ([domain, version]) => `${visible(domain || 'ai.onnx')} ${version}`,
  );
  const producer = inspection.producer === '' ? '' : `, from ${visible(inspection.producer)}`;
  const lines = [
    paint(
      'bold',
      `${visible(inspection.input)}: ONNX IR ${inspection.irVersion}, opset ${versions.join(', ')}${producer}`,
    ),
    ...inputs.map((value) => `  input   ${describeValue(value)}`),
    ...outputs.map((value) => `  output  ${describeValue(value)}`),
    '',
  ];
  if (layers.length > 0) lines.push(formatTable(layers, inspectedColumns, { paint, width }), '');
  const share = bytes.file > 0 ? ` (${formatPercent(bytes.quantizable / bytes.file)})` : '';
  lines.push(
    paint(
      'bold',
      `${plural(layers.length, 'layer')} can be quantized: ${formatBytes(bytes.quantizable)} of ${formatBytes(bytes.file)}${share}`,
    ),
  );
  if (others.length > 0) {
    const list = others.map(
      ({ kind, count, bytes: size }) => `${count} of ${visible(kind)} (${formatBytes(size)})`,
    );
    lines.push(`Other weights, ${formatBytes(bytes.otherWeights)}: ${fewOf(list, mostLines)}`);
  }
  if (inspection.provenance) lines.push('', ...provenanceLines(inspection.provenance));
  return lines.join('\n');
}

function describeValue({ name, type, dims }: Inspection['inputs'][number]): string {
  return `${visible(name)}  ${visible(type)}[${dims?.map((dim) => visible(String(dim ?? '?'))).join(', ') ?? '…'}]`;
}
