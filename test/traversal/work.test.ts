import test from 'ava';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fitWork, passesOf, worksOf } from '../../lib/traversal/work';
import { random } from '../models/networks';
import { layerOf, MemoryForward, MemorySource, width } from './memory-network';

const layer = layerOf('a', new MemorySource(1), { method: 'vertex' });

test('the passes of a fit are those that the addon makes', (t) => {
  const source = readFileSync(join(__dirname, '..', '..', 'native', 'core', 'method', 'vertex.cpp'), 'utf8');
  const header = readFileSync(join(__dirname, '..', '..', 'native', 'core', 'method', 'vertex.h'), 'utf8');
  const constant = (name: string) => Number(new RegExp(`${name} = ([0-9e]+)[;,]`).exec(source + header)![1]);
  const [budget, perNeuron] = [constant('kPassBudget'), constant('kPassPerNeuron')];
  t.is(constant('kPassShared'), 1);
  for (const [outFeatures, inFeatures] of [
    [64, 64],
    [1408, 512],
    [2048, 2048],
    [4096, 11008],
  ] as const) {
    const pass = inFeatures ** 2 * (perNeuron * outFeatures + inFeatures);
    const passes = Math.min(
      constant('kMostPasses'),
      Math.max(constant('kLeastPasses'), Math.floor(budget / pass)),
    );
    t.is(passesOf({ ...layer, outFeatures, inFeatures }), passes);
  }
  t.is(passesOf({ ...layer, settings: { ...layer.settings, passes: 3 } }), 3);
  t.is(passesOf(layerOf('a', new MemorySource(1), { method: 'gptq' })), 0);
});

test('work is counted for each layer, sums once for those that see the same', (t) => {
  const rows = random(5 * width, 3);
  const forward = new MemoryForward([layer, layer], [], [{ rows, heldOut: false, share: 1 }]);
  const shared = {
    ...forward,
    batches: forward.batches,
    stages: [{ ...forward.stages[0]!, layers: [layer, layer] }],
    rows: 7,
  } as never;
  const [first, second] = worksOf(shared);
  t.is(first!.products, 2 * 7 * width * width);
  t.is(first!.sums, 7 * width * width);
  t.is(second!.sums, 0);
  t.is(first!.passes, passesOf(layer) * first!.fit);
  // Rows with weights are summed for each layer, and the network is run three times more.
  const [, weighted] = worksOf(shared, { rows: true, channels: false });
  t.is(weighted!.sums, first!.sums);
  t.is(weighted!.products, 5 * 7 * width * width);
  // So it is for channels, whose gradients are summed; many are fitted in blocks, each of which factors anew.
  const [, channels] = worksOf(shared, { rows: false, channels: true });
  t.is(channels!.sums, 7 * width * width);
  t.is(channels!.products, weighted!.products);
  t.is(channels!.fit, first!.fit);
  const wide = { ...layer, outFeatures: 576 };
  t.is(fitWork(wide, true) - fitWork(wide), 8 * width ** 3);
});
