import test, { type ExecutionContext } from 'ava';
import { node, tensor } from '../../../lib/models/onnx/make';
import { feed, float, folder as folderOf, network, random } from '../networks';
import { byDifferences, layersOf, opened, swept } from './differences';

// What the sweep back gives, row by row, against central differences of the whole network.

const weight = (name: string, dims: number[], seed: number) =>
  tensor(
    name,
    dims,
    random(
      dims.reduce((a, b) => a * b, 1),
      seed,
    ),
  );

const lastAxis = (row: number, dims: readonly number[]) =>
  Array.from({ length: dims.at(-1)! }, (_, i) => row * dims.at(-1)! + i);

function close(t: ExecutionContext, found: Float32Array, rows: number[], wanted: number[], what: string) {
  const most = Math.max(...wanted);
  for (const [i, row] of rows.entries())
    t.true(
      Math.abs(found[row]! - wanted[i]!) <= 0.02 * wanted[i]! + 1e-4 * most,
      `${what}, row ${row}: ${found[row]} and ${wanted[i]}`,
    );
}

test('of classes: two batches, a weight on each side of a product, a value that is used twice', async (t) => {
  const model = network({
    nodes: [
      node('Gemm', ['x', 'a', 'bias'], ['h1'], { attributes: { transB: 1n, alpha: 0.5 } }),
      node('Tanh', ['h1'], ['h2']),
      node('MatMul', ['h2', 'b'], ['h3']),
      node('Mul', ['h3', 'h2'], ['h4']),
      node('Transpose', ['h4'], ['h5'], { attributes: { perm: [1n, 0n] } }),
      node('MatMul', ['c', 'h5'], ['h6']),
      node('Transpose', ['h6'], ['h7'], { attributes: { perm: [1n, 0n] } }),
      node('Softmax', ['h7'], ['y'], { attributes: { axis: -1n } }),
    ],
    constants: [
      weight('a', [6, 5], 1),
      weight('bias', [6], 2),
      weight('b', [6, 6], 3),
      weight('c', [4, 6], 4),
    ],
    inputs: [float('x', ['n', 5])],
  });
  const own = opened(model);
  const [a, b, c] = layersOf(own);
  const feeds = [feed([7, 5], 11), feed([3, 5], 12)];
  const { squares, reasons } = await swept(folderOf(t), { opened: own, layers: [a!, b!, c!], feeds });
  t.is(reasons.size, 0);
  const [before, all] = [7, [0, 1, 2]];
  const columns = (row: number, [rows, count]: readonly number[]) =>
    Array.from({ length: rows! }, (_, i) => i * count! + row);
  for (const [layer, entries] of [
    [a!, lastAxis],
    [b!, lastAxis],
    [c!, columns],
  ] as const) {
    const found = squares.get(layer.name)!;
    t.deepEqual(
      found.map(({ length }) => length),
      [7, 3],
    );
    // What Gemm multiplies with 0.5 is felt half as much: weights are to each other what they were.
    const wanted = await byDifferences(model, layer, feeds[1]!, { before, rows: all }, entries);
    close(t, found[1]!, all, wanted, layer.name);
  }
});

test('layers that no gradient reaches are told with the operator that stands before them', async (t) => {
  const model = network({
    nodes: [
      node('MatMul', ['x', 'a'], ['h1'], { name: 'first' }),
      node('Reshape', ['h1', 'shape'], ['h2']),
      node('Det', ['h2'], ['h3'], { name: 'odd' }),
      node('Unsqueeze', ['h3', 'axes'], ['h4']),
      node('MatMul', ['h4', 'b'], ['y'], { name: 'second' }),
      node('MatMul', ['x', 'c'], ['unused'], { name: 'third' }),
    ],
    constants: [
      ...[weight('a', [5, 4], 1), weight('b', [1, 3], 2), weight('c', [5, 3], 3)],
      tensor('shape', [3], BigInt64Array.of(-1n, 2n, 2n)),
      tensor('axes', [1], BigInt64Array.of(1n)),
    ],
    inputs: [float('x', ['n', 5])],
  });
  const own = opened(model);
  const layers = layersOf(own);
  const { squares, reasons } = await swept(folderOf(t), { opened: own, layers, feeds: [feed([6, 5], 5)] });
  t.regex(reasons.get('first')!, /no gradient passes the operator Det \("odd"\)/);
  t.is(reasons.get('third'), 'no output of the network depends on it');
  t.deepEqual([...reasons.keys()].sort(), ['first', 'third']);
  t.is(squares.get('second')![0]!.length, 6);
});
