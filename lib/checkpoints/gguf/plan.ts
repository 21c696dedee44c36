import { GgufLayout } from '../../containers/gguf/layout';
import { keyBytes } from '../../containers/gguf/values';
import { behind } from '../../containers/laid-out';
import { isFloat } from '../../containers/safetensors/dtypes';
import { blockTypeNamed } from '../../containers/gguf/block-types';
import {
  blocksIn,
  type FloatTypeName,
  isFloatType,
  type Mix,
  typeIn,
  type TypeName,
} from '../../encodings/gguf/mixes';
import { ggufTypes } from '../../encodings/gguf/table';
import { eitherName } from '../../encodings/safetensors/tensor-names';
import { VertexqError } from '../../errors';
import { describe } from '../../options/messages';
import { fewOf, namesBy } from '../../reports/text';
import { plural } from '../../reports/units';
import type { Turns } from '../../yielding';
import type { CheckpointSettings } from '../checkpoint-options';
import { type Left, notAmong, requireMatch, skipped, vector } from '../choose-weights';
import type { CheckpointNetwork } from '../network';
import { emptyPlan, type Plan } from '../plan';
import { WeightPlanner } from '../planned-weight';
import { UnitList } from '../units';
import type { GgufModel, GgufTensor } from './model';
import { converted } from './rows';
import { ViewFile } from './view';

/** What becomes of a tensor. */
interface Choice {
  tensor: GgufTensor;
  /** What it is written as; null: as it is. */
  type: TypeName | null;
  /** What was asked for, where it is to be quantized. */
  asked?: TypeName;
  /** Why it is not quantized. */
  left: Left | undefined;
}

/** What the journal calls the output. */
const outputName = 'model.gguf';
/** Small matrices that readers take only as floats. */
const wideNames =
  /(_norm|ffn_gate_inp|pos(ition)?_embd|token_types|ssm_\w+|shortconv\w*|time_mix\w*|attn_rel_b)\.weight$/;
/** Which version of block types a file has. */
const quantizationVersion = 2;

/** A head is fitted where it has fewer bits than this, as what 8 bits lose is nothing beside the blocks' error, and no more numbers: others take as long as all blocks. */
const fittedHead = { bits: 8, numbers: 2 ** 27 };

/** Decides what becomes of each tensor, and where it will lie: from names, shapes and options alone. */
export async function planGguf(
  model: GgufModel,
  settings: CheckpointSettings,
  network: CheckpointNetwork | null,
  turns: Turns,
): Promise<Plan> {
  const mix = settings.encoding.mix!;
  const choices = chosen(model, mix, settings);
  const view = viewOf(model, choices);
  const alone = new Set(choices.filter(isWideHead).map(({ tensor }) => tensor.name));
  const planner = new WeightPlanner(settings, null, (name) => (network?.layers.has(name) ?? false) && !alone.has(name)); // prettier-ignore
  const layout = new GgufLayout();
  const list = new UnitList(false);
  const plan = emptyPlan();
  for (const { tensor, type, left } of choices) {
    if (turns.due) await turns.next();
    const { name, shape, heads } = tensor;
    const entry = view.tensor(name);
    if (type === null || isFloatType(type)) {
      plan.left.set(name, left ?? { reason: `kept as ${entry.dtype}`, choice: true });
      list.copy(entry, layout.place(name, entry.dtype, shape, entry.byteLength));
      continue;
    }
    const matrix = {
      name,
      dtype: entry.dtype,
      shape: matrixShape(shape),
      position: entry.position,
      stride: 0,
    };
    const weight = planner.of(matrix, name, ggufTypes[type]);
    weight.heads = heads;
    weight.index = plan.weights.push(weight) - 1;
    list.weight(weight, [layout.place(name, type, shape, weight.layout.byteLength)]);
  }
  if (plan.weights.length === 0 && settings.encoding.mix !== undefined && !isFloatType(askedOf(mix)))
    throw new VertexqError('ERR_VERTEXQ_NO_LAYERS', `${model.input} has no weight to quantize`);
  plan.warnings.push(...model.warnings, ...fallbacks(choices));
  const told = [
    ...(mix.fileType === null ? [] : [keyBytes('general.file_type', { type: 'u32', value: mix.fileType })]),
    keyBytes('general.quantization_version', { type: 'u32', value: quantizationVersion }),
  ];
  const places = behind(layout.head([...model.keys, ...told]), layout.data);
  plan.shards.push({ name: outputName, source: view, ...places, units: list.finish() });
  return plan;
}

/** Whether it is a head that is rounded by itself whatever the network shows of it. */
function isWideHead({ tensor: { isHead, shape }, type }: Choice): boolean {
  if (!isHead || type === null || isFloatType(type)) return false;
  const [rows, cols] = matrixShape(shape);
  return ggufTypes[type].settings.bits >= fittedHead.bits || rows * cols > fittedHead.numbers;
}

/** What a mix makes of a matrix that nothing is special about. */
const askedOf = (mix: Mix): TypeName =>
  mix.typeOf({ name: 'blk.0.ffn_up.weight', shape: [256, 256], isHead: false, blocks: 1 });

function chosen(
  { tensors, input }: GgufModel,
  mix: Mix,
  { layers, skip, overrides }: CheckpointSettings,
): Choice[] {
  const names = tensors.flatMap(({ name, tensor }) => [name, tensor]);
  for (const [option, patterns] of [
    ['layers', layers ?? []],
    ['skip', skip],
    ...overrides.map(({ place, globs }) => [`${place}.layers`, globs] as const),
  ] as const)
    for (const pattern of patterns) requireMatch(option, pattern, names, input);
  const [wanted, unwanted] = [layers && eitherName(layers), eitherName(skip)];
  const blocks = blocksIn(tensors.map(({ name }) => name));
  const ownType = ({ name }: GgufTensor) =>
    overrides.findLast(({ matches, blockType }) => blockType !== undefined && matches(name))?.blockType;
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
const matrixShape = (shape: readonly number[]): [number, number] => [
  shape.slice(0, -1).reduce((product, size) => product * size, 1),
  shape.at(-1)!,
];

const unfitFor = (asked: TypeName, shape: readonly number[]): Left => ({
  reason: `its ${shape.at(-1)} inputs are no whole blocks of ${blockTypeNamed(asked).weights} (${asked})`,
  choice: false,
});

/** The tensors as the file will have them, but for those that are quantized on the way. */
function viewOf({ input, files }: GgufModel, choices: readonly Choice[]): ViewFile {
  const seen = choices.map(({ tensor, type }) => {
    const { name, shape, rows, raw, file } = tensor;
    const seen =
      type === null ? raw! : isFloatType(type) ? converted(rows, `tensor ${describe(name)}`, type) : rows;
    return { name, shape, file, rows: seen };
  });
  return new ViewFile(input, seen, files);
}

/** What other types take over, said beforehand. */
function fallbacks(choices: readonly Choice[]): string[] {
  const said: [name: string, what: string][] = [];
  for (const { tensor, type, asked } of choices) {
    const { name, shape } = tensor;
    if (type === null || asked === undefined || asked === type) continue;
    said.push([
      name,
      `${shape.at(-1)} inputs are no whole blocks of ${asked}: ${type} instead, ${bitsOf(type)} bits a weight and not ${bitsOf(asked)}`,
    ]);
  }
  return [...namesBy(said)].map(
    ([what, names]) => `${plural(names.length, 'tensor')} (${fewOf(names, 2)}): ${what}.`,
  );
}

function bitsOf(type: TypeName): string {
  const { weights, bytes } = blockTypeNamed(type);
  return String((8 * bytes) / weights);
}
