import { multiplyTransposed, SparseVector } from './kernels';
import { initialize, parameter, type Layer, type Parameter } from './layers';
import type { Random } from './random';

/** A stack of `channels` square planes of `side` × `side`, in that order (ONNX's NCHW without the N). */
export interface Planes {
  readonly channels: number;
  readonly side: number;
}

/**
 * 2-D convolution, stride 1, no padding: planes of side s become planes of side s - kernel + 1.
 *
 * By im2col: each output position has a row with the K = channels · kernel² inputs it sees, in the order of
 * ONNX's weight [filters, channels, kernel, kernel], so that the output is the weight (filters × K) times the
 * transposed rows.
 */
export class Convolution implements Layer {
  readonly inputSize: number;
  readonly outputSize: number;
  readonly outputPlanes: Planes;
  readonly weight: Parameter;
  readonly bias: Parameter;
  readonly parameters: readonly Parameter[];
  private readonly patchSize: number;
  private readonly positions: number;
  private readonly patches: Float32Array;
  private readonly patchGradient: Float32Array;
  private readonly output: Float32Array;
  private readonly inputGradient: Float32Array;
  private readonly sparse: SparseVector;

  /** The number of filters and of output positions must be multiples of 4, for `multiplyTransposed`. */
  constructor(
    readonly name: string,
    readonly inputPlanes: Planes,
    readonly filters: number,
    readonly kernel: number,
    maxBatch: number,
    random: Random,
  ) {
    const { channels, side } = inputPlanes;
    this.outputPlanes = { channels: filters, side: side - kernel + 1 };
    // Not `side ** 2`: V8 keeps a power as a float64, and index arithmetic with it slows the kernels by a third.
    this.positions = this.outputPlanes.side * this.outputPlanes.side;
    this.patchSize = channels * kernel * kernel;
    this.inputSize = channels * side * side;
    this.outputSize = filters * this.positions;
    this.weight = parameter(`${name}.weight`, filters * this.patchSize);
    this.bias = parameter(`${name}.bias`, filters);
    this.parameters = [this.weight, this.bias];
    this.patches = new Float32Array(maxBatch * this.positions * this.patchSize);
    this.patchGradient = new Float32Array(this.positions * this.patchSize);
    this.output = new Float32Array(maxBatch * this.outputSize);
    this.inputGradient = new Float32Array(maxBatch * this.inputSize);
    this.sparse = new SparseVector(Math.max(this.positions, filters));
    initialize(this.weight.value, this.patchSize, random);
  }

  forward(input: Float32Array, batch: number): Float32Array {
    const { filters, positions, patchSize, patches, output } = this;
    const bias = this.bias.value;
    for (let b = 0; b < batch; b++) {
      const patch = b * positions * patchSize;
      this.takePatches(input, b * this.inputSize, patch);
      const out = b * this.outputSize;
      multiplyTransposed([filters, positions, patchSize], this.weight.value, 0, patches, patch, output, out);
      for (let f = 0; f < filters; f++) {
        const plane = out + f * positions;
        for (let p = 0; p < positions; p++) output[plane + p]! += bias[f]!;
      }
    }
    return output;
  }

  backward(outputGradient: Float32Array, batch: number, needInputGradient: boolean): Float32Array {
    const { filters, positions, patchSize, patches, patchGradient, sparse } = this;
    const weight = this.weight.gradient.fill(0);
    const bias = this.bias.gradient.fill(0);
    for (let b = 0; b < batch; b++) {
      const out = b * this.outputSize;
      const patch = b * positions * patchSize;
      for (let f = 0; f < filters; f++) {
        const plane = out + f * positions;
        let sum = 0;
        for (let p = 0; p < positions; p++) sum += outputGradient[plane + p]!;
        bias[f]! += sum;
        sparse.gather(outputGradient, plane, positions);
        sparse.addRows(patches, patch, patchSize, weight, f * patchSize);
      }
      if (!needInputGradient) continue;
      patchGradient.fill(0);
      for (let p = 0; p < positions; p++) {
        sparse.gather(outputGradient, out + p, filters, positions);
        sparse.addRows(this.weight.value, 0, patchSize, patchGradient, p * patchSize);
      }
      this.addPatchGradient(b * this.inputSize);
    }
    return this.inputGradient;
  }

