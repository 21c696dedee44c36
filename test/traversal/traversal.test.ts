import test from 'ava';
import { type Progress, quantizeLayer, type QuantizeOptions, VertexqError } from '../../lib/index';
import { Traversal } from '../../lib/traversal/traversal';
import { random } from '../models/networks';
import {
  digestOf,
  layerOf,
  MemoryForward,
  MemoryJournal,
  type MemoryLayer,
  MemorySink,
  MemorySource,
  product,
  width,
} from './memory-network';

const rows = (count: number, seed: number, heldOut = false) => ({
  rows: random(count * width, seed),
  heldOut,
  share: 1,
});
const batches = [rows(90, 1), rows(20, 2, true)];
const options: QuantizeOptions = { method: 'gptq', bits: 3, grid: 'integer', groupSize: 4, threads: 1 };

const chainOf = (depth: number, others: Parameters<typeof layerOf>[3] = {}) =>
  Array.from({ length: depth }, (_, i) => layerOf(`layer${i}`, new MemorySource(i + 1), options, others));

function traversal(layers: readonly MemoryLayer[], forward: MemoryForward | null, others = {}) {
  const sink = new MemorySink();
  return { sink, run: () => new Traversal(layers, forward, sink, { threads: 1, ...others }).run() };
}

/** ‖X̃Qᵀ − XWᵀ‖ / ‖XWᵀ‖. */
function apart(
  { seen, float }: Record<'seen' | 'float', Float32Array>,
  q: Float32Array,
  w: Float32Array,
): number {
  let [error, signal] = [0, 0];
  for (let row = 0; row < seen.length; row += width)
    for (let neuron = 0; neuron < width; neuron++) {
      let [given, wanted] = [0, 0];
      for (let i = 0; i < width; i++) {
        given += seen[row + i]! * q[neuron * width + i]!;
        wanted += float[row + i]! * w[neuron * width + i]!;
      }
      error += (given - wanted) ** 2;
      signal += wanted ** 2;
    }
  return Math.sqrt(error / signal);
}

for (const errorCorrection of [true, false])
  test(`a layer gets the codes that quantizeLayer gives for what quantized layers before it make${errorCorrection ? ', and for what float ones make' : ''}`, async (t) => {
    const layers = chainOf(3, { errorCorrection });
    const { sink, run } = traversal(layers, new MemoryForward(layers, [], batches));
    const done = await run();
    let values = batches.map((batch) => ({ seen: batch.rows, float: batch.rows }));
    for (const [i, { source }] of layers.entries()) {
      const [fit, held] = values as [(typeof values)[0], (typeof values)[0]];
      const corrects = errorCorrection && i > 0;
      const alone = await quantizeLayer(
        {
          ...{ weight: source.values, outFeatures: width, inFeatures: width },
          ...{ activations: fit.seen, holdout: held.seen },
          ...(corrects ? { targetActivations: fit.float, targetHoldout: held.float } : {}),
        },
        options,
      );
      const { stored, report, activationRank } = done[i]!;
      t.is(stored.digest, digestOf(alone));
      // Against float: of the first layer, which sees what the float one sees, its own; without correction of held-out rows alone.
      const { own } = alone.report.error;
      const { againstFloat } = report.error;
      if (i === 0) t.deepEqual(againstFloat, own);
      if (corrects) t.deepEqual(againstFloat, alone.report.error.againstFloat);
      const real = apart(held, alone.dequantize(), source.values);
      t.true(
        Math.abs(againstFloat!.holdout! - real) < 1e-4 * real,
        `${againstFloat!.holdout}, really ${real}`,
      );
      t.is(againstFloat!.calibration === null, !errorCorrection && i > 0);
      t.deepEqual(report.error.own, own);
      t.deepEqual(report, {
        ...alone.report,
        ...{ error: report.error, sqnrDb: -20 * Math.log10(againstFloat!.holdout!), storedBits: 8 },
        ...{ name: `layer${i}`, kind: 'Product', seconds: report.seconds },
        bytes: { before: source.byteLength, after: width * width },
      });
      t.is(activationRank, 2);
      const weight = alone.dequantize();
      values = values.map(({ seen, float }) => ({
        seen: product(seen, weight),
        float: product(float, source.values),
      }));
    }
    t.deepEqual(sink.stored, ['layer0', 'layer1', 'layer2']);
  });

test('stages have their turns in order, in both networks where a layer is fitted to the float one', async (t) => {
  const [a, b, c] = chainOf(3) as [MemoryLayer, MemoryLayer, MemoryLayer];
  const forward = new MemoryForward([a, { ...b, errorCorrection: false }, c], [], batches);
  await traversal(forward.chain, forward).run();
  t.deepEqual(forward.log, [
    'value 0',
    'layer0 is quantized',
    'value 1, held out in both',
    'layer1 is quantized',
    'value 2, both',
    'layer2 is quantized',
  ]);
});

test('layers that share a source: one fit, one store, a report and a substitution each', async (t) => {
  const [a, b] = chainOf(2) as [MemoryLayer, MemoryLayer];
  const tied = { ...layerOf('tied', a.source, options) };
  const forward = new MemoryForward([a, b, tied], [], batches);
  const { sink, run } = traversal(forward.chain, forward);
  const done = await run();
  t.deepEqual(sink.stored, ['layer0', 'layer1']);
  t.is(a.source.reads, 1);
  t.is(done[2]!.stored, done[0]!.stored);
  t.deepEqual(done[2]!.report, { ...done[0]!.report, name: 'tied' });
  t.deepEqual(forward.weights.get(tied), forward.weights.get(a));
});

