// Tables of the results.
import { markdownTable } from '../document';
import { groups, methods, type Result, rival, widths } from './measure';

const mean = (values: readonly number[]): number =>
  Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);

/** Held-out errors of a method at a width, layer by layer, over those of another. */
function ratios(
  results: readonly Result[],
  [bits, groupSize]: readonly [number, number | 'channel'],
  method: string,
  base: string,
): number[] {
  const of = (wanted: string): Result[] =>
    results.filter((r) => r.bits === bits && r.groupSize === groupSize && r.method === wanted);
  const bases = of(base);
  return of(method).map(({ holdout }, i) => holdout / bases[i]!.holdout);
}

const settings = widths.flatMap((bits) => groups.map((groupSize) => [bits, groupSize] as const));

/** Geometric means over layers of the held-out error, relative to the rival's. */
export function meansTable(results: readonly Result[]): string {
  const names = Object.keys(methods);
  const lines = settings.map((setting) => [
    `${setting[0]} bits, ${setting[1] === 'channel' ? 'per neuron' : `groups of ${setting[1]}`}`,
    ...names.map((name) => mean(ratios(results, setting, name, rival)).toFixed(3)),
  ]);
  const all = names.map((name) =>
    mean(settings.flatMap((setting) => ratios(results, setting, name, rival))).toFixed(3),
  );
  return markdownTable([`relative to ${rival}`, ...names], [...lines, ['**all**', ...all]]);
}

/** `vertex` against each rival over all cases: the mean, the best and the worst. */
export function summaryTable(results: readonly Result[]): string {
  return markdownTable(
    ['vertex against', 'mean', 'least', 'most', 'effort 0: mean', 'most'],
    Object.keys(methods)
      .filter((name) => !name.startsWith('vertex'))
      .map((name) => {
        const [full, walk] = ['vertex', 'vertex, effort 0'].map((method) =>
          settings.flatMap((setting) => ratios(results, setting, method, name)),
        ) as [number[], number[]];
        return [name, mean(full), Math.min(...full), Math.max(...full), mean(walk), Math.max(...walk)].map(
          (cell) => (typeof cell === 'number' ? cell.toFixed(3) : cell),
        );
      }),
  );
}

/** Every layer's held-out errors in %. */
export function layersTable(results: readonly Result[], method: string): string {
  const layers = [...new Set(results.map(({ layer }) => layer))];
  const columns = widths.flatMap((bits) => groups.map((groupSize) => ({ bits, groupSize })));
  return markdownTable(
    [method, ...columns.map(({ bits, groupSize }) => `${bits}, ${groupSize}`)],
    layers.map((layer) => [
      layer,
      ...columns.map(({ bits, groupSize }) => {
        const found = results.find(
          (r) => r.layer === layer && r.bits === bits && r.groupSize === groupSize && r.method === method,
        )!;
        return (100 * found.holdout).toFixed(2);
      }),
    ]),
  );
}
