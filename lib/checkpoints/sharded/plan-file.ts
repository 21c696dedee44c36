import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import { kernels } from '../../environment';
import { InputFile } from '../../files/input-file';
import { sampledHash } from '../../files/sampled-hash';
import { without } from '../../options/choose';
import { calls } from '../../options/table';
import { version } from '../../version';
import { Turns } from '../../yielding';
import { memoryOf } from '../make-unit';
import { shardPaths } from '../output-files';
import { type ShardPlan, unitVersion } from '../plan';
import type { Prepared } from '../prepared';
import type { CheckpointOptions } from '../types';
import type { PlannedWeight } from '../planned-weight';
import { layersOf } from '../run-network';
import { isLater } from '../run-units';
import { type FitUnit, targetsOf, type Unit } from '../units';
import type { PlanFile, PlannedFile, PlannedInput, PlannedUnit } from './types';

/** Options of `quantizeCheckpoint` that a plan file holds: neither how the work is done nor what only chooses others. */
export const plannedOptions = Object.keys(
  without(
    calls.quantizeCheckpoint,
    ...(['threads', 'memory', 'signal', 'onProgress', 'onWarning', 'resume', 'otherKernels'] as const),
    ...(['targetSize', 'targetBits', 'targetError', 'sensitivity'] as const),
  ),
);

/** All of a plan file but what is for people. */
export type Deciding = Omit<PlanFile, 'summary'>;

/** What a plan file says of a run that is prepared. `input`, `output`: as it calls them. */
export async function decidingOf(
  prepared: Prepared,
  input: string,
  output: string,
  ownKernels = kernels(),
): Promise<Deciding> {
  const { settings, plan } = prepared;
  const given = settings.options as Record<string, unknown>;
  const options = plannedOptions.flatMap((name): [string, unknown][] =>
    given[name] === undefined ? [] : [[name, given[name]]],
  );
  const inputs = await inputsOf(prepared);
  const base = {
    ...{ schemaVersion: 1 as const, vertexq: version, format: settings.format },
    options: JSON.parse(JSON.stringify(Object.fromEntries(options))) as Record<string, unknown>,
    kernels: ownKernels,
    inputs,
    files: filesOf(prepared, inputs),
  };
  const digest = hashOf([unitVersion, base]);
  const turns = new Turns(settings.options.signal);
  const units: PlannedUnit[] = [];
  const fits = new Map<PlannedWeight, PlannedUnit>();
  for (const [i, shard] of plan.shards.entries())
    for (const unit of shard.units) {
      if (turns.due) await turns.next();
      const told = plannedUnit(unit, shard, base.files[i]!.name);
      units.push({ key: hashOf([digest, units.length, told]), ...told });
      if (isLater(unit)) fits.set((unit as FitUnit).weight, units.at(-1)!);
    }
  // A layer is fitted to what those before it give: one after the other.
  let before: PlannedUnit | undefined;
  for (const weight of weightsInOrder(prepared)) {
    const unit = fits.get(weight)!;
    if (before) unit.needs = [before.key];
    before = unit;
  }
  const id = hashOf([digest, input, output, units.map(({ key }) => key)]);
  return { ...base, id, input, output, units };
}

const hashOf = (value: unknown) => createHash('sha256').update(JSON.stringify(value)).digest('hex');

/** A file as it is now. Rejects with ERR_VERTEXQ_FILE. */
export const plannedInput = (name: string, path: string): Promise<PlannedInput> =>
  InputFile.with(path, async ({ size: bytes, modified }) => ({
    ...{ name, bytes, modified: String(modified) },
    sha256: await sampledHash([path]),
  }));

/** Files of data that options name. */
export function dataPaths(options: CheckpointOptions): string[] {
  const { activations, imatrix, calibration, holdout, tokenizer } = options;
  return [activations, imatrix, calibration, holdout, tokenizer]
    .flat()
    .filter((path) => typeof path === 'string');
}

async function inputsOf({ inputs, companions, settings }: Prepared): Promise<PlannedInput[]> {
  const named = [
    ...inputs.map(({ path }) => [basename(path), path] as const),
    ...companions.files,
    ...dataPaths(settings.options).map((path) => [path, path] as const),
  ];
  const found: PlannedInput[] = [];
  for (const [name, path] of named) found.push(await plannedInput(name, path));
  return found;
}

/** The weights that are fitted to text, in the order in which the network comes to them. */
function weightsInOrder({ network, plan, settings }: Prepared): Set<PlannedWeight> {
  if (!network) return new Set();
  const weights = plan.weights.filter(({ inNetwork }) => inNetwork);
  return new Set(layersOf(network.opened, network.layers, weights, settings).map(({ weight }) => weight));
}

function filesOf(prepared: Prepared, inputs: readonly PlannedInput[]): PlannedFile[] {
  const { plan, companions, documents } = prepared;
  const names = shardPaths(prepared).map((path) => basename(path));
  const sizes = new Map(inputs.map(({ name, bytes }) => [name, bytes]));
  return [
    ...plan.shards.map(({ known, size }, i): PlannedFile => {
      const hash = createHash('sha256');
      for (const { position, bytes } of known) hash.update(`${position} ${bytes.length}\n`).update(bytes);
      return { name: names[i]!, bytes: size, made: 'units', sha256: hash.digest('hex') };
    }),
    ...[...companions.files.keys()].map((name): PlannedFile => ({
      name,
      bytes: sizes.get(name)!,
      made: 'copied',
      sha256: null,
    })),
    ...documents.map(({ name, data }): PlannedFile => {
      const sha256 = createHash('sha256').update(data).digest('hex');
      return { name, bytes: data.length, made: 'written', sha256 };
    }),
  ];
}

function plannedUnit(unit: Unit, { dataStart }: ShardPlan, file: string): Omit<PlannedUnit, 'key'> {
  let [begin, end, bytes] = [Infinity, 0, 0];
  for (const { position, length } of targetsOf(unit)) {
    begin = Math.min(begin, dataStart + position);
    end = Math.max(end, dataStart + position + length);
    bytes += length;
  }
  begin = Math.min(begin, end);
  return {
    kind: unit.kind,
    weight: 'weight' in unit ? unit.weight.name : null,
    rows:
      unit.kind === 'rows' ? [unit.begin, unit.end] : unit.kind === 'fit' ? [0, unit.weight.shape[0]] : null,
    reads: unit.cost,
    writes: { file, begin, end, bytes },
    memory: memoryOf(unit),
    needs: [],
  };
}