test('what sees nothing is rounded first, or takes what the layer that it shares with is fitted to', async (t) => {
  const layers = chainOf(2);
  const embedding = layerOf('embedding', new MemorySource(9), options, { input: null });
  const inner = layerOf('inner', layers[1]!.source, options, { input: null });
  const forward = new MemoryForward(layers, [embedding], batches);
  const { sink, run } = traversal([inner, ...layers, embedding], forward);
  const done = await run();
  t.deepEqual(
    done.map(({ layer, report }) => [layer.name, report.method]),
    [
      ['embedding', 'msq'],
      ['layer0', 'gptq'],
      ['layer1', 'gptq'],
      ['inner', 'gptq'],
    ],
  );
  t.deepEqual(sink.stored, ['embedding', 'layer0', 'layer1']);
  t.is(done[3]!.stored, done[2]!.stored);
});

test('without a forward every layer is rounded, in the order given', async (t) => {
  const layers = chainOf(3);
  const { sink, run } = traversal(layers, null);
  const done = await run();
  t.deepEqual(sink.stored, ['layer0', 'layer1', 'layer2']);
  for (const [i, { report, stored }] of done.entries()) {
    t.is(report.method, 'msq');
    const weight = { weight: layers[i]!.source.values, outFeatures: width, inFeatures: width };
    t.is(stored.digest, digestOf(await quantizeLayer(weight, { ...options, method: 'msq' })));
  }
});

test('groups of neurons with inputs of their own', async (t) => {
  const [groups, inFeatures] = [3, width / 3];
  const others = { groups, inFeatures, errorCorrection: false };
  const [plain] = chainOf(1) as [MemoryLayer];
  const layer = layerOf('grouped', plain.source, { ...options, bits: 4 }, others);
  const own = { ...layer, outFeatures: width * groups };
  const { run } = traversal([own], new MemoryForward([own], [], batches));
  const [done] = await run();
  t.deepEqual(done!.report.shape, [width * groups, inFeatures]);
  t.true(done!.report.error.calibration! < 0.2);
});

test('an interrupted run goes on behind the last layer that its journal has, and ends the same', async (t) => {
  const run = async (journal: MemoryJournal, signal?: AbortSignal) => {
    const layers = chainOf(4);
    const forward = new MemoryForward(layers, [], batches);
    const sink = new MemorySink();
    const job = { threads: 1, ...(signal ? { signal } : {}) };
    const done = await new Traversal(layers, forward, sink, job, { journal }).run();
    return { layers, done: done.map(({ stored, report }) => [stored.digest, { ...report, seconds: 0 }]) };
  };
  const undisturbed = await run(new MemoryJournal());
  const journal = new MemoryJournal();
  const controller = new AbortController();
  journal.keep = async (key, layer) => {
    await MemoryJournal.prototype.keep.call(journal, key, layer);
    if (journal.kept.size === 2) controller.abort(new Error('enough'));
  };
  await t.throwsAsync(run(journal, controller.signal), { message: 'enough' });
  t.deepEqual([...journal.kept.keys()], ['0 layer0', '1 layer1']);
  const { layers, done } = await run(journal);
  t.deepEqual(done, undisturbed.done);
  t.deepEqual(
    layers.map(({ source }) => source.reads),
    [0, 0, 1, 1],
  );
  t.is(journal.resumed, layers[0]!.source.byteLength * 2);
});

test('a layer whose fit has no room is refused before the network is run', async (t) => {
  const [a, b] = chainOf(2) as [MemoryLayer, MemoryLayer];
  const forward = new MemoryForward([a, { ...b, name: 'wide', inFeatures: 2 ** 24 }], [], batches);
  const error = await t.throwsAsync(traversal(forward.chain, forward).run(), { code: 'ERR_VERTEXQ_MEMORY' });
  t.regex(error.message, /^layer "wide" \(12 × 16777216\): the method "gptq" needs about /);
  t.deepEqual(forward.log, []);
});

test('errors of what a stage gives and of a sink name the layer; progress says which it is', async (t) => {
  const layers = chainOf(2);
  const forward = new MemoryForward(layers, [], batches);
  const told: Progress[] = [];
  const sink = new MemorySink();
  sink.store = () => Promise.reject(new VertexqError('ERR_VERTEXQ_FORMAT', 'no place for it'));
  const run = new Traversal(layers, forward, sink, { onProgress: (progress) => told.push(progress) }).run();
  await t.throwsAsync(run, { message: 'layer "layer0": no place for it', code: 'ERR_VERTEXQ_FORMAT' });
  const place = { layer: 'layer0', layerIndex: 0, layerCount: 2 };
  const shares = told.map(({ share }) => share!);
  t.deepEqual(
    shares,
    [...shares].sort((a, b) => a - b),
  );
  t.true(shares[0]! > 0 && Math.abs(shares.at(-1)! - 0.5) < 1e-9); // one of two alike
  t.deepEqual(
    told.slice(0, 2).map(({ share: _, ...others }) => others),
    [
      { stage: 'capture', done: 1, total: 2, ...place },
      { stage: 'capture', done: 2, total: 2, ...place },
    ],
  );
  t.like(told.at(-1), { stage: 'quantize', done: width, total: width, ...place });
  const odd = new MemoryForward(
    layers,
    [],
    [rows(5, 1), { rows: new Float32Array(width).fill(NaN), heldOut: false, share: 1 }],
  );
  await t.throwsAsync(traversal(layers, odd).run(), {
    message: /^layer "layer0": /,
    code: 'ERR_VERTEXQ_NOT_FINITE',
  });
});
