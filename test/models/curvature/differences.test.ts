import test from 'ava';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { Differences } from '../../../lib/models/curvature/differences';
import { Sweep } from '../../../lib/models/curvature/sweep';
import type { Layer } from '../../../lib/models/layers/layer';
import { node, tensor } from '../../../lib/containers/onnx/make';
import type { ModelProto, NodeProto } from '../../../lib/containers/onnx/onnx_pb';
import type { Substitute } from '../../../lib/models/forward/stage-network';
import { shallowCopy } from '../../../lib/containers/onnx/shallow-copy';
import type { Feeds } from '../../../lib/models/types';
import { Workspace } from '../../../lib/runs/workspace';
import { bytesOf, feed, float, folder as folderOf, network, random, weight } from '../networks';
import { layersOf, opened } from './differences';

// What part each layer has in how far a network is from the float one, against runs with that layer's weight a little nearer and farther.

/** The change of each weight. */
const changeOf = (name: string, count: number) =>
  random(count, 50 + name.charCodeAt(0)).map((value) => 0.1 * value);

const floats = (bytes: Uint8Array) => new Float32Array(bytes.slice().buffer);

/** The network with weights changed by so much of their change. */
function changed(model: ModelProto, by: (weight: string) => number): ModelProto {
  const copy = shallowCopy(model);
  copy.graph = shallowCopy(model.graph!);
  copy.graph.initializer = model.graph!.initializer.map((own) => {
    const share = by(own.name);
    if (share === 0) return own;
    const values = floats(own.rawData);
    const change = changeOf(own.name, values.length);
    return tensor(
      own.name,
      own.dims.map(Number),
      values.map((value, i) => value + share * change[i]!),
    );
  });
  return copy;
}

async function outputs(model: ModelProto, feeds: readonly Feeds[]): Promise<Tensor[]> {
  const session = await InferenceSession.create(bytesOf(model), { logSeverityLevel: 3 });
  const made: Tensor[] = [];
  for (const { x } of feeds)
    made.push((await session.run({ x: new Tensor('float32', x!.data as Float32Array, x!.dims) }))['y']!);
  return made;
}

function softmax(values: readonly number[]): number[] {
  const most = Math.max(...values);
  const all = values.map((value) => Math.exp(value - most));
  const sum = all.reduce((a, b) => a + b, 0);
  return all.map((value) => value / sum);
}

/** Σ over the rows: the KL divergence, or half of the squared error. */
function distance(float: readonly Tensor[], other: readonly Tensor[], areLogits: boolean): number {
  let sum = 0;
  for (const [i, { data, dims }] of float.entries()) {
    const [p, q] = [data, other[i]!.data].map((values) => Array.from(values as Float32Array));
    const width = dims.at(-1)!;
    for (let at = 0; at < p!.length; at += width) {
      const [a, b] = [p, q].map((values) => values!.slice(at, at + width));
      if (!areLogits) sum += a!.reduce((total, value, k) => total + (value - b![k]!) ** 2, 0) / 2;
      else {
        const [mine, yours] = [softmax(a!), softmax(b!)];
        sum += mine.reduce((total, share, k) => total + share * Math.log(share / yours[k]!), 0);
      }
    }
  }
  return sum;
}

const bias = /bias/;

const shapes = {
  'logits behind products on both sides, a Gemm with a bias and a factor': {
    areLogits: true,
    model: network({
      nodes: [
        node('Gemm', ['x', 'a', 'bias'], ['h1'], { attributes: { transB: 1n, alpha: 0.5 } }),
        node('Tanh', ['h1'], ['h2']),
        node('MatMul', ['h2', 'b'], ['h3']),
        node('Mul', ['h3', 'h2'], ['h4']),
        node('Transpose', ['h4'], ['h5'], { attributes: { perm: [1n, 0n] } }),
        node('MatMul', ['d', 'h5'], ['h6']),
        node('Transpose', ['h6'], ['logits'], { attributes: { perm: [1n, 0n] } }),
        node('Softmax', ['logits'], ['out'], { attributes: { axis: -1n } }),
        node('Identity', ['logits'], ['y']),
      ],
      constants: [weight('a', [6, 5], 1), weight('bias', [6], 2), weight('b', [6, 6], 3), weight('d', [4, 6], 4)],
      inputs: [float('x', ['n', 5])],
      outputs: [float('out'), float('y')],
    }),
    feeds: [feed([7, 5], 11), feed([3, 5], 12)],
  },
  'other outputs behind convolutions': {
    areLogits: false,
    model: network({
      nodes: [
        node('Conv', ['x', 'a', 'bias'], ['h1'], { attributes: { strides: [2n, 1n] } }),
        node('Tanh', ['h1'], ['h2']),
        node('Conv', ['h2', 'b'], ['h3'], { attributes: { group: 2n } }),
        node('Tanh', ['h3'], ['h4']),
        node('ConvTranspose', ['h4', 'd'], ['y'], { attributes: { strides: [2n, 2n] } }),
      ],
      constants: [weight('a', [4, 2, 3, 2], 1), weight('bias', [4], 4), weight('b', [4, 2, 1, 2], 2), weight('d', [4, 3, 2, 3], 3)],
      inputs: [float('x', ['n', 2, 6, 5])],
    }),
    feeds: [feed([2, 2, 6, 5], 21), feed([1, 2, 6, 5], 22)],
  },
}; // prettier-ignore

for (const [name, { model, feeds, areLogits }] of Object.entries(shapes))
  test(`${name}: parts are the derivatives of the distance, and sum up to about twice that`, async (t) => {
    const own = opened(changed(model, (of) => (bias.test(of) ? 0 : 1)));
    const layers = layersOf(own);
    t.is(layers.length, 3);
    const weightIn = (layer: Layer) => layer.constant.tensor.name;
    const floats = new Map<NodeProto, Substitute[]>();
    for (const layer of layers) {
      const float = shallowCopy(model.graph!.initializer.find((one) => one.name === weightIn(layer))!);
      float.name = `float/${float.name}`;
      floats.set(layer.node, [{ index: layer.weightIndex, tensor: float }]);
    }
    const workspace = new Workspace(`${folderOf(t)}/output`);
    const question = new Differences(floats, feeds);
    const sweep = new Sweep<Layer>({ opened: own, layers, feeds, workspace, memory: 2 ** 20, question }, { threads: 2 }); // prettier-ignore
    try {
      await sweep.run();
      t.is(sweep.reasons.size, 0);
      const weights = new Set(layers.map(weightIn));
      const float = await outputs(model, feeds);
      const far = async (by: (weight: string) => number) =>
        distance(float, await outputs(changed(model, by), feeds), areLogits);
      const whole = await far((of) => (weights.has(of) ? 1 : 0));
      const step = 0.02;
      let sum = 0;
      for (const layer of layers) {
        let part = 0;
        for (const batch of feeds.keys()) for (const one of (await sweep.toldOf(layer, batch))!) part += one;
        const at = (share: number) => far((of) => (of === weightIn(layer) ? share : weights.has(of) ? 1 : 0));
        const slope = ((await at(1 + step)) - (await at(1 - step))) / (2 * step);
        t.true(Math.abs(part - slope) < 0.01 * Math.abs(slope) + 2e-4 * whole, `${layer.name}: ${part} and ${slope}`); // prettier-ignore
        sum += part;
      }
      t.true(Math.abs(sum / (2 * whole) - 1) < 0.15, `${sum} and ${whole}`);
    } finally {
      await workspace.end();
    }
  });
