import type { Shape } from '../encoding';
import { type GgufTypeName, ggufTypes, heldBy } from './table';

// What formats of GGUF files are called, and which type each tensor gets there.

/** Types that keep numbers as they are. */
export type FloatTypeName = 'F32' | 'F16' | 'BF16';
export type TypeName = GgufTypeName | FloatTypeName;

export const isFloatType = (type: TypeName): type is FloatTypeName => !Object.hasOwn(ggufTypes, type);

/** A matrix of a file that is written. */
export interface MixedTensor {
  /** As GGUF files have it. */
  name: string;
  shape: Shape;
  /** Whether logits are made with it: `output`, or the embedding where there is none. */
  isHead: boolean;
}

/** Which types the tensors of a file get. */
export interface Mix {
  /** `general.file_type`. */
  fileType: number;
  /** Of a matrix that can be in any type: where its rows are no whole blocks of that one, another takes over. */
  typeOf(tensor: MixedTensor): TypeName;
}

/** One type for all matrices but the head. */
const pure = (type: TypeName, fileType: number, head: TypeName = type): Mix => ({
  fileType,
  typeOf: ({ isHead }) => (isHead ? head : type),
});

/** By what follows `gguf:`. */
export const mixes = {
  f16: pure('F16', 1),
  bf16: pure('BF16', 32),
  q8_0: pure('Q8_0', 7),
  q5_1: pure('Q5_1', 9, 'Q6_K'),
  q5_0: pure('Q5_0', 8, 'Q6_K'),
  q4_1: pure('Q4_1', 3, 'Q6_K'),
  q4_0: pure('Q4_0', 2, 'Q6_K'),
} as const satisfies Readonly<Record<string, Mix>>;
export type MixName = keyof typeof mixes;

/** What holds a tensor: the mix's type, or what takes over; else float16. */
export function typeIn(mix: Mix, tensor: MixedTensor): { type: TypeName; asked: TypeName } {
  const asked = mix.typeOf(tensor);
  if (isFloatType(asked)) return { type: asked, asked };
  return { type: heldBy(ggufTypes[asked], tensor.shape)?.name ?? 'F16', asked };
}
