import type { TensorProto } from './onnx_pb';
import { typedData } from './tensor';
import type { Weights } from './weights';

/** Shorter data stays in the message: runtimes need shapes and the like there. */
const shortestExternal = 1024;
/** So that a runtime may map a tensor into memory. */
export const alignment = 4096;
/** A browser holds no file of more than 2 GiB. */
export const longestDataFile = 2_000_000_000;

/** Whether the data of an initializer is put beside a model that has its weights there. */
export const liesBeside = (tensor: TensorProto, weights: Weights): boolean =>
  weights.byteLengthOf(tensor) >= shortestExternal && typedData(tensor).length === 0;

/** A tensor's place: in which of the data files, and where in it. */
export interface DataPlace {
  index: number;
  position: number;
}

/** Where data goes that lies beside a model, tensor behind tensor: in files of at most so many bytes, unless one tensor has more. */
export class DataPlaces {
  private index = -1;
  private size = 0;

  constructor(private readonly most = longestDataFile) {}

  /** The place of the next tensor. `told`: its bytes as its dimensions say. */
  next(length: number, told = length): DataPlace {
    if (this.index < 0 || this.size + alignment + told > this.most) {
      this.index++;
      this.size = 0;
    }
    const position = Math.ceil(this.size / alignment) * alignment;
    this.size = position + length;
    return { index: this.index, position };
  }
}