  /** im2col of the sample at `offset` of `input`. */
  private takePatches(input: Float32Array, offset: number, patch: number): void {
    const { kernel, patches } = this;
    const { channels, side } = this.inputPlanes;
    const outputSide = this.outputPlanes.side;
    let at = patch;
    for (let y = 0; y < outputSide; y++) {
      for (let x = 0; x < outputSide; x++) {
        for (let c = 0; c < channels; c++) {
          for (let ky = 0; ky < kernel; ky++) {
            const row = offset + (c * side + y + ky) * side + x;
            for (let kx = 0; kx < kernel; kx++) patches[at++] = input[row + kx]!;
          }
        }
      }
    }
  }

  /** The transpose of im2col: sums `patchGradient` into the input gradient of the sample at `offset`. */
  private addPatchGradient(offset: number): void {
    const { kernel, patchGradient, inputGradient } = this;
    const { channels, side } = this.inputPlanes;
    const outputSide = this.outputPlanes.side;
    inputGradient.fill(0, offset, offset + this.inputSize);
    let at = 0;
    for (let y = 0; y < outputSide; y++) {
      for (let x = 0; x < outputSide; x++) {
        for (let c = 0; c < channels; c++) {
          for (let ky = 0; ky < kernel; ky++) {
            const row = offset + (c * side + y + ky) * side + x;
            for (let kx = 0; kx < kernel; kx++) inputGradient[row + kx]! += patchGradient[at++]!;
          }
        }
      }
    }
  }
}

/** The largest of each 2 × 2 window, stride 2; the first of equal ones gets the gradient. Needs an even side. */
export class MaxPool implements Layer {
  readonly parameters: readonly Parameter[] = [];
  readonly inputSize: number;
  readonly outputSize: number;
  readonly outputPlanes: Planes;
  private readonly output: Float32Array;
  private readonly winners: Int32Array;
  private readonly inputGradient: Float32Array;

  constructor(
    readonly name: string,
    readonly inputPlanes: Planes,
    maxBatch: number,
  ) {
    const { channels, side } = inputPlanes;
    this.outputPlanes = { channels, side: side / 2 };
    this.inputSize = channels * side * side;
    this.outputSize = this.inputSize / 4;
    this.output = new Float32Array(maxBatch * this.outputSize);
    this.winners = new Int32Array(maxBatch * this.outputSize);
    this.inputGradient = new Float32Array(maxBatch * this.inputSize);
  }

  forward(input: Float32Array, batch: number): Float32Array {
    const { output, winners } = this;
    const { side } = this.inputPlanes;
    // Planes of all samples follow one another, and so do their rows: only pairs of rows matter here.
    const rowPairs = (batch * this.inputSize) / (2 * side);
    let out = 0;
    for (let pair = 0; pair < rowPairs; pair++) {
      const row = pair * 2 * side;
      for (let x = 0; x < side; x += 2) {
        let winner = row + x;
        let best = input[winner]!;
        for (let corner = 1; corner < 4; corner++) {
          const at = row + x + (corner >> 1) * side + (corner & 1);
          const value = input[at]!;
          if (value > best) {
            best = value;
            winner = at;
          }
        }
        output[out] = best;
        winners[out++] = winner;
      }
    }
    return output;
  }

  backward(outputGradient: Float32Array, batch: number): Float32Array {
    const { winners, inputGradient } = this;
    inputGradient.fill(0, 0, batch * this.inputSize);
    const length = batch * this.outputSize;
    for (let i = 0; i < length; i++) inputGradient[winners[i]!] = outputGradient[i]!;
    return inputGradient;
  }
}
