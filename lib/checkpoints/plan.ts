import type { ConfiguredWeight } from '../encodings/safetensors/encoding';
import { bytesOf, isByRows, partsOfRows, specsOf, type WeightLayout } from '../encodings/safetensors/layout';
import type { Checkpoint } from '../formats/safetensors/checkpoint';
import { floatBytes, type FloatDtype, isFloat } from '../formats/safetensors/dtypes';
import type { SafetensorsFile } from '../formats/safetensors/file';
import type { TensorEntry } from '../formats/safetensors/header';
import { type Layout, layoutOf, type TensorSpec } from '../formats/safetensors/layout';
import type { LayerSettings } from '../layers/quantize-weights';
import { fitOverridden } from '../overrides';
import type { SkippedWeight } from '../types';
import { type CheckpointSettings, weightSettings } from './checkpoint-options';
import { chooseWeights, type Left, requireOverridden, requireReadable } from './choose-weights';
import { unties } from './documents';
import { agree, fusedGroups, type Member } from './fused-groups';
import type { ModelIdentity } from './model-identity';
import type { RecordedInput, RecordedInputs } from './recorded-inputs';
import { isWeightName, moduleOf, splitName } from './tensor-names';

/** A weight on its way to few bits. */
export interface PlannedWeight {
  name: string;
  dtype: FloatDtype;
  /** [outFeatures, inFeatures]. */
  shape: [number, number];
  position: number;
  settings: LayerSettings;
  layout: WeightLayout;
  /** What the layer sees; null where nothing was recorded. */
  recorded: RecordedInput | null;
}

/** A range of bytes in the output's file. */
export interface Target {
  position: number;
  length: number;
}

/** A piece of work that is done once, and either whole or not at all. `cost`: bytes that it reads. */
export type Unit = { cost: number } & (
  | { kind: 'copy'; position: number; targets: [Target] }
  | { kind: 'constant'; data: Uint8Array; targets: [Target] }
  | { kind: 'rows'; weight: PlannedWeight; begin: number; end: number; targets: Target[] }
  | { kind: 'fit'; weight: PlannedWeight; targets: Target[] }
);

export interface ShardPlan {
  name: string;
  source: SafetensorsFile;
  layout: Layout;
  units: Unit[];
}

/** What a journal calls a unit. */
export const unitKey = ({ name }: ShardPlan, index: number): string => `${name}#${index}`;

export interface Plan {
  shards: ShardPlan[];
  /** By tensor, why it is copied. */
  left: Map<string, Left>;
  weights: PlannedWeight[];
  /** For config.json; null where readers need to know nothing. */
  quantization: Record<string, unknown> | null;
  /** Whether config.json has to say that the head is not the embedding. */
  untied: boolean;
  warnings: string[];
}

/** Bytes of input in a unit: small enough for several to be in memory, and large enough that nothing else takes time. */
export const unitBytes = 2 ** 24;
/** Rows of a unit begin at multiples of this: there packed zero points begin at a word. */
const rowBlock = 32;

/** Decides what becomes of each tensor and where everything will lie. It depends on the input and the options that choose, alone. */
export function planOf(
  checkpoint: Checkpoint,
  settings: CheckpointSettings,
  recorded: RecordedInputs | null,
  identity: ModelIdentity,
): Plan {
  const { format, encoding, layers, skip, overrides } = settings;
  const chosen = chooseWeights(checkpoint, layers, skip, identity);
  requireOverridden(overrides, chosen, checkpoint.input);
  requireReadable(chosen, settings);
  const plan: Plan = {
    shards: [],
    left: new Map(),
    weights: [],
    quantization: null,
    untied: false,
    warnings: [],
  };
  const planned = new Map<string, PlannedWeight>();
  const unfit: [name: string, reason: string][] = [];
  for (const source of checkpoint.shards.values())
    for (const [tensor, entry] of source.tensors) {
      let left = chosen.get(tensor);
      if (left === undefined) {
        const weight = plannedWeight(tensor, entry, settings, recorded);
        const reason = encoding.unfit(weight.shape, weight.settings);
        if (reason === undefined) planned.set(tensor, weight);
        else {
          left = { reason, choice: false };
          unfit.push([tensor, reason]);
        }
      }
      if (left !== undefined) plan.left.set(tensor, left);
    }
  const groups = encoding.isPlain ? [] : fusedGroups(membersOf(checkpoint, planned, plan.left));
  for (const [name, left] of agree(groups, format)) {
    planned.delete(name);
    plan.left.set(name, left);
    unfit.push([name, left.reason]);
  }
  for (const [name, reason] of unfit) plan.warnings.push(`"${name}" is left as it is: ${reason}`);
  for (const weight of planned.values()) plan.weights.push(weight);
  if (plan.weights.length > 0)
    plan.quantization = encoding.config(
      configuredWeights(checkpoint, planned),
      groups.map(({ path, members }) => [path, members[0]!.settings]),
    );
  plan.untied = unties(checkpoint, identity, plan);
  // Without a folder there is no config.json that could say it.
  const metadata = new Map<string, string>();
  if (checkpoint.folder === null && plan.quantization)
    metadata.set('quantization_config', JSON.stringify(plan.quantization));
  for (const [name, source] of checkpoint.shards)
    plan.shards.push(shardPlan(name, source, planned, metadata));
  return plan;
}

