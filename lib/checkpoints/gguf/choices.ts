import { blockTypeNamed } from '../../containers/gguf/block-types';
import { isFloat } from '../../containers/safetensors/dtypes';
import {
  blocksIn,
  type FloatTypeName,
  isFloatType,
  type Mix,
  typeIn,
  type TypeName,
} from '../../encodings/gguf/mixes';
import type { Shape } from '../../encodings/encoding';
import { eitherName, formsOf } from '../../encodings/safetensors/tensor-names';
import { NamesByGlob } from '../../globs';
import { overrideFinder } from '../../overrides';
import { fewOf, namesBy } from '../../reports/text';
import { plural } from '../../reports/units';
import type { CheckpointSettings } from '../checkpoint-options';
import { type Left, notAmong, requireMatch, skipped, vector } from '../choose-weights';
import type { GgufModel, GgufTensor } from './tensor';
import { warn, type Warning } from '../../warning-codes';

/** What becomes of a tensor. */
export interface Choice {
  tensor: GgufTensor;
  /** What it is written as; null: as it is. */
  type: TypeName | null;
  /** What was asked for, where it is to be quantized. */
  asked?: TypeName;
  /** Why it is not quantized. */
  left: Left | undefined;
}

/** Small matrices that readers take only as floats. */
const wideNames =
  /(_norm|ffn_gate_inp(_shexp)?|pos(ition)?_embd|token_types|ssm_\w+|shortconv\w*|time_mix\w*|attn_rel_b)\.weight$/;
/** What a mix makes of a matrix that nothing is special about. */
export const askedOf = (mix: Mix): TypeName =>
  mix.typeOf({ name: 'blk.0.ffn_up.weight', shape: [256, 256], isHead: false, blocks: 1 });

/** What becomes of each tensor, in their order. Throws a RangeError at a pattern that fits none. */
export function chosen(
  { tensors, input }: GgufModel,
  mix: Mix,
  { layers, skip, overrides }: CheckpointSettings,
): Choice[] {
  const names = new NamesByGlob(
    tensors.flatMap(({ name, tensor }) => [name, tensor]),
    formsOf,
  );
  for (const [option, patterns] of [
    ['layers', layers ?? []],
    ['skip', skip],
    ...overrides.map(({ place, globs }) => [`${place}.layers`, globs] as const),
  ] as const)
    for (const pattern of patterns) requireMatch(option, pattern, names, input);
  const [wanted, unwanted] = [layers && eitherName(layers), eitherName(skip)];
  const blocks = blocksIn(tensors.map(({ name }) => name));
  const overridesOf = overrideFinder(overrides, formsOf);
  const ownType = ({ name }: GgufTensor) =>
    overridesOf(name).findLast(({ blockType }) => blockType !== undefined)?.blockType;
  return tensors.map((tensor) => {
    const either = (matches: (own: string) => boolean) => matches(tensor.name) || matches(tensor.tensor);
    const left =
      leftAs(tensor) ?? (wanted && !either(wanted) ? notAmong : either(unwanted) ? skipped : undefined);
    return {
      tensor,
      ...(left ? { type: asItIs(tensor, left), left } : typeFor(tensor, mix, blocks, ownType(tensor))),
    };
  });
}

/** Why a tensor is none that could be quantized. */
function leftAs({ name, shape, raw, rows }: GgufTensor): Left | undefined {
  if (!isFloat(rows.dtype))
    return { reason: `${raw?.dtype ?? rows.dtype}, which is copied byte for byte`, choice: false };
  if (shape.length < 2) return vector;
  if (!name.endsWith('.weight') || wideNames.test(name))
    return { reason: 'kept wide by readers', choice: true };
  return undefined;
}

/** What a tensor that is not quantized is kept as. */
const asItIs = ({ raw, rows }: GgufTensor, left: Left): TypeName | null =>
  raw ? null : left === vector ? 'F32' : rows.dtype === 'F64' ? 'F32' : (rows.dtype as FloatTypeName);

function typeFor(
  { name, shape, isHead, raw }: GgufTensor,
  mix: Mix,
  blocks: number,
  own: TypeName | undefined,
): Omit<Choice, 'tensor'> {
  const { type, asked } = typeIn(mix, { name, shape: matrixShape(shape), isHead, blocks }, own);
  if (raw?.dtype === type) return { type: null, left: { reason: `${type} already`, choice: true } };
  if (isFloatType(type) && !isFloatType(asked)) return { type, asked, left: unfitFor(asked, shape) };
  return { type, asked, left: undefined };
}

/** A tensor of several matrices is one below the other. */
export const matrixShape = (shape: readonly number[]): Shape => [
  shape.slice(0, -1).reduce((product, size) => product * size, 1),
  shape.at(-1)!,
];

const unfitFor = (asked: TypeName, shape: readonly number[]): Left => ({
  reason: `its ${shape.at(-1)} inputs are no whole blocks of ${blockTypeNamed(asked).weights} (${asked})`,
  choice: false,
});

/** What other types take over, said beforehand. */
export function fallbacks(choices: readonly Choice[]): Warning[] {
  const said: [name: string, what: string][] = [];
  for (const { tensor, type, asked } of choices) {
    const { name, shape } = tensor;
    if (type === null || asked === undefined || asked === type) continue;
    said.push([
      name,
      `${shape.at(-1)} inputs are no whole blocks of ${asked}: ${type} instead, ${bitsOf(type)} bits a weight and not ${bitsOf(asked)}`,
    ]);
  }
  return [...namesBy(said)].map(([what, names]) =>
    warn('WARN_VERTEXQ_TYPE_FALLBACK', `${plural(names.length, 'tensor')} (${fewOf(names, 2)}): ${what}.`),
  );
}

function bitsOf(type: TypeName): string {
  const { weights, bytes } = blockTypeNamed(type);
  return String((8 * bytes) / weights);
}
