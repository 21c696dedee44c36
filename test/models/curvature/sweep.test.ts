import test, { type ExecutionContext } from 'ava';
import { node, tensor } from '../../../lib/containers/onnx/make';
import type { Feeds } from '../../../lib/models/types';
import { inFolder } from '../../decoders/run';
import { cases, weightsIn, writeModel } from '../../decoders/tiny';
import { feed, float, folder as folderOf, network, weight } from '../networks';
import { byDifferences, layersOf, opened, swept } from './differences';

// What the sweep back gives, row by row, against central differences of the whole network.

const lastAxis = (row: number, dims: readonly number[]) =>
  Array.from({ length: dims.at(-1)! }, (_, i) => row * dims.at(-1)! + i);

/** Of [batch, channels, ...space]: the channels of a position. */
function channelsAt(row: number, [, channels, ...space]: readonly number[]): number[] {
  const volume = space.reduce((a, b) => a * b, 1);
  const [batch, place] = [Math.floor(row / volume), row % volume];
  return Array.from({ length: channels! }, (_, c) => (batch * channels! + c) * volume + place);
}

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
    const wanted = await byDifferences(model, layer, feeds[1]!, { before, draws: 8, rows: all }, entries);
    close(t, found[1]!, all, wanted, layer.name);
  }
});

test('of convolutions, in the order of their patches: strides, padding, groups, a transposed one; other outputs by signs', async (t) => {
  const model = network({
    nodes: [
      node('Conv', ['x', 'a'], ['h1'], { attributes: { strides: [2n, 1n], pads: [1n, 0n, 0n, 2n] } }),
      node('Tanh', ['h1'], ['h2']),
      node('Conv', ['h2', 'b'], ['h3'], { attributes: { group: 2n } }),
      node('Tanh', ['h3'], ['h4']),
      node('ConvTranspose', ['h4', 'c'], ['h5'], {
        attributes: { strides: [2n, 2n], pads: [0n, 1n, 1n, 0n] },
      }),
      node('Tanh', ['h5'], ['y']),
    ],
    constants: [weight('a', [4, 2, 3, 2], 1), weight('b', [4, 2, 1, 2], 2), weight('c', [4, 3, 2, 3], 3)],
    inputs: [float('x', ['n', 2, 6, 5])],
  });
  const own = opened(model);
  const layers = layersOf(own);
  const feeds = [feed([2, 2, 6, 5], 21)];
  const { squares, reasons } = await swept(folderOf(t), { opened: own, layers, feeds });
  t.is(reasons.size, 0);
  const rows = [0, 3, 8, 13];
  const [first, second, transposed] = layers;
  for (const layer of [first!, second!]) {
    const wanted = await byDifferences(model, layer, feeds[0]!, { draws: 4, rows }, channelsAt);
    close(t, squares.get(layer.name)![0]!, rows, wanted, layer.name);
  }
  // A position of the input is added to a patch of the output, what of it is not cut away.
  const [height, width, taps] = [3, 5, [2, 3]];
  const outer = [2 * (height - 1) + 2 - 1, 2 * (width - 1) + 3 - 1];
  const patch = (row: number): number[] => {
    const [batch, place] = [Math.floor(row / (height * width)), row % (height * width)];
    const [y, x] = [Math.floor(place / width), place % width];
    const entries: number[] = [];
    for (let c = 0; c < 3; c++)
      for (let i = 0; i < taps[0]!; i++)
        for (let j = 0; j < taps[1]!; j++) {
          const [v, u] = [2 * y + i, 2 * x + j - 1];
          if (v < outer[0]! && u >= 0 && u < outer[1]!)
            entries.push(((batch * 3 + c) * outer[0]! + v) * outer[1]! + u);
        }
    return entries;
  };
  const found = squares.get(transposed!.name)![0]!;
  t.is(found.length, 2 * height * width);
  const wanted = await byDifferences(model, transposed!, feeds[0]!, { draws: 4, rows }, patch);
  // The means are of all the weight's outputs.
  const scaled = wanted.map((mean, i) => (mean * patch(rows[i]!).length) / 18);
  close(t, found, rows, scaled, transposed!.name);
});

const llama = cases.find(({ name }) => name === 'llama')!;

test('of a language model, block by block and its head some tokens at a time', async (t) => {
  const folder = folderOf(t);
  writeModel(folder, llama.config, weightsIn(llama), 'F32');
  const ids = [3, 17, 29, 5, 11, 38, 2, 9, 21, 14];
  const feeds: Feeds[] = [
    { input_ids: { data: BigInt64Array.from(ids, BigInt), dims: [2, 5], type: 'int64' } },
  ];
  await inFolder(folder, 5, async (decoder) => {
    const { ends, model, weights, graph } = decoder;
    const layers = layersOf(decoder).filter(({ name }) =>
      /layers\.[01]\.(self_attn\.[qvo]|mlp\.down)/.test(name),
    );
    // Three tokens a piece.
    const head = { from: ends.at(-1)!, vocabulary: Math.floor(2 ** 25 / 4 / 3) };
    const task = { opened: decoder, layers, feeds, ends };
    const { squares, reasons } = await swept(folder, { ...task, head });
    t.is(reasons.size, 0);
    const atOnce = await swept(folder, task, { threads: 1, memory: 0 });
    const whole = { ...model, graph: await weights.inlinedGraph(graph.proto) } as typeof model;
    const rows = [1, 3, 5];
    t.is(layers.length, 8);
    for (const [i, layer] of layers.entries()) {
      const [own] = squares.get(layer.name)!;
      t.is(own!.length, ids.length);
      // Products of other sizes are summed in other orders.
      close(t, own!, [...ids.keys()], [...atOnce.squares.get(layer.name)![0]!], layer.name);
      if (i % 4 > 0) continue;
      const wanted = await byDifferences(whole, layer, feeds[0]!, { draws: 8, rows }, lastAxis, 0.01);
      close(t, own!, rows, wanted, layer.name);
    }
  });
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
