import type { Checkpoint } from '../containers/safetensors/checkpoint';
import { elementsOf, isFloat } from '../containers/safetensors/dtypes';
import type { TensorEntry } from '../containers/tensor-file';
import { VertexqError } from '../errors';
import type { Override } from '../overrides';
import type { Turns } from '../yielding';
import type { ModelIdentity } from './model-identity';
import type { CheckpointSettings } from './checkpoint-options';
import { NamesByGlob } from '../globs';
import {
  eitherName,
  formsOf,
  isWeightName,
  moduleOf,
  splitName,
} from '../encodings/safetensors/tensor-names';

/** Why a tensor stays as it is. */
export interface Left {
  reason: string;
  /** Whether it was chosen to, by an option or as is usual; else it cannot be quantized. */
  choice: boolean;
}

const byChoice = (reason: string): Left => ({ reason, choice: true });
const cannot = (reason: string): Left => ({ reason, choice: false });

/** What is found of a checkpoint's tensors besides what their headers say. */
type Known = Pick<ModelIdentity, 'isTransposed' | 'matricesIn' | 'quantized'>;

const [embedding, positions, norm, head, router] = (
  ['an embedding', 'a table of positions', 'a norm', 'a head', 'a router of experts'] as const
).map(byChoice) as [Left, Left, Left, Left, Left];
export const [skipped, notAmong] = [byChoice('skipped'), byChoice('not among "layers"')];
export const vector = byChoice('a vector');
const empty = cannot('empty');
const otherName = cannot('not the weight of a layer');
const experts = cannot('a tensor of several experts that lie in a way that is not known');
const transposed = cannot(
  'transposed, [inFeatures, outFeatures], as in GPT-2: no reader of this format takes one ("float" and "gptq" hold it)',
);

/** What the ecosystem leaves in floating point, by the parts of a module's name; each pattern takes time in proportion to the part. */
function usuallyLeft(module: string): Left | undefined {
  const parts = module.split('.');
  const last = parts.at(-1)!;
  if (last === 'embed_out') return head;
  if (/embed|wte|wpe/i.test(last) || last.toLowerCase() === 'shared') return embedding;
  if (parts.slice(0, -1).some((part) => /embeddings?$/i.test(part))) return embedding;
  if (/relative_attention_bias$/i.test(last) || /rotary/i.test(module)) return positions;
  if (/norm/i.test(last) || /^ln_/i.test(last)) return norm;
  if (parts.some((part) => /^(lm_head|embed_out|score|classifier|cls|pooler)$/i.test(part))) return head;
  if (module.toLowerCase() === 'output') return head;
  if (parts.some((part) => /^(gate|router|shared_expert_gate)$/i.test(part))) return router;
  return undefined;
}

/** Why a tensor is no weight matrix of a linear layer; undefined where it may be one. */
export function unsuitable(
  name: string,
  entry: TensorEntry,
  { isTransposed, matricesIn, quantized }: Known,
): Left | undefined {
  const { dtype, shape } = entry;
  const already = quantized(name);
  if (already !== undefined) return byChoice(`part of a weight that is quantized already: ${already}`);
  if (!isFloat(dtype)) return cannot(`${dtype}, not a float type`);
  if (elementsOf(shape) === 0) return empty;
  if (shape.length < 2) return vector;
  if (shape.length > 2 && /(^|\.)experts\.[^.]*$/.test(name))
    return matricesIn(name, entry).length > 0 ? undefined : experts;
  if (!isWeightName(name)) return otherName;
  if (shape.length !== 2) return cannot(`${shape.length} dimensions, not 2`);
  if (isTransposed(name)) return transposed;
  return undefined;
}

/** Why a matrix is left as it is by default. */
export function leftByDefault(name: string): Left | undefined {
  return usuallyLeft(moduleOf(name));
}

/**
 * For every tensor why it is copied; undefined for those to quantize. Throws a RangeError at a pattern that matches no tensor,
 * ERR_VERTEXQ_NO_LAYERS where nothing is left.
 */
