import { GgufLayout } from '../../containers/gguf/layout';
import { partNameOf } from '../../containers/gguf/parts';
import { keyBytes } from '../../containers/gguf/values';
import { behind } from '../../containers/laid-out';
import type { TensorEntry } from '../../containers/tensor-file';
import type { Matrix } from '../../encodings/safetensors/matrices';
import { isFloatType } from '../../encodings/gguf/mixes';
import { ggufTypes } from '../../encodings/gguf/table';
import { VertexqError } from '../../errors';
import { checksumKey, noChecksum } from '../../runs/own-checksum';
import { type Provenance, provenanceKey, provenanceText } from '../../runs/provenance';
import type { Turns } from '../../yielding';
import type { CheckpointSettings } from '../checkpoint-options';
import type { CheckpointNetwork } from '../network';
import { emptyPlan, type Plan, type ShardPlan } from '../plan';
import { WeightPlanner } from '../planned-weight';
import { UnitList } from '../units';
import { askedOf, type Choice, chosen, fallbacks, matrixShape } from './choices';
import type { GgufModel, GgufTensor } from './tensor';
import { expertName } from './network';
import { inParts, type Piece, pieceOf } from './parts';
import { ViewFile } from './view';

/** What the journal calls the output, and its parts. */
const [outputName, outputStem] = ['model.gguf', 'model'];
/** Which version of block types a file has. */
const quantizationVersion = 2;

/** A head is fitted where it has fewer bits than this, as what 8 bits lose is nothing beside the blocks' error, and no more numbers: others take as long as all blocks. */
const fittedHead = { bits: 8, numbers: 2 ** 27 };

/** Decides what becomes of each tensor, and where it will lie: from names, shapes and options alone. */
export async function planGguf(
  model: GgufModel,
  settings: CheckpointSettings,
  network: CheckpointNetwork | null,
  provenance: Provenance,
  turns: Turns,
): Promise<Plan> {
  const mix = settings.encoding.mix!;
  const choices = chosen(model, mix, settings);
  const alone = new Set(choices.filter(isWideHead).map(({ tensor }) => tensor.name));
  const planner = new WeightPlanner(settings, null, (name) => (network?.layers.has(name) ?? false) && !alone.has(name)); // prettier-ignore
  const told = [
    ...model.keys,
    ...(mix.fileType === null ? [] : [keyBytes('general.file_type', { type: 'u32', value: mix.fileType })]),
    keyBytes('general.quantization_version', { type: 'u32', value: quantizationVersion }),
    keyBytes(provenanceKey, { type: 'text', value: provenanceText(provenance) }),
    keyBytes(checksumKey, { type: 'text', value: noChecksum }),
  ];
  const plan = emptyPlan();
  const pieces = choices.map(pieceOf);
  const parts = inParts(pieces, told, settings.options.maxFileSize, model.input);
  for (const [number, { pieces, keys }] of parts.entries()) {
    const name = parts.length === 1 ? outputName : partNameOf(outputStem, number, parts.length);
    const view = viewOf(model, pieces, number === 0);
    plan.shards.push({
      name,
      source: view,
      ...(await placed(pieces, keys, view, network, planner, plan, turns)),
    });
  }
  if (plan.weights.length === 0 && settings.encoding.mix !== undefined && !isFloatType(askedOf(mix)))
    throw new VertexqError('ERR_VERTEXQ_NO_LAYERS', `${model.input} has no weight to quantize`);
  plan.warnings.push(...model.warnings, ...fallbacks(choices));
  return plan;
}

/** Whether it is a head that is rounded by itself whatever the network shows of it. */
function isWideHead({ tensor: { isHead, shape }, type }: Choice): boolean {
  if (!isHead || type === null || isFloatType(type)) return false;
  const [rows, cols] = matrixShape(shape);
  return ggufTypes[type].settings.bits >= fittedHead.bits || rows * cols > fittedHead.numbers;
}

/** The tensors as a file will have them, but for those that are quantized on the way. Reports count the bytes of what it is made of with the first. */
const viewOf = ({ input, files }: GgufModel, pieces: readonly Piece[], isFirst: boolean): ViewFile =>
  new ViewFile(
    input,
    pieces.map(({ seen }) => seen),
    files,
    undefined,
    isFirst ? undefined : 0,
  );

/** What is quantized by itself: a tensor whole, or where a network tells of experts each of them. */
function matricesOf(
  { name, shape, experts }: GgufTensor,
  { dtype, position, byteLength }: TensorEntry,
  isRun: boolean,
): Matrix[] {
  if (!experts || !isRun) return [{ name, dtype, shape: matrixShape(shape), position, stride: 0 }];
  const own = matrixShape(shape.slice(1));
  const each = byteLength / experts.length;
  return experts.map((_, i) => ({ name: expertName(name, i), dtype, shape: own, position: position + i * each, stride: 0 })); // prettier-ignore
}

/** Where everything of a file will lie, and what is to be done for it; weights are added to the plan. */
async function placed(
  pieces: readonly Piece[],
  keys: readonly Uint8Array[],
  view: ViewFile,
  network: CheckpointNetwork | null,
  planner: WeightPlanner,
  plan: Plan,
  turns: Turns,
): Promise<Omit<ShardPlan, 'name' | 'source'>> {
  const layout = new GgufLayout();
  const list = new UnitList(false);
  for (const {
    choice: { tensor, type, left },
    byteLength,
  } of pieces) {
    if (turns.due) await turns.next();
    const { name, shape, heads } = tensor;
    const entry = view.tensor(name);
    if (type === null || isFloatType(type)) {
      plan.left.set(name, left ?? { reason: `kept as ${entry.dtype}`, choice: true });
      list.copy(entry, layout.place(name, entry.dtype, shape, entry.byteLength));
      continue;
    }
    const place = layout.place(name, type, shape, byteLength);
    for (const [i, matrix] of matricesOf(tensor, entry, network !== null).entries()) {
      const weight = planner.of(matrix, name, ggufTypes[type]);
      weight.heads = heads;
      weight.index = plan.weights.push(weight) - 1;
      list.weight(weight, [place + i * weight.layout.byteLength]);
    }
  }
  return { ...behind(layout.head(keys), layout.data), units: list.finish() };
}
