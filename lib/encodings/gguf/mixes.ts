import type { Shape } from '../encoding';
import type { GgufTypeName } from '../names';
import { ggufTypes, heldBy } from './table';

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
  /** How many blocks the model has. */
  blocks: number;
}

/** Which types the tensors of a file get. */
export interface Mix {
  /** `general.file_type`; null for a file that has none. */
  fileType: number | null;
  /** Of a matrix that can be in any type: where its rows are no whole blocks of that one, another takes over. */
  typeOf(tensor: MixedTensor): TypeName;
}

/** In which of a model's blocks. */
type Where = (block: number, blocks: number) => boolean;
const everywhere: Where = () => true;
const first =
  (count: number): Where =>
  (block) =>
    block < count;
/** The first of so many equal parts. */
const firstPart =
  (parts: number): Where =>
  (block, blocks) =>
    block < Math.floor(blocks / parts);
/** The first and last eighth, and every third block between. */
const half: Where = (block, blocks) => {
  const eighth = Math.floor(blocks / 8);
  return block < eighth || block >= Math.floor((7 * blocks) / 8) || (block - eighth) % 3 === 2;
};

/** What a part of a block, `attn_v` for one, gets instead. Of several that fit the first counts. */
type Exception = readonly [part: string, type: GgufTypeName, where: Where];

/** One type for all matrices but the head and some parts of blocks. */
const mix = (
  fileType: number | null,
  type: TypeName,
  head: TypeName = type,
  exceptions: readonly Exception[] = [],
): Mix => ({
  fileType,
  typeOf: ({ name, isHead, blocks }) => {
    if (isHead) return head;
    const [, block, part] = /^blk\.(\d+)\.([a-z_]+?)(?:_exps|_shexp)?\.weight$/.exec(name) ?? [];
    const found = exceptions.find(([of, , where]) => of === part && where(Number(block), blocks));
    return found?.[1] ?? type;
  },
});

/** By what follows `gguf:`: the types that llama.cpp gives tensors under these names, but for its cases of single models. */
export const mixes = {
  f16: mix(1, 'F16'),
  bf16: mix(32, 'BF16'),
  q8_0: mix(7, 'Q8_0'),
  q6_k: mix(18, 'Q6_K'),
  q5_k_m: mix(17, 'Q5_K', 'Q6_K', [
    ['attn_v', 'Q6_K', half],
    ['ffn_down', 'Q6_K', half],
    ['attn_qkv', 'Q6_K', everywhere],
  ]),
  q5_k_s: mix(16, 'Q5_K', 'Q6_K'),
  q5_1: mix(9, 'Q5_1', 'Q6_K'),
  q5_0: mix(8, 'Q5_0', 'Q6_K'),
  q4_k_m: mix(15, 'Q4_K', 'Q6_K', [
    ['attn_v', 'Q6_K', half],
    ['ffn_down', 'Q6_K', half],
    ['attn_qkv', 'Q5_K', everywhere],
  ]),
  q4_k_s: mix(14, 'Q4_K', 'Q6_K', [
    ['attn_v', 'Q5_K', first(4)],
    ['ffn_down', 'Q5_K', firstPart(8)],
  ]),
  q4_1: mix(3, 'Q4_1', 'Q6_K'),
  q4_0: mix(2, 'Q4_0', 'Q6_K'),
  iq4_nl: mix(25, 'IQ4_NL', 'Q6_K'),
  iq4_xs: mix(30, 'IQ4_XS', 'Q6_K'),
  q3_k_l: mix(13, 'Q3_K', 'Q6_K', [
    ['attn_v', 'Q5_K', everywhere],
    ['attn_output', 'Q5_K', everywhere],
    ['ffn_down', 'Q5_K', everywhere],
  ]),
  q3_k_m: mix(12, 'Q3_K', 'Q6_K', [
    ['attn_v', 'Q5_K', first(2)],
    ['attn_v', 'Q4_K', everywhere],
    ['attn_qkv', 'Q4_K', everywhere],
    ['attn_output', 'Q4_K', everywhere],
    ['ffn_down', 'Q5_K', firstPart(16)],
    ['ffn_down', 'Q4_K', everywhere],
  ]),
  q3_k_s: mix(11, 'Q3_K', 'Q6_K'),
  q2_k: mix(10, 'Q2_K', 'Q6_K', [
    ['attn_v', 'Q3_K', everywhere],
    ['attn_output', 'Q3_K', everywhere],
    ['ffn_down', 'Q3_K', everywhere],
  ]),
} as const satisfies Readonly<Record<string, Mix>>;
export type MixName = keyof typeof mixes;

/** Where each tensor is given its type: what the others get. */
export const anyMix = mix(null, 'Q4_K', 'Q6_K');

/** How many blocks there are tensors of. */
export const blocksIn = (names: Iterable<string>): number => {
  let blocks = 0;
  for (const name of names) blocks = Math.max(blocks, Number(/^blk\.(\d+)\./.exec(name)?.[1] ?? -1) + 1);
  return blocks;
};

/** What holds a tensor: the type asked for, by default the mix's, or what takes over; else float16. */
export function typeIn(
  mix: Mix,
  tensor: MixedTensor,
  asked: TypeName = mix.typeOf(tensor),
): { type: TypeName; asked: TypeName } {
  if (isFloatType(asked)) return { type: asked, asked };
  return { type: heldBy(ggufTypes[asked], tensor.shape)?.name ?? 'F16', asked };
}
