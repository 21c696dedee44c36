// Measurements as tables, by the name they have in docs/performance.md.
import { markdownTable } from '../document';
import { rowsOf, type Row } from './rows';

const percent = (value: number): string => `${(100 * value).toFixed(0)} %`;
const ratio = (value: number): string => value.toFixed(value < 0.2 ? 3 : 2);
const small = (value: number): string => value.toExponential(0);
const size = (value: number): string => value.toLocaleString('en');

function machine(rows: readonly Row[]): string {
  const { blas, core, simd, cores } = rowsOf(rows, 'machine')[0]!;
  const peaks = rowsOf(rows, 'peak').map((row) => [
    `${row.precision}, ${size(row.order)}`,
    row.gemmGflops.toFixed(0),
    row.syrkGflops.toFixed(0),
  ]);
  const words = `${cores} cores; ${blas.replace(/ NO_LAPACKE| NO_AFFINITY/g, '')}, kernels for ${core}; our own kernels for ${simd}.`;
  return `${words}\n\n${markdownTable(['one thread, GF/s', 'GEMM', 'SYRK'], peaks)}`;
}

function inverse(rows: readonly Row[]): string {
  return markdownTable(
    ['N, r, precision', 'ms a neuron', 'of GEMM peak', 'times the plain walk', 'residual', 'workspace / r²'],
    rowsOf(rows, 'walk')
      .filter(({ form }) => form === 'inverse')
      .map((row) => [
        `${size(row.inFeatures)}, ${size(row.rank)}, ${row.precision}`,
        row.milliseconds.toPrecision(3),
        percent(row.usefulOfPeak),
        row.timesPlain === undefined ? '' : row.timesPlain.toFixed(0),
        small(row.residual),
        row.workspacePerRankSquared.toFixed(1),
      ]),
  );
}

function tableau(rows: readonly Row[]): string {
  return markdownTable(
    ['N, r, precision', 'ms a neuron', 'of one GEMM', 'times the plain walk', 'residual', 'workspace / r²'],
    rowsOf(rows, 'walk')
      .filter(({ form }) => form === 'tableau')
      .map((row) => [
        `${size(row.inFeatures)}, ${size(row.rank)}, ${row.precision}`,
        row.milliseconds.toPrecision(3),
        ratio(row.perGemm),
        row.timesPlain === undefined ? '' : row.timesPlain.toFixed(0),
        small(row.residual),
        row.workspacePerRankSquared.toFixed(1),
      ]),
  );
}

function pipeline(rows: readonly Row[]): string {
  return markdownTable(
    ['N, precision', 'walk', 'least squares and decoding', 'polish', 'together'],
    rowsOf(rows, 'pipeline').map((row) => [
      `${size(row.inFeatures)}, ${row.precision}`,
      ratio(row.walkPerGemm),
      ratio(row.decodePerGemm),
      ratio(row.polishPerGemm),
      ratio(row.perGemm),
    ]),
  );
}

function decoders(rows: readonly Row[]): string {
  return markdownTable(
    ['problem', 'seconds', 'GF of GEMM', "of the peer's", 'output error'],
    rowsOf(rows, 'gptq', 'gpfq').map((row) => [
      `${row.problem}, ${row.bench.toUpperCase()}`,
      row.seconds.toPrecision(2),
      row.gflopsOfGemm.toFixed(1),
      ratio(row.ofPeers),
      row.error.toFixed(4),
    ]),
  );
}

function gram(rows: readonly Row[]): string {
  return markdownTable(
    ['N, precision', 'rows', 'of SYRK'],
    rowsOf(rows, 'gram').map((row) => [
      `${size(row.inFeatures)}, ${row.precision}`,
      size(row.rows),
      percent(row.ofSyrk),
    ]),
  );
}

function cholesky(rows: readonly Row[]): string {
  return markdownTable(
    ['N, precision', "of GEMM's rate at N", "times LAPACK's", 'two threads'],
    rowsOf(rows, 'cholesky').map((row) => [
      `${size(row.order)}, ${row.precision}`,
      percent(row.ofPeak),
      row.timesLapack.toFixed(2),
      row.speedup.toFixed(2),
    ]),
  );
}

function threads(rows: readonly Row[]): string {
  return markdownTable(
    ['task', 'threads', 'times one thread'],
    rowsOf(rows, 'threads').map((row) => [row.task, String(row.threads), row.speedup.toFixed(2)]),
  );
}

function memory(rows: readonly Row[]): string {
  return markdownTable(
    ['task', 'MiB above its data', 'N × N float64 matrices'],
    rowsOf(rows, 'memory').map((row) => [
      row.rows === undefined
        ? `${row.task}, N = ${size(row.inFeatures)}, ${row.neurons} neurons, ${row.threads} threads`
        : `${row.task}, N = ${size(row.inFeatures)}, ${size(row.rows)} rows`,
      row.megabytes.toFixed(0),
      row.perMatrix.toFixed(1),
    ]),
  );
}

export const tables: Record<string, (rows: readonly Row[]) => string> = {
  machine,
  inverse,
  tableau,
  pipeline,
  decoders,
  gram,
  cholesky,
  threads,
  memory,
};
