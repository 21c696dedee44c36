import type { ConfiguredWeight } from '../encodings/safetensors/encoding';
import { partName } from '../encodings/safetensors/layout';
import type { Checkpoint, Shard } from '../containers/safetensors/checkpoint';
import { isFloat } from '../containers/safetensors/dtypes';
import { behind, type LaidOut } from '../containers/laid-out';
import type { TensorFile } from '../containers/tensor-file';
import { kindOf, FileLayout, nameTwice } from '../containers/safetensors/layout';
import { VertexqError } from '../errors';
import { describe } from '../options/messages';
import { fewOf, namesBy } from '../reports/text';
import { Turns } from '../yielding';
import { checksumKey, noChecksum } from '../runs/own-checksum';
import { type Provenance, provenanceKey, provenanceText } from '../runs/provenance';
import type { CheckpointSettings } from './checkpoint-options';
import { chooseWeights, type Left, requireOverridden, requireReadable } from './choose-weights';
import { agree, fusedGroups, type Member } from './fused-groups';
import { type ModelIdentity, unties } from './model-identity';
import { type PlannedWeight, staysOne, WeightPlanner } from './planned-weight';
import type { RecordedInputs } from './recorded-inputs';
import type { CheckpointNetwork } from './network';
import { isWeightName, moduleOf, splitName } from '../encodings/safetensors/tensor-names';
import { type Unit, UnitList } from './units';
import { warn, type Warning } from '../warning-codes';

/** A file of the output, and how its data is made. */
export interface ShardPlan extends LaidOut {
  name: string;
  source: TensorFile;
  /** Where the data begins: the places of units are counted from there. */
  dataStart: number;
  units: Unit[];
}

/** What a journal calls a unit. */
export const unitKey = ({ name }: ShardPlan, index: number): string => `${name}#${index}`;
/** How tensors become units, and what is noted of them: what a journal of another version calls so is another piece of work. */
export const unitVersion = 5;

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
  warnings: Warning[];
}

export const emptyPlan = (): Plan => ({
  shards: [],
  left: new Map(),
  weights: [],
  quantization: null,
  untied: false,
  warnings: [],
});

/** Weights by the tensor that holds them: one, or those of several experts. */
type PlannedTensors = Map<string, readonly PlannedWeight[]>;

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
  provenance: Provenance,
): Promise<Plan> {
  const { format, encoding, layers, skip, overrides } = settings;
  const turns = new Turns(settings.options.signal);
  const known = encoding.holdsTransposed ? { ...identity, isTransposed: () => false } : identity;
  const chosen = await chooseWeights(checkpoint, layers, skip, known, turns);
  requireOverridden(overrides, chosen, checkpoint.input);
  requireReadable(chosen, settings);
  const plan = emptyPlan();
  const planned: PlannedTensors = new Map();
  const planner = new WeightPlanner(settings, recorded, (name) => network?.layers.has(name) ?? false);
  const unfit: [name: string, reason: string][] = [];
  for (const source of checkpoint.shards.values())
    for (const [tensor, entry] of source.tensors) {
      if (turns.due) await turns.next();
      let left = chosen.get(tensor);
      if (left === undefined) {
        const weights = identity.matricesIn(tensor, entry).map((matrix) => planner.of(matrix, tensor));
        const { shape, settings: own } = weights[0]!;
        const reason = encoding.unfit(shape, own);
        if (reason === undefined) planned.set(tensor, weights);
        else {
          left = { reason, choice: false };
          unfit.push([tensor, reason]);
        }
      }
      if (left !== undefined) plan.left.set(tensor, left);
    }
  const groups =
    encoding.isPlain || encoding.network
      ? []
      : await fusedGroups(membersOf(checkpoint, planned, plan.left, identity), turns);
  for (const [name, left] of await agree(groups, format, turns)) {
    planned.delete(name);
    plan.left.set(name, left);
    unfit.push([name, left.reason]);
  }
  if (planned.size === 0) throw nothingFits(checkpoint.input, format, unfit);
  for (const [name, reason] of unfit)
    plan.warnings.push(warn('WARN_VERTEXQ_NOT_QUANTIZED', `"${name}" is left as it is: ${reason}`));
  await turns.next();
  for (const weights of planned.values())
    for (const weight of weights) weight.index = plan.weights.push(weight) - 1;
  plan.quantization = await encoding.config(
    await configuredWeights(checkpoint, planned, turns),
    groups.map(({ path, members }) => [path, members[0]!.settings]),
    turns,
  );
  await turns.next();
  plan.untied = unties(checkpoint, identity, plan.weights);
  // Without a folder there is no config.json that could say it.
  const metadata = new Map([[provenanceKey, provenanceText(provenance)]]);
  if (checkpoint.folder === null) {
    if (plan.quantization) metadata.set('quantization_config', JSON.stringify(plan.quantization));
    metadata.set(checksumKey, noChecksum);
  }
  for (const [name, source] of checkpoint.shards)
    plan.shards.push(await shardPlan(name, source, planned, metadata, turns));
  return plan;
}

