import { markdownTable } from '../document';
import type { CaseResult } from './case';

const mebibytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(0);

/** Each line's times over those of the line before, which is half as deep. */
export function timeTable(results: readonly CaseResult[]): string {
  const ratio = (of: (result: CaseResult) => number, i: number): string =>
    i === 0 ? '' : (of(results[i]!) / of(results[i - 1]!)).toFixed(2);
  const outside = ({ seconds, fitSeconds }: CaseResult): number => seconds - fitSeconds;
  return markdownTable(
    ['layers', 'seconds', 'over half as many', 'outside the fits, seconds', 'over half as many'],
    results.map((result, i) => [
      result.title,
      result.seconds.toFixed(2),
      ratio(({ seconds }) => seconds, i),
      outside(result).toFixed(2),
      ratio(outside, i),
    ]),
  );
}

/** How much more the deepest takes than the first. */
export function memoryTable(results: readonly CaseResult[]): string {
  return markdownTable(
    ['layers', 'files, MiB', 'peak, MiB', 'over the first', 'seconds'],
    results.map(({ title, bytes, peak, seconds }) => [
      title,
      mebibytes(bytes),
      mebibytes(peak),
      (peak / results[0]!.peak).toFixed(2),
      seconds.toFixed(0),
    ]),
  );
}

export function largeTable({ title, bytes, peak, seconds }: CaseResult): string {
  return markdownTable(
    ['layers', 'files, MiB', 'peak, MiB', 'of the files', 'seconds'],
    [[title, mebibytes(bytes), mebibytes(peak), (peak / bytes).toFixed(2), seconds.toFixed(0)]],
  );
}

export function soundTable(results: readonly CaseResult[]): string {
  return markdownTable(
    ['clips', 'seconds', 'of all cores', 'peak, MiB', 'patches that the layers were fitted to'],
    results.map(({ title, seconds, cpuSeconds, peak, samples }) => [
      title,
      seconds.toFixed(1),
      cpuSeconds.toFixed(1),
      mebibytes(peak),
      samples.map((count) => count.toLocaleString('en')).join(', '),
    ]),
  );
}
