import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { plainPath } from '../files/plain-path';
import type { RunFiles } from '../runs/run-files';
import { workFolderOf, workName } from '../runs/work-name';
import { addDataPaths } from '../models/run-files';
import type { Prepared } from './prepare';
import { networkName } from './generator';
import type { CheckpointOptions } from './types';

/** Notes what a run reads and writes, as far as the paths alone tell. */
export async function addCheckpointPaths(
  files: RunFiles,
  input: string,
  to: string,
  {
    activations = [],
    ...data
  }: Pick<CheckpointOptions, 'activations' | 'calibration' | 'holdout' | 'tokenizer'>,
): Promise<void> {
  const output = plainPath(to);
  for (const path of [activations].flat()) files.reads('recorded inputs', path);
  await addDataPaths(files, data);
  const isFolder = await stat(input).then(
    (found) => found.isDirectory(),
    () => false,
  );
  // Of an index, the folder it is in is often the one that outputs go to: its files are noted by themselves.
  files.reads('input', input, { only: true });
  if (isFolder || input.endsWith('.index.json')) {
    files.writesTo('output', output, { only: true });
    files.worksIn('work folder', join(output, workName));
  } else {
    files.writes('output', output, { only: true });
    files.worksIn('work folder', workFolderOf(output));
  }
}

/** Notes what is known once the input is open: shards may be links to elsewhere, and are written by their names. */
export function addCheckpointFiles(files: RunFiles, output: string, prepared: Prepared): void {
  const { checkpoint, companions, identity } = prepared;
  for (const { path } of checkpoint.shards.values()) files.reads("input's shard", path);
  if (identity.config) files.reads("input's file", identity.config.path);
  if (checkpoint.folder === null) return;
  for (const path of companions.files.values()) files.reads("input's file", path);
  for (const name of new Set(fileNames(prepared))) files.writesInside("output's file", join(output, name));
}

/** The files of the output's folder. */
export const fileNames = ({ checkpoint, companions, documents, generator, plan }: Prepared): string[] => [
  ...(generator ? [networkName(plan)] : checkpoint.shards.keys()),
  ...companions.files.keys(),
  ...documents.map(({ name }) => name),
];