/** Where no weight can be held: the reasons, each with one that has it. */
function nothingFits(
  input: string,
  format: string,
  unfit: readonly [name: string, reason: string][],
): VertexqError {
  const told = [...namesBy(unfit)].map(([reason, names]) => `${fewOf(names.map(describe), 1)}: ${reason}`);
  return new VertexqError(
    'ERR_VERTEXQ_NO_LAYERS',
    `${input} has no weight that can be quantized in the format "${format}" with these options: ${told.slice(0, 3).join('; ')}${told.length > 3 ? '; …' : ''}`,
  );
}

/** All matrices of linear layers, as readers fuse them. */
function* membersOf(
  { shards }: Checkpoint,
  planned: PlannedTensors,
  left: ReadonlyMap<string, Left>,
  { matricesIn }: ModelIdentity,
): Generator<Member> {
  for (const { tensors } of shards.values())
    for (const [tensor, entry] of tensors) {
      const own = planned.get(tensor);
      if (own)
        for (const { name, shape, scheme } of own)
          yield { name, tensor, shape, settings: scheme.told, left: undefined };
      else if (isWeightName(tensor) || entry.shape.length > 2)
        for (const { name, shape } of matricesIn(tensor, entry))
          yield { name, tensor, shape, settings: null, left: left.get(tensor) };
    }
}

/** What config.json tells of: matrices, and what holds several, with what became of them. */
async function configuredWeights(
  { shards }: Checkpoint,
  planned: PlannedTensors,
  turns: Turns,
): Promise<ConfiguredWeight[]> {
  const list: ConfiguredWeight[] = [];
  for (const { tensors } of shards.values())
    for (const [tensor, { dtype, shape }] of tensors) {
      if (turns.due) await turns.next();
      const own = planned.get(tensor);
      if (own) for (const { name, scheme } of own) list.push([name, scheme.told]);
      else if (isWeightName(tensor) && shape.length >= 2) {
        list.push([tensor, null]);
        // Experts and convolutions, which readers may know by the module around them.
        if (shape.length > 2) list.push([holderOf(moduleOf(tensor)), null]);
      } else if (shape.length >= 2 && isFloat(dtype)) list.push([holderOf(tensor), null]);
    }
  return list;
}

/** The module of a matrix with a name of its own: of `mlp.experts.down_proj` it is `mlp.experts`. */
const holderOf = (name: string) => splitName(name)[0].slice(0, -1) || name;

/** Throws where a tensor that is copied is called as a part of a weight will be; names of parts differ from each other as the weights' do. */
function requireOwnName(tensor: string, weights: PlannedTensors): void {
  const [parent, own] = splitName(tensor);
  const parts = weights.get(`${parent}weight`)?.[0]!.layout.parts;
  if (parts?.some(({ suffix }) => suffix === `.${own}`)) throw nameTwice(tensor);
}

async function shardPlan(
  name: string,
  source: Shard,
  planned: PlannedTensors,
  metadata: ReadonlyMap<string, string>,
  turns: Turns,
): Promise<ShardPlan> {
  const maker = new FileLayout();
  for (const [tensor, { dtype, shape, byteLength }] of source.tensors) {
    if (turns.due) await turns.next();
    const weights = planned.get(tensor);
    if (!weights) requireOwnName(tensor, planned);
    if (!weights || staysOne(weights)) maker.count(tensor, dtype, shape, byteLength);
    else
      for (const { name: own, layout } of weights)
        for (const part of layout.parts) {
          if (weights.length > 1 && source.tensors.has(partName(own, part)))
            throw nameTwice(partName(own, part));
          maker.count(own, part.dtype, part.shape, part.byteLength);
        }
  }
  const list = new UnitList(source.tensors.size > manyTensors);
  const places: number[] = [];
  for (const [tensor, entry] of source.tensors) {
    if (turns.due) await turns.next();
    const weights = planned.get(tensor);
    if (!weights || staysOne(weights)) {
      const place = maker.place(tensor, kindOf(entry.dtype, entry.shape), entry.byteLength);
      if (!weights) list.copy(entry, place);
      else for (const weight of weights) list.weight(weight, [place + weight.position - entry.position]);
      continue;
    }
    for (const weight of weights) {
      places.length = 0;
      for (const part of weight.layout.parts)
        places.push(maker.place(partName(weight.name, part), part, part.byteLength));
      list.weight(weight, places);
    }
  }
  // transformers refuses metadata that does not say what tensors are of.
  const told = new Map([['format', 'pt'], ...source.metadata, ...metadata]);
  // That of the input, where the output has a manifest.
  if (!metadata.has(checksumKey)) told.delete(checksumKey);
  const head = maker.head(told);
  return { name, source, ...behind(head, { known: [], size: maker.size }), units: list.finish() };
}
