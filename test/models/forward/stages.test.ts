import test from 'ava';
import fc from 'fast-check';
import { findLayers } from '../../../lib/models/layers/find-layers';
import { Graph, usedBy } from '../../../lib/containers/onnx/graph';
import { node, tensor } from '../../../lib/containers/onnx/make';
import type { ModelProto, NodeProto } from '../../../lib/containers/onnx/onnx_pb';
import { stagesOf } from '../../../lib/models/forward/stages';
import { float, network, random } from '../networks';
import { networks } from './random-networks';

const planned = (model: ModelProto) => {
  const graph = new Graph(model, 'a file');
  const { layers } = findLayers(graph);
  return { graph, layers, stages: stagesOf(graph, layers) };
};

/** Nodes that a value depends on. */
function ancestors(graph: Graph, value: string): Set<NodeProto> {
  const found = new Set<NodeProto>();
  const pending = [value];
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    const maker = graph.producerOf(name);
    if (!maker || found.has(maker)) continue;
    found.add(maker);
    pending.push(...usedBy(maker));
  }
  return found;
}

test('stages: each node that depends on data runs once, on what is there, and nothing stays for longer than needed', (t) => {
  fc.assert(
    fc.property(networks, (model) => {
      const { graph, layers, stages } = planned(model);
      const names = (some: typeof layers) => some.map(({ name }) => name).sort();
      t.deepEqual(names(stages.flatMap((stage) => stage.layers)), names(layers));
      const isConstant = (made: NodeProto) =>
        [made, ...made.output.flatMap((name) => [...ancestors(graph, name)])].every(
          ({ input }) => !input.includes('x'),
        );
      const runs = new Map<NodeProto, number>();
      const there = new Set(['x']);
      for (const [i, stage] of stages.entries()) {
        const known = new Set([...stage.inputs, ...graph.proto.initializer.map(({ name }) => name)]);
        for (const name of stage.inputs) t.true(there.has(name), `${name} is there`);
        for (const made of stage.nodes) {
          for (const name of made.input) t.true(known.has(name), `${name} is known`);
          for (const name of made.output) known.add(name);
          runs.set(made, (runs.get(made) ?? 0) + 1);
        }
        t.true(known.has(stage.target));
        for (const { input } of stage.layers) t.is(input!.value, stage.target);
        for (const name of stage.kept) there.add(name);
        const later = new Set(stages.slice(i + 1).flatMap(({ inputs }) => inputs));
        for (const name of stage.last) there.delete(name);
        there.delete('x');
        t.deepEqual(
          [...there].filter((name) => !later.has(name)),
          [],
        );
        there.add('x');
      }
      const needed = new Set(layers.flatMap(({ input }) => [...ancestors(graph, input!.value)]));
      for (const made of needed)
        if (isConstant(made)) t.true(runs.get(made)! >= 1);
        else t.is(runs.get(made), 1, made.name);
      t.is(runs.size, needed.size);
    }),
    { numRuns: 100 },
  );
});

test('a chain of 20,000 nodes with a layer at each end, and one of 2,000 layers', (t) => {
  const chain = (count: number, isLayer: (i: number) => boolean) =>
    network({
      nodes: Array.from({ length: count }, (_, i) => {
        const [from, to] = [i === 0 ? 'x' : `v${i - 1}`, `v${i}`];
        return isLayer(i) ? node('MatMul', [from, 'w'], [to]) : node('Tanh', [from], [to]);
      }),
      constants: [tensor('w', [4, 4], random(16, 1))],
      outputs: [float(`v${count - 1}`)],
    });
  const ends = planned(chain(20_000, (i) => i === 0 || i === 19_999)).stages;
  t.deepEqual(
    ends.map(({ nodes, inputs, kept, last }) => [nodes.length, inputs, kept, last]),
    [
      [0, ['x'], [], []],
      [19_999, ['x'], [], ['x']],
    ],
  );
  const { stages } = planned(chain(4000, (i) => i % 2 === 0));
  t.is(stages.length, 2000);
  t.true(stages.every(({ nodes, inputs }, i) => nodes.length === (i === 0 ? 0 : 2) && inputs.length === 1));
});
