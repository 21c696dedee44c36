import { multiplyTransposed, SparseVector } from './kernels';
import type { Random } from './random';

/** What the optimizer changes: values and, after a backward pass, the gradient of the mean loss, same length. */
export interface Parameter {
  readonly name: string;
  readonly value: Float32Array;
  readonly gradient: Float32Array;
}

/**
 * A layer on batches: samples one after another, each a row of `inputSize` or `outputSize` values. A layer owns
 * the arrays it returns and overwrites them in its next pass.
 */
export interface Layer {
  readonly name: string;
  readonly inputSize: number;
  readonly outputSize: number;
  readonly parameters: readonly Parameter[];
  /** `input` is `batch` × `inputSize` and must stay unchanged until `backward`; gives `batch` × `outputSize`. */
  forward(input: Float32Array, batch: number): Float32Array;
  /**
   * Sets the parameters' gradients from the loss's gradient by the output of the last `forward`, and gives the
   * gradient by its input, unless `needInputGradient` is false (then an array of no meaning).
   */
  backward(outputGradient: Float32Array, batch: number, needInputGradient: boolean): Float32Array;
}

export function parameter(name: string, length: number): Parameter {
  return { name, value: new Float32Array(length), gradient: new Float32Array(length) };
}

/** Fills `weight` uniformly with the standard deviation √(2 / inputs) of He et al., for layers before a ReLU. */
export function initialize(weight: Float32Array, inputs: number, random: Random): void {
  const bound = Math.sqrt(6 / inputs);
  for (let i = 0; i < weight.length; i++) weight[i] = (2 * random() - 1) * bound;
}

/** y = x · W + b, with W `inputSize` × `outputSize`, row-major. */
export class Dense implements Layer {
  readonly weight: Parameter;
  readonly bias: Parameter;
  readonly parameters: readonly Parameter[];
  private readonly output: Float32Array;
  private readonly inputGradient: Float32Array;
  private readonly sparse: SparseVector;
  private input: Float32Array = new Float32Array(0);

  /** `inputSize` and `maxBatch` (and every batch) must be multiples of 4, for `multiplyTransposed`. */
  constructor(
    readonly name: string,
    readonly inputSize: number,
    readonly outputSize: number,
    maxBatch: number,
    random: Random,
  ) {
    this.weight = parameter(`${name}.weight`, inputSize * outputSize);
    this.bias = parameter(`${name}.bias`, outputSize);
    this.parameters = [this.weight, this.bias];
    this.output = new Float32Array(maxBatch * outputSize);
    this.inputGradient = new Float32Array(maxBatch * inputSize);
    this.sparse = new SparseVector(Math.max(inputSize, maxBatch));
    initialize(this.weight.value, inputSize, random);
  }

  forward(input: Float32Array, batch: number): Float32Array {
    this.input = input;
    for (let b = 0; b < batch; b++) {
      this.output.set(this.bias.value, b * this.outputSize);
      this.sparse.gather(input, b * this.inputSize, this.inputSize);
      this.sparse.addRows(this.weight.value, 0, this.outputSize, this.output, b * this.outputSize);
    }
    return this.output;
  }

  backward(outputGradient: Float32Array, batch: number, needInputGradient: boolean): Float32Array {
    const { inputSize, outputSize } = this;
    const bias = this.bias.gradient.fill(0);
    for (let b = 0; b < batch; b++) {
      for (let j = 0; j < outputSize; j++) bias[j]! += outputGradient[b * outputSize + j]!;
    }
    const weight = this.weight.gradient.fill(0);
    for (let i = 0; i < inputSize; i++) {
      this.sparse.gather(this.input, i, batch, inputSize);
      this.sparse.addRows(outputGradient, 0, outputSize, weight, i * outputSize);
    }
    if (needInputGradient) {
      const shape = [batch, inputSize, outputSize] as const;
      multiplyTransposed(shape, outputGradient, 0, this.weight.value, 0, this.inputGradient, 0);
    }
    return this.inputGradient;
  }
}

/** max(x, 0), entry by entry. */
export class Relu implements Layer {
  readonly parameters: readonly Parameter[] = [];
  readonly inputSize: number;
  private readonly output: Float32Array;
  private readonly inputGradient: Float32Array;

  constructor(
    readonly name: string,
    readonly outputSize: number,
    maxBatch: number,
  ) {
    this.inputSize = outputSize;
    this.output = new Float32Array(maxBatch * outputSize);
    this.inputGradient = new Float32Array(maxBatch * outputSize);
  }

  forward(input: Float32Array, batch: number): Float32Array {
    const { output } = this;
    const length = batch * this.outputSize;
    for (let i = 0; i < length; i++) {
      const x = input[i]!;
      output[i] = x > 0 ? x : 0;
    }
    return output;
  }

  backward(outputGradient: Float32Array, batch: number): Float32Array {
    const { output, inputGradient } = this;
    const length = batch * this.outputSize;
    for (let i = 0; i < length; i++) inputGradient[i] = output[i]! > 0 ? outputGradient[i]! : 0;
    return inputGradient;
  }
}
