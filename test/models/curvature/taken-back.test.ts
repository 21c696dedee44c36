import test from 'ava';
import { Graph } from '../../../lib/models/onnx/graph';
import { node, tensor } from '../../../lib/models/onnx/make';
import type { ModelLayer } from '../../../lib/models/layers/model-layers';
import { findLayers } from '../../../lib/models/layers/find-layers';
import { sharesLeft, valuesBehind } from '../../../lib/models/curvature/taken-back';
import { float, network, random } from '../networks';

const weight = (name: string, rows: number, cols: number) =>
  tensor(name, [rows, cols], random(rows * cols, 1));

/** A block as those of language models: queries and values through a product to `o`, `gate` and `up` to `down`, both added to what goes by them. */
const model = network({
  nodes: [
    node('MatMul', ['x', 'q.w'], ['q'], { name: 'q' }),
    node('MatMul', ['x', 'v.w'], ['v'], { name: 'v' }),
    node('Softmax', ['q'], ['p']),
    node('Mul', ['p', 'v'], ['c']),
    node('MatMul', ['c', 'o.w'], ['o'], { name: 'o' }),
    node('Add', ['x', 'o'], ['h']),
    node('MatMul', ['h', 'gate.w'], ['g'], { name: 'gate' }),
    node('MatMul', ['h', 'up.w'], ['u'], { name: 'up' }),
    node('Sigmoid', ['g'], ['s']),
    node('Mul', ['s', 'u'], ['a']),
    node('MatMul', ['a', 'down.w'], ['d'], { name: 'down' }),
    node('Add', ['h', 'd'], ['z']),
    node('MatMul', ['z', 'head.w'], ['y'], { name: 'head' }),
  ],
  constants: [
    ...['q', 'v', 'o'].map((name) => weight(`${name}.w`, 16, 16)),
    ...['gate', 'up'].map((name) => weight(`${name}.w`, 16, 32)),
    weight('down.w', 32, 16),
    weight('head.w', 16, 8),
  ],
  inputs: [float('x', [4, 16])],
});

const graph = new Graph(model, 'the model');
const layers = findLayers(graph).layers as unknown as ModelLayer[];
const named = (names: readonly string[]) => layers.filter(({ name }) => names.includes(name));
const behindOf = (own: readonly ModelLayer[], of = graph) =>
  Object.fromEntries([...valuesBehind(of, own)].map(([{ name }, value]) => [name, value]));

test('what a layer does goes through the layers that all ways from it to the outputs meet, if these see one value', (t) => {
  t.deepEqual(behindOf(layers), { q: 'c', v: 'c', gate: 'a', up: 'a', down: 'z' });
  // Where the head is not quantized, what down does is seen as it is; o goes by the layers that see h.
  t.deepEqual(behindOf(named(['q', 'v', 'o', 'gate', 'up', 'down'])), { q: 'c', v: 'c', gate: 'a', up: 'a' });
  t.deepEqual(behindOf(named(['q', 'o'])), { q: 'c' });
});

test('a value that is an output too is seen as it is', (t) => {
  const other = network({
    nodes: [
      node('MatMul', ['x', 'q.w'], ['q'], { name: 'q' }),
      node('MatMul', ['q', 'v.w'], ['v'], { name: 'v' }),
    ],
    constants: [weight('q.w', 16, 16), weight('v.w', 16, 16)],
    inputs: [float('x', [4, 16])],
    outputs: [float('q'), float('v')],
  });
  const own = new Graph(other, 'the model');
  t.deepEqual(behindOf(findLayers(own).layers as unknown as ModelLayer[], own), {});
});

test('shares multiply along the ways, are 1 where nothing takes anything back, and never more', (t) => {
  const brought = new Map([
    ['c', { uncorrected: 4, corrected: 1 }],
    ['a', { uncorrected: 2, corrected: 3 }],
    ['z', { uncorrected: 10, corrected: 5 }],
  ]);
  const shares = Object.fromEntries([...sharesLeft(graph, layers, brought)].map(([{ name }, share]) => [name, share])); // prettier-ignore
  t.deepEqual(shares, { q: 0.25, v: 0.25, o: 1, gate: 0.5, up: 0.5, down: 0.5, head: 1 });
  // What was not measured takes nothing back.
  t.deepEqual(new Set(sharesLeft(graph, layers, new Map()).values()), new Set([1]));
});
