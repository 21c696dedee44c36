import type { Checkpoint } from '../formats/safetensors/checkpoint';
import { elementsOf, isFloat } from '../formats/safetensors/dtypes';
import type { TensorEntry } from '../formats/safetensors/header';
import { VertexqError } from '../errors';
import { matcher } from '../globs';
import type { Override } from '../overrides';

const suffix = '.weight';

/** Why a tensor is copied, and whether options or their defaults say so; else it cannot be quantized. */
export interface Left {
  reason: string;
  choice: boolean;
}

/** A weight's name without `.weight`: the module's. */
export function moduleOf(name: string): string {
  return name.endsWith(suffix) ? name.slice(0, -suffix.length) : name;
}

/** What the ecosystem leaves in floating point, by the last parts of a module's name. */
const usuallyLeft: readonly (readonly [RegExp, string])[] = [
  [/(^|\.)[^.]*(embed|wte|wpe)[^.]*$|(^|\.)shared$|embeddings?\./i, 'an embedding'],
  [/relative_attention_bias$|rotary/i, 'a table of positions'],
  [/(^|\.)[^.]*norm[^.]*$|(^|\.)ln_[^.]*$/i, 'a norm'],
  [/(^|\.)(lm_head|embed_out|score|classifier|cls|pooler)(\.|$)|^output$/i, 'a head'],
  [/(^|\.)(gate|router|shared_expert_gate)(\.|$)/i, 'a router of experts'],
];

/** Modules of these models hold [inFeatures, outFeatures], which is not said in the file. */
const transposedModels = new Set(['gpt2', 'openai-gpt', 'imagegpt', 'decision_transformer']);

/** Why a tensor is no weight matrix of a linear layer; undefined where it may be one. */
export function unsuitable(
  name: string,
  { dtype, shape }: TensorEntry,
  modelType?: string,
): string | undefined {
  if (!name.endsWith(suffix)) return 'not the weight of a layer';
  if (shape.length === 1) return 'a vector';
  if (shape.length !== 2) return `${shape.length} dimensions, not 2`;
  if (!isFloat(dtype)) return `${dtype}, not a float type`;
  if (elementsOf(shape) === 0) return 'empty';
  if (modelType !== undefined && transposedModels.has(modelType))
    return `a matrix of "${modelType}", which keeps them transposed`;
  return undefined;
}

/** Why a matrix is left as it is by default. */
export function leftByDefault(name: string): string | undefined {
  const module = moduleOf(name);
  return usuallyLeft.find(([pattern]) => pattern.test(module))?.[1];
}

/**
 * For every tensor why it is copied; undefined for those to quantize. Throws a RangeError at a pattern that matches no tensor,
 * ERR_VERTEXQ_NO_LAYERS where nothing is left.
 */
export function chooseWeights(
  { input, shards }: Checkpoint,
  include: readonly string[] | undefined,
  skip: readonly string[],
  modelType?: string,
): Map<string, Left | undefined> {
  const names = [...shards.values()].flatMap((shard) => [...shard.tensors.keys()]);
  for (const [option, patterns] of [
    ['layers', include ?? []],
    ['skip', skip],
  ] as const)
    for (const pattern of patterns) requireMatch(option, pattern, names, input);
  const wanted = include && eitherName(include);
  const unwanted = eitherName(skip);
  const reasons = new Map<string, Left | undefined>();
  for (const shard of shards.values())
    for (const [name, tensor] of shard.tensors) {
      const reason = unsuitable(name, tensor, modelType);
      const left = wanted ? (wanted(name) ? undefined : 'not among "layers"') : leftByDefault(name);
      const chosen = unwanted(name) ? 'skipped' : left;
      const text = reason ?? chosen;
      // A vector is a bias, or the like.
      const choice = reason === undefined || tensor.shape.length < 2;
      reasons.set(name, text === undefined ? undefined : { reason: text, choice });
    }
  if (![...reasons.values()].includes(undefined)) {
    const matrix = [...reasons].find(([name]) => name.endsWith(suffix));
    throw new VertexqError(
      'ERR_VERTEXQ_NO_LAYERS',
      `${input} has no weight to quantize` + (matrix ? ` ("${matrix[0]}": ${matrix[1]!.reason})` : ''),
    );
  }
  return reasons;
}

/** Whether a glob matches a tensor's name, or its module's. */
export function eitherName(patterns: readonly string[]): (name: string) => boolean {
  const matches = matcher(patterns);
  return (name) => matches(name) || matches(moduleOf(name));
}

/** Throws a RangeError at a glob of an override that matches no weight of those to quantize. `reasons` are of `chooseWeights`. */
export function requireOverridden(
  overrides: readonly Override[],
  reasons: ReadonlyMap<string, Left | undefined>,
  input: string,
): void {
  const names = [...reasons.keys()];
  for (const { place, globs } of overrides)
    for (const glob of globs) {
      requireMatch(`${place}.layers`, glob, names, input);
      const found = names.filter(eitherName([glob]));
      if (!found.some((name) => reasons.get(name) === undefined))
        throw new RangeError(
          `The pattern "${glob}" of the "${place}.layers" option matches no weight of ${input} that is quantized: ` +
            `"${found[0]}" is not (${reasons.get(found[0]!)!.reason})`,
        );
    }
}

function requireMatch(option: string, pattern: string, names: readonly string[], input: string): void {
  if (names.some(eitherName([pattern]))) return;
  throw new RangeError(
    `The pattern "${pattern}" of the "${option}" option matches no tensor of ${input}: "vertexq inspect" lists them`,
  );
}