/** All matrices of linear layers, as readers fuse them. */
function* membersOf(
  { shards }: Checkpoint,
  planned: ReadonlyMap<string, PlannedWeight>,
  left: ReadonlyMap<string, Left>,
): Generator<Member> {
  for (const { tensors } of shards.values())
    for (const [name, { shape }] of tensors)
      if (isWeightName(name) && shape.length === 2)
        yield { name, shape, settings: schemeOf(planned.get(name)), left: left.get(name) };
}

/** What config.json tells of: matrices, and what holds several, with what became of them. */
function configuredWeights(
  { shards }: Checkpoint,
  planned: ReadonlyMap<string, PlannedWeight>,
): ConfiguredWeight[] {
  const list: ConfiguredWeight[] = [];
  for (const { tensors } of shards.values())
    for (const [name, { dtype, shape }] of tensors) {
      const settings = schemeOf(planned.get(name));
      if (isWeightName(name) && shape.length === 2) list.push([name, settings]);
      else if (shape.length >= 2 && !isWeightName(name) && isFloat(dtype)) list.push([holderOf(name), null]);
    }
  return list;
}

/** The module of a matrix with a name of its own: of `mlp.experts.down_proj` it is `mlp.experts`. */
const holderOf = (name: string) => splitName(name)[0].slice(0, -1) || name;

/** A group as wide as the layer is a scale per channel, whatever its width. */
function schemeOf(weight: PlannedWeight | undefined): LayerSettings | null {
  if (!weight) return null;
  const { settings, shape } = weight;
  return settings.groupSize === shape[1] ? { ...settings, groupSize: Infinity } : settings;
}

function plannedWeight(
  name: string,
  entry: TensorEntry,
  settings: CheckpointSettings,
  recorded: RecordedInputs | null,
): PlannedWeight {
  const shape = entry.shape as [number, number];
  const input = recorded?.of(name, shape[1]) ?? null;
  const overrides = settings.overrides.filter(({ matches }) => matches(name));
  const own = fitOverridden(`tensor "${name}"`, overrides, () =>
    weightSettings(settings, overrides, shape[1], input !== null),
  );
  return {
    ...{ name, dtype: entry.dtype as FloatDtype, shape, position: entry.position, settings: own },
    layout: settings.encoding.layout(name, entry, own),
    recorded: input,
  };
}

function shardPlan(
  name: string,
  source: SafetensorsFile,
  weights: ReadonlyMap<string, PlannedWeight>,
  metadata: ReadonlyMap<string, string>,
): ShardPlan {
  const specs: TensorSpec[] = [];
  for (const [tensor, { dtype, shape, byteLength }] of source.tensors) {
    const weight = weights.get(tensor);
    if (weight) specs.push(...specsOf(weight.layout));
    else specs.push({ name: tensor, dtype, shape, byteLength });
  }
  const layout = layoutOf(specs, new Map([...source.metadata, ...metadata]));
  const place = (tensor: string) => layout.tensors.get(tensor)!.position;
  const units: Unit[] = [];
  for (const [tensor, entry] of source.tensors) {
    const weight = weights.get(tensor);
    if (weight) units.push(...weightUnits(weight, place));
    else
      for (let begin = 0; begin < entry.byteLength; begin += unitBytes) {
        const length = Math.min(unitBytes, entry.byteLength - begin);
        units.push({
          ...{ kind: 'copy', cost: length, position: entry.position + begin },
          targets: [{ position: place(tensor) + begin, length }],
        });
      }
  }
  return { name, source, layout, units: inDataOrder(units.length > manyUnits ? merged(units) : units) };
}

type Copy = Extract<Unit, { kind: 'copy' }>;
type Constant = Extract<Unit, { kind: 'constant' }>;

