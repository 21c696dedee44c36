import test from 'ava';
import type { Buffers } from '../../lib/native/buffers';
import { sharedBytes } from '../../lib/native/shared';
import type { FitLayer } from '../../lib/traversal/layer';
import { RoundedWeights } from '../../lib/traversal/rounded-weights';
import type { JobOptions, QuantizedLayer } from '../../lib/types';
import { layerOf, MemorySource } from './memory-network';

/** Codes of the source's own number in memory of the given buffers, or in memory of its own. */
class RoundingSource extends MemorySource {
  constructor(
    readonly number: number,
    readonly isKept = true,
  ) {
    super(number);
  }

  round(_layer: FitLayer, _options: JobOptions, buffers: Buffers): Promise<QuantizedLayer> {
    const length = 300 * 300;
    const bytes = this.isKept ? buffers.take(length) : sharedBytes(length);
    const codes = new Int8Array(bytes.buffer, 0, length).fill(this.number);
    return Promise.resolve({ codes } as unknown as QuantizedLayer);
  }
}

const layersOf = (sources: readonly RoundingSource[]) =>
  sources.map((source, i) => layerOf(`layer${i}`, source, { method: 'msq' }));

test('memory of codes that were given back is used again, by weights that nobody has rounded yet', async (t) => {
  const layers = layersOf([1, 2, 3, 4, 5, 6, 7, 8].map((number) => new RoundingSource(number)));
  const rounded = new RoundedWeights(layers, {});
  const memory = new Set<unknown>();
  for (const [i, layer] of layers.entries()) {
    const quantized = (await rounded.take(layer, undefined))!;
    t.true(quantized.codes.every((code) => code === i + 1));
    memory.add(quantized.codes.buffer);
    rounded.giveBack(quantized);
    rounded.giveBack(quantized); // is not there twice
  }
  // Two are rounded ahead.
  t.is(memory.size, 3);
});

test('codes that are not given back stay as they are', async (t) => {
  const layers = layersOf([1, 2, 3, 4].map((number) => new RoundingSource(number)));
  const rounded = new RoundedWeights(layers, {});
  const first = (await rounded.take(layers[0]!, undefined))!;
  for (const layer of layers.slice(1)) rounded.giveBack((await rounded.take(layer, undefined))!);
  t.true(first.codes.every((code) => code === 1));
});

test('what does not come from here is not taken', async (t) => {
  const [layer] = layersOf([new RoundingSource(1)]);
  const rounded = new RoundedWeights([], {});
  const stranger = await new RoundingSource(9, false).round(layer!, {}, null as unknown as Buffers);
  rounded.giveBack(stranger);
  const taken = (await rounded.take(layer!, undefined))!;
  t.not(taken.codes.buffer, stranger.codes.buffer);
});
