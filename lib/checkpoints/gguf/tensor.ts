import type { TensorFile } from '../../containers/tensor-file';
import type { Rows } from './rows';
import type { Warning } from '../../warning-codes';

/** A tensor of a model as a GGUF file has it: its rows in that order, its numbers of the type that they had. */
export interface GgufTensor {
  name: string;
  /** What the network calls it. */
  tensor: string;
  /** Of the matrices of all experts of a block, [experts, outFeatures, inFeatures], what the network calls each; left out of others. */
  experts?: readonly string[];
  /** As a GGUF file had it: what is not quantized is copied; null where it comes from elsewhere. */
  raw: Rows | null;
  shape: readonly number[];
  rows: Rows;
  file: TensorFile;
  /** Heads whose rows the network has in another order; null where it is the same. */
  heads: number | null;
  /** Whether logits are made with it. */
  isHead: boolean;
  /** Whether tokens are looked up in it. */
  isEmbedding: boolean;
}

/** A model on its way into a GGUF file. */
export interface GgufModel {
  input: string;
  /** In the order in which they will lie. */
  tensors: readonly GgufTensor[];
  /** All keys, as they lie in a file, but those that tell of types. */
  keys: readonly Uint8Array[];
  files: readonly TensorFile[];
  warnings: Warning[];
}