export async function chooseWeights(
  { input, shards }: Checkpoint,
  include: readonly string[] | undefined,
  skip: readonly string[],
  known: Known,
  turns: Turns,
): Promise<Map<string, Left | undefined>> {
  const names = new NamesByGlob(
    include || skip.length > 0 ? [...shards.values()].flatMap((shard) => [...shard.tensors.keys()]) : [],
    formsOf,
  );
  for (const [option, patterns] of [
    ['layers', include ?? []],
    ['skip', skip],
  ] as const)
    for (const pattern of patterns) requireMatch(option, pattern, names, input);
  const wanted = include && eitherName(include);
  const unwanted = eitherName(skip);
  const reasons = new Map<string, Left | undefined>();
  let wantsSome = false;
  for (const shard of shards.values())
    for (const [name, tensor] of shard.tensors) {
      if (turns.due) await turns.next();
      const reason = unsuitable(name, tensor, known);
      const left = wanted ? (wanted(name) ? undefined : notAmong) : leftByDefault(name);
      // What is left as usual says so, whatever else there is to say of it.
      const usual = reason === transposed && left !== notAmong ? left : undefined;
      const found = usual ?? reason ?? (unwanted(name) ? skipped : left);
      wantsSome ||= found === undefined;
      reasons.set(name, found);
    }
  if (!wantsSome) {
    const matrices = [...reasons].filter(([name]) => isWeightName(name));
    const matrix = matrices.find(([, left]) => left?.choice === false) ?? matrices[0];
    throw new VertexqError(
      'ERR_VERTEXQ_NO_LAYERS',
      `${input} has no weight to quantize` + (matrix ? ` ("${matrix[0]}": ${matrix[1]!.reason})` : ''),
    );
  }
  return reasons;
}

/** Throws a RangeError at a glob of an override that matches no weight of those to quantize. `reasons` are of `chooseWeights`. */
export function requireOverridden(
  overrides: readonly Override[],
  reasons: ReadonlyMap<string, Left | undefined>,
  input: string,
): void {
  const names = new NamesByGlob([...reasons.keys()], formsOf);
  for (const { place, globs } of overrides)
    for (const glob of globs) {
      requireMatch(`${place}.layers`, glob, names, input);
      const found = [...names.matching(glob)];
      if (!found.some((name) => reasons.get(name) === undefined))
        throw new RangeError(
          `The pattern "${glob}" of the "${place}.layers" option matches no weight of ${input} that is quantized: ` +
            `"${found[0]}" is not (${reasons.get(found[0]!)?.reason})`,
        );
    }
}

/** Of embeddings, what their modules are called: other names only sound like one. */
const embeddingNames =
  /^(embed_tokens|wte|wpe|shared|(word|position|token_type|tok)_embeddings?|embed_positions|embedding|embed_in)$/;

/** Throws a RangeError where "layers" picks what no reader of packed weights takes. */
export function requireReadable(
  chosen: ReadonlyMap<string, Left | undefined>,
  { encoding, layers }: Pick<CheckpointSettings, 'encoding' | 'layers'>,
): void {
  if (encoding.isPlain || !layers) return;
  for (const [name, left] of chosen) {
    if (left !== undefined) continue;
    const usual = leftByDefault(name);
    const isUnread =
      usual === router || usual === positions || embeddingNames.test(splitName(moduleOf(name))[1]);
    if (isUnread)
      throw new RangeError(
        `The "layers" option picks "${name}", ${usual?.reason ?? 'an embedding'}: no reader takes one that is packed. Leave it out with "skip" (--skip "${moduleOf(name)}"), or use the format "float"`,
      );
  }
}

/** Throws a RangeError where a pattern matches none of the names. */
export function requireMatch(option: string, pattern: string, names: NamesByGlob, input: string): void {
  if (names.has(pattern)) return;
  throw new RangeError(
    `The pattern "${pattern}" of the "${option}" option matches no tensor of ${input}: "vertexq inspect" lists them`,
  );
}
