import type { Layer, Parameter } from './layers';
import { shuffle, type Random } from './random';

/** Samples and their classes: `images` is `labels.length` × the first layer's input size. */
export interface Samples {
  readonly images: Float32Array;
  readonly labels: Uint8Array;
}

export interface TrainingOptions {
  readonly epochs: number;
  /** Samples per step, a multiple of 4 that divides the number of samples. */
  readonly batch: number;
  /** Adam's step size at the start; it falls linearly to 0 over the run. */
  readonly learningRate: number;
  readonly random: Random;
  /** Called after each epoch (from 1) with its mean loss, in nats, and its seconds. */
  readonly onEpoch?: (epoch: number, loss: number, seconds: number) => void;
}

/**
 * Fits the layers to the samples' labels: softmax cross-entropy, Adam, a new order of the samples each epoch.
 * The result depends only on the layers, the samples and the options, bit for bit.
 *
 * @throws RangeError for a batch that is not a multiple of 4 or does not divide the number of samples.
 */
export function train(layers: readonly Layer[], samples: Samples, options: TrainingOptions): void {
  const { epochs, batch, learningRate, random } = options;
  const count = samples.labels.length;
  checkBatch(batch, count);
  const inputSize = layers[0]!.inputSize;
  const input = new Float32Array(batch * inputSize);
  const labels = new Uint8Array(batch);
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  const optimizer = new Adam(layers.flatMap((layer) => layer.parameters));
  const steps = (epochs * count) / batch;
  let step = 0;

  for (let epoch = 1; epoch <= epochs; epoch++) {
    const start = performance.now();
    shuffle(order, random);
    let loss = 0;
    for (let first = 0; first < count; first += batch) {
      for (let b = 0; b < batch; b++) {
        const sample = order[first + b]!;
        input.set(samples.images.subarray(sample * inputSize, (sample + 1) * inputSize), b * inputSize);
        labels[b] = samples.labels[sample]!;
      }
      let gradient = forward(layers, input, batch);
      loss += crossEntropy(gradient, labels, layers.at(-1)!.outputSize);
      for (let l = layers.length - 1; l >= 0; l--) gradient = layers[l]!.backward(gradient, batch, l > 0);
      optimizer.step(learningRate * (1 - step++ / steps));
    }
    options.onEpoch?.(epoch, (loss * batch) / count, (performance.now() - start) / 1000);
  }
}

/**
 * The outputs of the last layer for all images, `count` × its output size.
 *
 * @throws RangeError as `train`.
 */
export function predict(layers: readonly Layer[], images: Float32Array, batch: number): Float32Array {
  const inputSize = layers[0]!.inputSize;
  const outputSize = layers.at(-1)!.outputSize;
  const count = images.length / inputSize;
  checkBatch(batch, count);
  const outputs = new Float32Array(count * outputSize);
  for (let first = 0; first < count; first += batch) {
    const input = images.subarray(first * inputSize, (first + batch) * inputSize);
    outputs.set(forward(layers, input, batch).subarray(0, batch * outputSize), first * outputSize);
  }
  return outputs;
}

function checkBatch(batch: number, count: number): void {
  if (batch % 4 !== 0 || count % batch !== 0) {
    throw new RangeError(`batch ${batch} is not a multiple of 4 that divides ${count} samples`);
  }
}

function forward(layers: readonly Layer[], input: Float32Array, batch: number): Float32Array {
  return layers.reduce((values, layer) => layer.forward(values, batch), input);
}

/**
 * The mean over the batch of -log softmax(logits)[label], in nats. Replaces the logits (`labels.length` ×
 * `classes`) by the gradient of that mean.
 */
export function crossEntropy(logits: Float32Array, labels: Uint8Array, classes: number): number {
  const batch = labels.length;
  let loss = 0;
  for (let b = 0; b < batch; b++) {
    const row = logits.subarray(b * classes, (b + 1) * classes);
    const label = labels[b]!;
    const largest = Math.max(...row);
    let sum = 0;
    for (let c = 0; c < classes; c++) sum += Math.exp(row[c]! - largest);
    loss += Math.log(sum) + largest - row[label]!;
    for (let c = 0; c < classes; c++) {
      const probability = Math.exp(row[c]! - largest) / sum;
      row[c] = (probability - (c === label ? 1 : 0)) / batch;
    }
  }
  return loss / batch;
}

/** Adam (Kingma & Ba 2015) with its usual β₁ = 0.9, β₂ = 0.999, ε = 1e-8. */
export class Adam {
  private readonly moments: { mean: Float32Array; square: Float32Array }[];
  private beta1Power = 1;
  private beta2Power = 1;

  constructor(private readonly parameters: readonly Parameter[]) {
    this.moments = parameters.map(({ value }) => ({
      mean: new Float32Array(value.length),
      square: new Float32Array(value.length),
    }));
  }

  /** Moves every parameter against its gradient. */
  step(learningRate: number): void {
    this.beta1Power *= 0.9;
    this.beta2Power *= 0.999;
    const rate = (learningRate * Math.sqrt(1 - this.beta2Power)) / (1 - this.beta1Power);
    const epsilon = 1e-8 * Math.sqrt(1 - this.beta2Power);
    this.parameters.forEach(({ value, gradient }, p) => {
      const { mean, square } = this.moments[p]!;
      for (let i = 0; i < value.length; i++) {
        const g = gradient[i]!;
        const m = 0.9 * mean[i]! + 0.1 * g;
        const s = 0.999 * square[i]! + 0.001 * g * g;
        mean[i] = m;
        square[i] = s;
        value[i]! -= (rate * m) / (Math.sqrt(s) + epsilon);
      }
    });
  }
}
