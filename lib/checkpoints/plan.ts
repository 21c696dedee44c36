import type { ConfiguredWeight } from '../encodings/safetensors/encoding';
import { partName } from '../encodings/safetensors/layout';
import type { Checkpoint } from '../containers/safetensors/checkpoint';
import { isFloat } from '../containers/safetensors/dtypes';
import type { SafetensorsFile } from '../containers/safetensors/file';
import type { TensorFile } from '../containers/tensor-file';
import { kindOf, FileLayout, nameTwice } from '../containers/safetensors/layout';
import { Turns } from '../yielding';
import type { CheckpointSettings } from './checkpoint-options';
import { chooseWeights, type Left, requireOverridden, requireReadable } from './choose-weights';
import { agree, fusedGroups, type Member } from './fused-groups';
import { type ModelIdentity, unties } from './model-identity';
import { type PlannedWeight, WeightPlanner } from './planned-weight';
import type { RecordedInputs } from './recorded-inputs';
import type { CheckpointNetwork } from './network';
import { isWeightName, splitName } from '../encodings/safetensors/tensor-names';
import { type Unit, UnitList } from './units';

export interface ShardPlan {
  name: string;
  source: TensorFile;
  /** The output's header with its length, in pieces. */
  head: readonly Uint8Array[];
  /** Bytes of it: where the data begins. */
  dataStart: number;
  /** Bytes of the output. */
  size: number;
  units: Unit[];
}

/** What a journal calls a unit. */
export const unitKey = ({ name }: ShardPlan, index: number): string => `${name}#${index}`;
/** How tensors become units: what a journal of another version calls so is another piece of work. */
export const unitVersion = 3;

export interface Plan {
  shards: ShardPlan[];
  /** By tensor, why it is copied. */
  left: Map<string, Left>;
  /** As they lie in the files, one after the other. */
  weights: PlannedWeight[];
  /** For config.json; null where readers need to know nothing. */
  quantization: Record<string, unknown> | null;
  /** Whether config.json has to say that the head is not the embedding. */
  untied: boolean;
  warnings: string[];
}

/** A file of more tensors than these has small ones done together. */
const manyTensors = 500;

/**
 * Decides what becomes of each tensor and where everything will lie. It depends on the input and the options that choose, alone. There may be
 * very many tensors: the event loop goes on meanwhile, and what is kept of each is little.
 */
export async function planOf(
  checkpoint: Checkpoint,
  settings: CheckpointSettings,
  recorded: RecordedInputs | null,
  network: CheckpointNetwork | null,
  identity: ModelIdentity,
): Promise<Plan> {
  const { format, encoding, layers, skip, overrides } = settings;
  const turns = new Turns(settings.options.signal);
  const chosen = await chooseWeights(checkpoint, layers, skip, identity, turns);
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
  const planner = new WeightPlanner(settings, recorded, (name) => network?.layers.has(name) ?? false);
  const unfit: [name: string, reason: string][] = [];
  for (const source of checkpoint.shards.values())
    for (const [tensor, entry] of source.tensors) {
      if (turns.due) await turns.next();
      let left = chosen.get(tensor);
      if (left === undefined) {
        const weight = planner.of(tensor, entry);
        const reason = encoding.unfit(weight.shape, weight.settings);
        if (reason === undefined) planned.set(tensor, weight);
        else {
          left = { reason, choice: false };
          unfit.push([tensor, reason]);
        }
      }
      if (left !== undefined) plan.left.set(tensor, left);
    }
  const groups = encoding.isPlain ? [] : await fusedGroups(membersOf(checkpoint, planned, plan.left), turns);
  for (const [name, left] of await agree(groups, format, turns)) {
    planned.delete(name);
    plan.left.set(name, left);
    unfit.push([name, left.reason]);
  }
  for (const [name, reason] of unfit) plan.warnings.push(`"${name}" is left as it is: ${reason}`);
  await turns.next();
  for (const weight of planned.values()) weight.index = plan.weights.push(weight) - 1;
  if (plan.weights.length > 0)
    plan.quantization = await encoding.config(
      await configuredWeights(checkpoint, planned, turns),
      groups.map(({ path, members }) => [path, members[0]!.settings]),
      turns,
    );
  await turns.next();
  plan.untied = unties(checkpoint, identity, plan.weights);
  // Without a folder there is no config.json that could say it.
  const metadata = new Map<string, string>();
  if (checkpoint.folder === null && plan.quantization)
    metadata.set('quantization_config', JSON.stringify(plan.quantization));
  for (const [name, source] of checkpoint.shards)
    plan.shards.push(await shardPlan(name, source, planned, metadata, turns));
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
        yield { name, shape, settings: planned.get(name)?.scheme.told ?? null, left: left.get(name) };
}

/** What config.json tells of: matrices, and what holds several, with what became of them. */
async function configuredWeights(
  { shards }: Checkpoint,
  planned: ReadonlyMap<string, PlannedWeight>,
  turns: Turns,
): Promise<ConfiguredWeight[]> {
  const list: ConfiguredWeight[] = [];
  for (const { tensors } of shards.values())
    for (const [name, { dtype, shape }] of tensors) {
      if (turns.due) await turns.next();
      if (isWeightName(name) && shape.length === 2) list.push([name, planned.get(name)?.scheme.told ?? null]);
      else if (shape.length >= 2 && !isWeightName(name) && isFloat(dtype)) list.push([holderOf(name), null]);
    }
  return list;
}

/** The module of a matrix with a name of its own: of `mlp.experts.down_proj` it is `mlp.experts`. */
const holderOf = (name: string) => splitName(name)[0].slice(0, -1) || name;

/** Throws where a tensor that is copied is called as a part of a weight will be; names of parts differ from each other as the weights' do. */
function requireOwnName(tensor: string, weights: ReadonlyMap<string, PlannedWeight>): void {
  const [parent, own] = splitName(tensor);
  const parts = weights.get(`${parent}weight`)?.layout.parts;
  if (parts?.some(({ suffix }) => suffix === `.${own}`)) throw nameTwice(tensor);
}

async function shardPlan(
  name: string,
  source: SafetensorsFile,
  weights: ReadonlyMap<string, PlannedWeight>,
  metadata: ReadonlyMap<string, string>,
  turns: Turns,
): Promise<ShardPlan> {
  const maker = new FileLayout();
  for (const [tensor, { dtype, shape, byteLength }] of source.tensors) {
    if (turns.due) await turns.next();
    const weight = weights.get(tensor);
    if (!weight) {
      requireOwnName(tensor, weights);
      maker.count(tensor, dtype, shape, byteLength);
    } else
      for (const part of weight.layout.parts) maker.count(tensor, part.dtype, part.shape, part.byteLength);
  }
  const list = new UnitList(source.tensors.size > manyTensors);
  const places: number[] = [];
  for (const [tensor, entry] of source.tensors) {
    if (turns.due) await turns.next();
    const weight = weights.get(tensor);
    if (!weight) {
      list.copy(entry, maker.place(tensor, kindOf(entry.dtype, entry.shape), entry.byteLength));
      continue;
    }
    places.length = 0;
    for (const part of weight.layout.parts)
      places.push(maker.place(partName(tensor, part), part, part.byteLength));
    list.weight(weight, places);
  }
  const head = maker.head(new Map([...source.metadata, ...metadata]));
  const dataStart = head.reduce((sum, { length }) => sum + length, 0);
  return { name, source, head, dataStart, size: dataStart + maker.size, units: list.finish() };
}
