import type { TensorEntry, TensorFile } from '../../containers/tensor-file';
import { isFloat } from '../../containers/safetensors/dtypes';
import type { GgufNames } from '../../decoders/gguf/architectures';
import { expertMatrices, matrixOf } from '../../encodings/safetensors/matrices';
import { VertexqError } from '../../errors';
import { describe } from '../../options/messages';
import type { GgufTensor } from './tensor';
import { type Rows, rowsIn, stacked } from './rows';

/** The matrices of one kind of a block's experts. */
interface Stack {
  shape: readonly [number, number];
  dtype: string;
  file: TensorFile;
  parts: (Rows | undefined)[];
  experts: string[];
}

/** Gathers the weights of experts, each in a tensor of its own or several in one, into the tensors that GGUF files have: one of each kind a block. */
export class ExpertTensors {
  private readonly stacks = new Map<string, Stack>();

  constructor(
    private readonly names: GgufNames,
    private readonly count: number,
  ) {}

  /** Whether a tensor is of experts: then it is taken. Throws ERR_VERTEXQ_DECODER where it cannot be read, or does not go with the others. */
  take(
    file: TensorFile,
    tensor: string,
    entry: TensorEntry,
    entryOf: (name: string) => TensorEntry | undefined,
  ): boolean {
    if (this.count === 0) return false;
    const together = expertMatrices(tensor, entry, entryOf);
    const matrices = together ?? (entry.shape.length === 2 ? [matrixOf(tensor, entry, false)] : []);
    let taken = false;
    for (const { name, shape, dtype, position, stride } of matrices) {
      const place = this.names.ofExpert(name);
      if (!place) continue;
      taken = true;
      const wrong = (why: string) =>
        new VertexqError('ERR_VERTEXQ_DECODER', `${file.path}: tensor ${describe(tensor)} ${why}`);
      if (!isFloat(dtype)) throw wrong(`is ${dtype}, not a float type`);
      if (stride > 0) throw wrong('has experts whose rows are columns, which are not read here');
      const stack = this.stackOf(place.name, shape, dtype, file);
      if (stack.shape.join() !== shape.join() || stack.dtype !== dtype)
        throw wrong(
          `is ${dtype} [${shape.join(', ')}], and another expert's ${stack.dtype} [${stack.shape.join(', ')}]`,
        );
      if (place.expert >= this.count) throw wrong(`is of expert ${place.expert}, of ${this.count}`);
      const byteLength = entry.byteLength / matrices.length;
      stack.parts[place.expert] = rowsIn(file, { dtype, shape, position, byteLength });
      stack.experts[place.expert] = name;
    }
    return taken;
  }

  private stackOf(name: string, shape: Stack['shape'], dtype: string, file: TensorFile): Stack {
    let stack = this.stacks.get(name);
    if (!stack) {
      const parts: Stack['parts'] = Array.from({ length: this.count });
      this.stacks.set(name, (stack = { shape, dtype, file, parts, experts: [] }));
    }
    return stack;
  }

  /** The tensors. Throws ERR_VERTEXQ_DECODER where an expert is missing. */
  finish(): GgufTensor[] {
    return [...this.stacks].map(([name, { shape, file, parts, experts }]) => {
      const missing = parts.findIndex((part) => part === undefined);
      if (missing >= 0)
        throw new VertexqError(
          'ERR_VERTEXQ_DECODER',
          `${file.path}: expert ${missing} has no weight for ${describe(name)}`,
        );
      const rows = stacked(parts as Rows[]);
      const kind = { raw: null, heads: null, isHead: false, isEmbedding: false };
      return { name, tensor: name, experts, shape: [this.count, ...shape], rows, file, ...kind };
    });
  }
}