/** From here on what each piece takes besides its bytes is much of all. */
const manyUnits = 1000;
/** Bytes of constants in one unit. */
const constantBytes = 2 ** 20;

/** Small pieces that lie one after the other are one piece of work: a checkpoint may have very many. */
function merged(units: readonly Unit[]): Unit[] {
  const list: Unit[] = [];
  const constants: Constant[] = [];
  let copy: Copy | undefined;
  for (const unit of units) {
    if (unit.kind === 'constant') constants.push(unit);
    else if (unit.kind !== 'copy') list.push(unit);
    else if (
      copy &&
      copy.position + copy.cost === unit.position &&
      copy.targets[0].position + copy.cost === unit.targets[0].position &&
      copy.cost + unit.cost <= unitBytes
    ) {
      copy.cost += unit.cost;
      copy.targets[0].length += unit.cost;
    } else list.push((copy = unit));
  }
  constants.sort((a, b) => a.targets[0].position - b.targets[0].position);
  let run: Constant[] = [];
  let length = 0;
  for (const constant of constants) {
    const [{ position, length: own }] = constant.targets;
    const last = run.at(-1)?.targets[0];
    if (last && (last.position + last.length !== position || length + own > constantBytes)) {
      list.push(joined(run));
      run = [];
      length = 0;
    }
    run.push(constant);
    length += own;
  }
  if (run.length > 0) list.push(joined(run));
  return list;
}

function joined(run: readonly Constant[]): Constant {
  const data = Buffer.concat(run.map((constant) => constant.data));
  const { position } = run[0]!.targets[0];
  return { kind: 'constant', cost: 0, data, targets: [{ position, length: data.length }] };
}

/** Layers with the same recorded input one after the other: what was made of it is kept for the next. */
function inDataOrder(units: Unit[]): Unit[] {
  const first = new Map<RecordedInput, number>();
  const keys = units.map((unit, i) => {
    const input = unit.kind === 'fit' ? unit.weight.recorded : null;
    if (!input) return i;
    if (!first.has(input)) first.set(input, i);
    return first.get(input)!;
  });
  return units
    .map((unit, i) => ({ unit, key: keys[i]!, i }))
    .sort((a, b) => a.key - b.key || a.i - b.i)
    .map(({ unit }) => unit);
}

function weightUnits(weight: PlannedWeight, place: (tensor: string) => number): Unit[] {
  const { shape, dtype, layout, recorded } = weight;
  const targets = (begin: number, end: number) =>
    partsOfRows(layout, shape[0], begin, end).map(({ name, begin: from, length }) => ({
      ...{ position: place(name) + from, length },
    }));
  const units: Unit[] = layout.constants.map(({ spec, data }) => ({
    ...{ kind: 'constant', cost: 0, data, targets: [{ position: place(spec.name), length: data.length }] },
  }));
  const [rows, cols] = shape;
  const rowBytes = cols * floatBytes[dtype];
  if (recorded) return [...units, { kind: 'fit', weight, cost: rows * rowBytes, targets: targets(0, rows) }];
  const step = isByRows(layout) ? rowsPerUnit(rowBytes) : rows;
  for (let begin = 0; begin < rows; begin += step) {
    const end = Math.min(rows, begin + step);
    units.push({
      ...{ kind: 'rows', weight, begin, end, cost: (end - begin) * rowBytes, targets: targets(begin, end) },
    });
  }
  return units;
}

/** Rows read at a time: whole blocks of them. */
export function rowsPerUnit(rowBytes: number): number {
  return Math.max(1, Math.floor(unitBytes / rowBytes / rowBlock)) * rowBlock;
}

/** Bytes of the weights that are quantized, before and after. */
export function weightBytes({ weights }: Plan): { before: number; after: number } {
  let [before, after] = [0, 0];
  for (const { shape, dtype, layout } of weights) {
    before += shape[0] * shape[1] * floatBytes[dtype];
    after += bytesOf(specsOf(layout));
  }
  return { before, after };
}

/** The weights that are copied: tensors of floats, and what is quantized already. */
export function skippedOf({ shards, left }: Pick<Plan, 'shards' | 'left'>): SkippedWeight[] {
  const skipped: SkippedWeight[] = [];
  for (const { source } of shards)
    for (const [name, { dtype, byteLength: bytes }] of source.tensors) {
      const found = left.get(name);
      if (found && (/^B?F/.test(dtype) || found.choice))
        skipped.push({ name, reason: found.reason, bytes, choice: found.choice });
    }
  return skipped;
}

/** The name in reports. */
export const layerName = ({ name }: PlannedWeight) => moduleOf(name);
