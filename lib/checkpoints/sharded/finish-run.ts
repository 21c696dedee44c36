import { lstat, mkdir, rename, rm, rmdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { namingMemory, VertexqError } from '../../errors';
import { syncFolder, unwritable } from '../../files/output-file';
import { checkOptions } from '../../options/table';
import { fewOf } from '../../reports/text';
import { Lock } from '../../runs/lock';
import { requireWritable, RunFiles } from '../../runs/run-files';
import { warn } from '../../warning-codes';
import { shardPaths } from '../output-files';
import type { Prepared } from '../prepared';
import { runPrepared } from '../quantize-checkpoint';
import { verifyValues } from '../verify-checkpoint';
import { keyedUnits } from './keyed-units';
import { StoredUnits, unitName } from './stored-units';
import type { FinishReport, PlanFile, PlannedRunOptions } from './types';
import { UnitStore } from './unit-store';
import { type OpenPlan, requireNotThere, resultsOf, withPlan } from './with-plan';

/** In the folder of results: where the output is made, and what says that someone is at it. */
const [madeName, lockName] = ['made', 'lock'];

/**
 * Puts the output of a plan together of the results of `runShard`, reads it back next to the input, gives it its name and takes the results away: then it is what `quantizeCheckpoint` would have
 * written. Rejects with ERR_VERTEXQ_INCOMPLETE where results are missing or damaged, ERR_VERTEXQ_VERIFY where what is read back is not as it should be, ERR_VERTEXQ_LOCKED
 * where another process is at it; and as `runShard`. Whatever it rejects with, results stay, and it may be run again.
 */
export async function finishRun(
  plan: string | PlanFile,
  options: PlannedRunOptions = {},
): Promise<FinishReport> {
  return finishRunWith(new RunFiles(), plan, options);
}

/** `finishRun` of a command that reads and writes other files too. */
export async function finishRunWith(
  files: RunFiles,
  plan: string | PlanFile,
  options: PlannedRunOptions,
): Promise<FinishReport> {
  const started = performance.now();
  checkOptions('finishRun', options);
  const finish = async (opened: OpenPlan) => {
    const { output, folder } = opened;
    await requireWritable(output, { mayExist: true });
    const store = new UnitStore(folder);
    const keys = await keysOf(opened, store);
    const lock = await Lock.take(join(folder, lockName));
    opened.warnings.push(...lock.warnings);
    try {
      // Someone else may have finished it while the lock was his.
      await requireNotThere(opened.prepared, output);
      const report = await finishIn(opened, store, keys, options);
      await lock.remove();
      await store.remove(keys.values());
      return { ...report, seconds: (performance.now() - started) / 1000 };
    } finally {
      await lock.close();
    }
  };
  return withPlan(files, plan, options, finish, (folder) => join(folder, madeName));
}

/** Takes away what is left of a plan whose output is there: of a process that was ended after it had named the output. Nothing where another is at it. */
export async function removeLeft({ id, units }: PlanFile, output: string): Promise<void> {
  const folder = resultsOf(id, output);
  if (!(await lstat(folder).catch(() => undefined))?.isDirectory()) return;
  const lock = await Lock.take(join(folder, lockName)).catch(() => undefined);
  if (!lock) return;
  await rm(join(folder, madeName), { recursive: true, force: true }).catch(() => {}); // of no use, and in nobody's way
  await lock.remove();
  await new UnitStore(folder).remove(units.map(({ key }) => key)).catch(() => {}); // another was quicker
}

/** Keys of results by what the journal calls units. Throws ERR_VERTEXQ_INCOMPLETE where some are missing. */
async function keysOf(opened: OpenPlan, store: UnitStore): Promise<Map<string, string>> {
  const keys = new Map<string, string>();
  const missing: string[] = [];
  for (const [i, { unit, journalKey, key }] of [...keyedUnits(opened)].entries()) {
    if (unit.kind === 'copy') continue;
    keys.set(journalKey, key);
    if (!(await store.isThere(key, opened.plan.units[i]!.writes.bytes))) missing.push(unitName(unit));
  }
  if (missing.length > 0)
    throw new VertexqError(
      'ERR_VERTEXQ_INCOMPLETE',
      `${missing.length} of ${keys.size} results are missing in ${store.folder}: of ${fewOf(missing, 4)}. "vertexq work" makes them`,
    );
  return keys;
}

async function finishIn(
  { plan, prepared, input, output, folder, warnings }: OpenPlan,
  store: UnitStore,
  keys: ReadonlyMap<string, string>,
  { signal, threads, onProgress }: PlannedRunOptions,
): Promise<FinishReport> {
  const made = join(folder, madeName);
  // What an earlier attempt has left.
  await rm(made, { recursive: true, force: true });
  await mkdir(made);
  try {
    const source = new StoredUnits(store, keys, plan.kernels);
    const report = await runPrepared(input, prepared, null, source);
    const job = { ...(signal && { signal }), ...(threads && { threads }), ...(onProgress && { onProgress }) };
    const [first] = prepared.isFile ? shardPaths(prepared) : [prepared.output];
    const verification = await namingMemory(first!, () => verifyValues(first!, input, job));
    const { faults } = verification;
    if (faults.length > 0)
      throw new VertexqError(
        'ERR_VERTEXQ_VERIFY',
        `What was put together for ${output} is not as it should be, and was not kept: ${fewOf(faults, 3)}`,
      );
    signal?.throwIfAborted();
    await publish(prepared, output);
    for (const kernels of source.others)
      warnings.push(
        warn(
          'WARN_VERTEXQ_OTHER_KERNELS',
          `Some results were computed by other kernels than the plan's (${plan.kernels.blas} and ${plan.kernels.simd}), by ${kernels}: the output may differ in its last bits from what either would have written.`,
        ),
      );
    return {
      ...report,
      output,
      ...(report.files && { files: report.files.map((path) => join(dirname(output), basename(path))) }),
      warnings: [...report.warnings, ...warnings],
      verification: { ...verification, quantized: output },
    };
  } finally {
    await rm(made, { recursive: true, force: true }).catch(() => {}); // of no use, and in nobody's way
  }
}

/** Gives what was made its place; of several files the first last, which readers open. Rejects with ERR_VERTEXQ_FILE. */
async function publish(prepared: Prepared, output: string): Promise<void> {
  await requireNotThere(prepared, output);
  try {
    if (prepared.isFile)
      for (const path of shardPaths(prepared).toReversed())
        await rename(path, join(dirname(output), basename(path)));
    else {
      if (await lstat(output).catch(() => undefined)) await rmdir(output);
      await rename(prepared.output, output);
    }
  } catch (cause) {
    throw unwritable(output, cause);
  }
  await syncFolder(dirname(output));
}
