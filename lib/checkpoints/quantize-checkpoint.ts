import { join } from 'node:path';
import { namingMemory } from '../errors';
import { writeWhole } from '../files/output-file';
import { RunFiles } from '../runs/run-files';
import type { CheckpointSettings } from './checkpoint-options';
import { copyWhole } from './companions';
import type { UnitSource } from './make-unit';
import { manifestText } from './output-manifest';
import { unitKey } from './plan';
import { prepareOutput } from './output';
import { shardPaths } from './output-files';
import { manifestOf } from './prepare';
import type { Prepared } from './prepared';
import { type Made, madeOf, reportOf } from './report';
import { overTime } from '../options/relations';
import { runNetwork } from './run-network';
import { isLater, UnitRunner } from './run-units';
import { withTarget } from './target';
import { ShardRun } from './shard-run';
import type { CheckpointOptions, CheckpointReport } from './types';
import { summedFiles } from './summed-units';
import type { Unit } from './units';
import { writeNetwork } from './write-network';
import { WorkFolder } from '../runs/work-folder';
import { manifestName } from '../runs/work-name';
import type { BudgetReport } from '../sensitivity/choose';
import { span, spanResults } from '../spans';

/**
 * Quantizes the weights of a safetensors file, or of a folder of them with an index, and writes a file or folder that loaders take.
 *
 * Tensors are read, computed and written a few megabytes at a time, so that memory is bounded whatever the checkpoint's size; fits to
 * recorded inputs take what their Gram matrices need besides. Files appear under their names when they are complete, the index last. What
 * is done is kept beside them: a run that was interrupted, even killed, goes on with `resume`, and then has written the same bytes.
 *
 * Rejects with a TypeError or RangeError for arguments; VertexqError with the code ERR_VERTEXQ_FILE, _SAFETENSORS, _NO_LAYERS,
 * _CALIBRATION, _MEMORY, _NOT_FINITE, _SCALE_RANGE, _GRAM, _NUMERIC, _UNSUPPORTED, _EXISTS, _RESUME or _LOCKED; with the signal's reason when aborted.
 */
export async function quantizeCheckpoint(
  input: string,
  output: string,
  given: CheckpointOptions = {},
): Promise<CheckpointReport> {
  return quantizeCheckpointWith(new RunFiles(), input, output, given);
}

/** `quantizeCheckpoint` of a run that reads and writes other files too. */
export async function quantizeCheckpointWith(
  files: RunFiles,
  input: string,
  to: string,
  given: CheckpointOptions,
): Promise<CheckpointReport> {
  const told = { 'vertexq.input': input, 'vertexq.output': to };
  const run = (prepared: Prepared, budget: BudgetReport | null) => runPrepared(input, prepared, budget);
  return span('vertexq.quantize', told, () => withTarget(files, input, to, given, run), spanResults);
}

/** Runs what is prepared, and writes the output. `source`: where the bytes of units come from, where they are not computed here. */
export async function runPrepared(
  input: string,
  prepared: Prepared,
  budget: BudgetReport | null,
  source?: UnitSource,
): Promise<CheckpointReport> {
  const started = performance.now();
  const { settings, output, plan, isFile } = prepared;
  for (const warning of plan.warnings) settings.options.onWarning?.(warning);
  const manifest = await manifestOf(settings, prepared);
  const { work: path, undo } = await prepareOutput(isFile, output);
  const work = await WorkFolder.open(path, manifest, settings).catch(async (error: unknown) => {
    await undo();
    throw error;
  });
  let made: Made;
  try {
    made = prepared.generator
      ? await writeNetwork(prepared, output, work, settings)
      : await runShards(prepared, work, settings, source);
    if (!isFile) await finishFolder(output, work, prepared, made);
  } catch (error) {
    if (work.isEmpty) await work.remove().then(undo);
    else await work.close();
    throw error;
  }
  await work.remove();
  plan.warnings.push(...work.warnings);
  const report = await reportOf(
    input,
    output,
    plan,
    settings,
    made,
    prepared.network && prepared.network.data.counts,
    prepared.provenance,
  );
  const inParts = isFile && plan.shards.length > 1;
  const seconds = (performance.now() - started) / 1000;
  return {
    ...report,
    warnings: [...report.warnings, ...overTime(settings.options.time, seconds)],
    ...(inParts && { files: shardPaths(prepared) }),
    ...(budget && { budget }),
    seconds,
  };
}

async function runShards(
  prepared: Prepared,
  work: WorkFolder,
  settings: CheckpointSettings,
  source: UnitSource | undefined,
): Promise<Made> {
  const { plan, isFile, recorded, network } = prepared;
  // What the network's run fits is told of by layers.
  const costOf = (unit: Unit) => (!source && isLater(unit) ? 0 : unit.cost);
  const total = plan.shards.reduce(
    (sum, { units }) => sum + units.reduce((part, unit) => part + costOf(unit), 0),
    0,
  );
  const runner = new UnitRunner(settings, work, total, plan.weights.length, source);
  const paths = shardPaths(prepared);
  const shards = plan.shards.map(
    (shard, index) =>
      new ShardRun(
        shard,
        [shard.source, ...(recorded?.paths ?? [])],
        paths[index]!,
        work.partial(shard.name),
        shard.units.every((_, i) => work.done.has(unitKey(shard, i))),
        // Readers open the first of several parts: with it all are there.
        isFile && index === 0,
      ),
  );
  try {
    await runner.run(shards);
    if (network && !source) await runNetwork(network, plan, runner, work, settings);
    for (const shard of shards.toReversed()) {
      if (shard.isLast)
        await namingMemory(shard.path, () => shard.seal(paths.slice(1), settings.options.signal));
      if (shard.plan.units.length === 0 || shard.isLast) await shard.finish();
    }
  } finally {
    for (const shard of shards) await shard.close();
  }
  return madeOf(plan, runner);
}

/**
 * What goes with the weights: other files, the config, and last the index, which says that all is there. What a kill leaves of one
 * lies in the work folder, and goes with it.
 */
async function finishFolder(
  to: string,
  work: WorkFolder,
  { plan, companions, documents, settings }: Prepared,
  { checksums }: Made,
): Promise<void> {
  const { signal, onProgress } = settings.options;
  onProgress?.({ stage: 'write', done: 0, total: 1 });
  for (const [name, path] of companions.files) await copyWhole(path, join(to, name), work.scratch(), signal);
  const known = await summedFiles(plan, checksums);
  const manifest = await manifestText(to, documents, known, signal);
  await writeWhole(join(to, manifestName), manifest, signal, work.scratch());
  for (const { name, data } of documents) await writeWhole(join(to, name), data, signal, work.scratch());
  onProgress?.({ stage: 'write', done: 1, total: 1 });
}
