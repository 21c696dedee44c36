import { createHash } from 'node:crypto';
import { asQuantizedLayer } from '../../lib/fit/quantize-weights';
import { settingsOf } from '../../lib/fit/quantize-layer';
import type { Batch, FloatBatches, Forward, Seen, Stage } from '../../lib/traversal/forward';
import type { FitLayer, WeightSource } from '../../lib/traversal/layer';
import type { FitJournal, Sink } from '../../lib/traversal/sink';
import type { QuantizedLayer, QuantizeOptions, TensorLike } from '../../lib/types';
import { random } from '../models/networks';

// A network of products with tanh behind each, in plain JavaScript, and a sink and a journal in memory: no graph, no file.

export const width = 12;

export class MemorySource implements WeightSource {
  readonly byteLength = 4 * width * width;
  reads = 0;
  readonly values: Float32Array;

  constructor(seed: number) {
    this.values = random(width * width, seed);
  }

  read(): Promise<Float32Array> {
    this.reads++;
    return Promise.resolve(this.values);
  }
}

export interface MemoryLayer extends FitLayer {
  source: MemorySource;
}

export function layerOf(
  name: string,
  source: MemorySource,
  options: QuantizeOptions,
  others: Partial<Omit<FitLayer, 'source'>> = {},
): MemoryLayer {
  const shape = { outFeatures: width, inFeatures: width };
  const input = { weight: source.values, ...shape, activations: source.values };
  return {
    ...{ name, kind: 'Product', ...shape, groups: 1, source },
    input: { rows: { kind: 'axis', axis: -1 } },
    settings: settingsOf(input, options),
    errorCorrection: true,
    ...others,
  };
}

/** y = tanh(x Wᵀ). */
export function product(x: Float32Array, weight: Float32Array): Float32Array {
  const y = new Float32Array(x.length);
  for (let row = 0; row < x.length / width; row++)
    for (let neuron = 0; neuron < width; neuron++) {
      let sum = 0;
      for (let i = 0; i < width; i++) sum += x[row * width + i]! * weight[neuron * width + i]!;
      y[row * width + neuron] = Math.tanh(sum);
    }
  return y;
}

const tensor = (data: Float32Array): TensorLike => ({
  data,
  dims: [data.length / width, width],
  type: 'float32',
});

/** Stages of one layer each, one behind the other. */
export class MemoryForward implements Forward<MemoryLayer> {
  readonly stages: readonly Stage<MemoryLayer>[];
  readonly samples;
  /** What each stage gave, in order. */
  readonly log: string[] = [];
  readonly weights = new Map<MemoryLayer, Float32Array>();
  private next = 0;
  private values: { seen: Float32Array; float: Float32Array }[];

  /** `first`: multiplied with before the first stage. */
  constructor(
    readonly chain: readonly MemoryLayer[],
    readonly first: readonly MemoryLayer[],
    readonly batches: readonly (Batch & { rows: Float32Array })[],
  ) {
    this.stages = chain.map((layer, i) => ({
      target: `value ${i}`,
      layers: [layer],
      changes: i > 0 || first.length > 0,
    }));
    const count = (heldOut: boolean) =>
      batches.filter((batch) => batch.heldOut === heldOut).reduce((sum, { rows }) => sum + rows.length, 0) /
      width;
    this.samples = { fit: count(false), holdout: count(true) };
    this.values = batches.map(({ rows }) => ({ seen: rows, float: rows }));
  }

  async run(
    stage: Stage<MemoryLayer>,
    wanted: FloatBatches,
    onBatch: (batch: number, value: Seen) => Promise<void>,
  ): Promise<number> {
    if (this.stages[this.next] !== stage) throw new Error('a stage has its turn once');
    for (const layer of this.next === 0 ? this.first : [this.chain[this.next - 1]!])
      this.values = this.values.map(({ seen, float }) => ({
        seen: product(seen, this.weights.get(layer) ?? layer.source.values),
        float: product(float, layer.source.values),
      }));
    this.next++;
    this.log.push(
      `${stage.target}${wanted === 'none' ? '' : `, ${wanted === 'all' ? 'both' : 'held out in both'}`}`,
    );
    for (const [batch, { seen, float }] of this.values.entries()) {
      const isFloat = wanted === 'all' || (wanted === 'heldOut' && this.batches[batch]!.heldOut);
      await onBatch(batch, { seen: tensor(seen), float: isFloat ? tensor(float) : undefined });
    }
    return 2;
  }

  substitute(layer: MemoryLayer, quantized: QuantizedLayer): Promise<void> {
    this.log.push(`${layer.name} is quantized`);
    this.weights.set(layer, quantized.dequantize());
    return Promise.resolve();
  }
}

/** Keeps a digest of each weight's codes and scales. */
export class MemorySink implements Sink<MemoryLayer, { bytes: number; digest: string }> {
  readonly stored: string[] = [];

  store(layer: MemoryLayer, quantized: QuantizedLayer) {
    this.stored.push(layer.name);
    return Promise.resolve({ bytes: quantized.codes.length, digest: digestOf(quantized) });
  }
}

export const digestOf = ({ codes, scales, zeroPoints }: QuantizedLayer): string =>
  createHash('sha256')
    .update(codes)
    .update(scales)
    .update(zeroPoints ?? '')
    .digest('hex');

export class MemoryJournal implements FitJournal {
  resumed = 0;
  readonly kept = new Map<string, QuantizedLayer>();

  has(key: string) {
    return this.kept.has(key);
  }

  find(key: string) {
    const layer = this.kept.get(key);
    return Promise.resolve(layer && asQuantizedLayer(structuredClone({ ...layer, dequantize: undefined })));
  }

  keep(key: string, layer: QuantizedLayer) {
    this.kept.set(key, layer);
    return Promise.resolve();
  }
}
