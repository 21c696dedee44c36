import { type Checkpoint, entryOf } from '../containers/safetensors/checkpoint';
import { floatBytes, type FloatDtype } from '../containers/safetensors/dtypes';
import type { TensorFile } from '../containers/tensor-file';
import { type Matrix, rangesOf } from '../encodings/safetensors/matrices';
import type { Shared } from '../native/shared';
import { transposed } from '../native/tensors';
import { Turns } from '../yielding';
import { moduleOf } from '../encodings/safetensors/tensor-names';
import type { PlannedWeight } from './planned-weight';

// Weights that lie [inFeatures, outFeatures], as GPT-2's do: files do not say it, but what lies beside them does.

/** Model types whose modules are called Conv1D, and how the names of their classes begin. */
const types = new Set(['gpt2', 'openai-gpt', 'imagegpt', 'decision_transformer', 'clvp', 'clvp_decoder']);
const classes = /^(GPT2|OpenAIGPT|ImageGPT|DecisionTransformer|Clvp)/;
/** What such modules are called; others use the same names for matrices that lie as usual. */
const names = /(^|\.)(c_attn|c_proj|c_fc|q_attn)$/;
/** Linear layers and tables of the same models. */
const usual = /(^|\.)(lm_head|score|classifier|summary|wte|wpe)$/;
/** What is so many times as wide as what goes in. */
const wider: readonly (readonly [RegExp, number])[] = [
  [/(^|\.)c_attn$/, 3],
  [/(^|\.)c_fc$/, 4],
];
/** The norm before a module, which has as many entries as the module has inputs. */
const normOf: readonly (readonly [RegExp, string])[] = [
  [/(attn\.)?c_attn$/, 'ln_1.weight'],
  [/(mlp\.)?c_fc$/, 'ln_2.weight'],
];

/** Which weights of a checkpoint lie transposed. `modelTypes` and `architectures` are what its configs say. */
export async function transposedIn(
  checkpoint: Checkpoint,
  modelTypes: readonly string[],
  architectures: readonly string[],
): Promise<(name: string) => boolean> {
  const turns = new Turns();
  let votes = 0;
  for (const shard of checkpoint.shards.values())
    for (const [name, { shape }] of shard.tensors) {
      if (turns.due) await turns.next();
      if (shape.length === 2 && names.test(moduleOf(name)) && name !== moduleOf(name))
        votes += evidence(checkpoint, name);
    }
  const isKnown =
    modelTypes.some((type) => types.has(type)) || architectures.some((name) => classes.test(name));
  return (name) => {
    const own = evidence(checkpoint, name);
    if (own !== 0) return own > 0;
    if (votes !== 0 && names.test(moduleOf(name))) return votes > 0;
    return isKnown && !usual.test(moduleOf(name));
  };
}

/** 1 where what lies beside a weight says that it is transposed, −1 that it is not, 0 where nothing tells. */
function evidence(checkpoint: Checkpoint, name: string): -1 | 0 | 1 {
  const shape = entryOf(checkpoint, name)?.shape;
  if (shape?.length !== 2 || shape[0] === shape[1]) return 0;
  const module = moduleOf(name);
  const lengthOf = (other: string) => {
    const found = entryOf(checkpoint, other)?.shape;
    return found?.length === 1 ? found[0] : undefined;
  };
  const outputs = lengthOf(`${module}.bias`);
  if (outputs !== undefined && shape.includes(outputs)) return outputs === shape[1] ? 1 : -1;
  for (const [pattern, norm] of normOf) {
    if (!names.test(module) || !pattern.test(module)) continue;
    const inputs = lengthOf(module.replace(pattern, norm));
    if (inputs !== undefined && shape.includes(inputs)) return inputs === shape[0] ? 1 : -1;
  }
  return wider.some(([pattern, times]) => pattern.test(module) && shape[1] === times * shape[0]!) ? 1 : 0;
}

/** Where a weight's numbers lie, and of which type they are. */
interface Lying extends Pick<Matrix, 'shape' | 'stride' | 'position'> {
  dtype: FloatDtype;
}

/** Reads a weight's numbers: neuron by neuron, or, where it has a stride, input by input. */
export async function readWeight(source: TensorFile, weight: Lying, to: Uint8Array): Promise<void> {
  let at = 0;
  for (const { position, length } of rangesOf(weight, weight.position, floatBytes[weight.dtype]))
    await source.fill(to.subarray(at, (at += length)), position);
}

/** Whether values have to be turned before they are written. */
export const turns = ({ stride, layout }: PlannedWeight): boolean =>
  stride > 0 && layout.packing.order === 'values';

/** Puts the values of a weight that were packed neuron by neuron in the order in which they lay. */
export async function lieAsBefore(
  weight: PlannedWeight,
  bytes: Shared,
  signal: AbortSignal | undefined,
): Promise<void> {
  const [rows, cols] = weight.shape;
  if (turns(weight)) bytes.set(await turned(bytes, weight.dtype, rows, cols, signal));
}

/** The transpose of a rows × cols matrix of such numbers. */
export async function turned(
  bytes: Shared,
  dtype: FloatDtype,
  rows: number,
  cols: number,
  signal: AbortSignal | undefined,
): Promise<Shared> {
  // Any numbers that are as wide.
  const Words = { 8: Float64Array, 4: Uint32Array, 2: Uint16Array }[floatBytes[dtype]];
  const words = new (Words as Uint16ArrayConstructor)(bytes.buffer, bytes.byteOffset, rows * cols);
  const { buffer, byteOffset, byteLength } = await transposed(words, rows, cols, signal);
  return new Uint8Array(buffer, byteOffset, byteLength);
}
