import { join } from 'node:path';
import { partPaths } from '../containers/gguf/parts';
import type { RunFiles } from '../runs/run-files';
import { networkName } from './generator';
import type { Prepared } from './prepared';

/** Notes what is known once the input is open: shards may be links to elsewhere, and are written by their names. */
export function addCheckpointFiles(files: RunFiles, output: string, prepared: Prepared): void {
  const { inputs, companions, identity, isFile } = prepared;
  for (const { path } of inputs) files.reads("input's shard", path);
  if (identity.config) files.reads("input's file", identity.config.path);
  const paths = shardPaths(prepared);
  if (paths.length > 1 && isFile) for (const path of paths) files.writes("output's part", path);
  if (isFile) return;
  for (const path of companions.files.values()) files.reads("input's file", path);
  for (const name of new Set(fileNames(prepared))) files.writesInside("output's file", join(output, name));
}

/** Where the files of weights go: of one that is a file itself there, or beside it in parts. */
export const shardPaths = ({ output, isFile, plan: { shards } }: Prepared): string[] =>
  !isFile
    ? shards.map(({ name }) => join(output, name))
    : shards.length === 1
      ? [output]
      : partPaths(output, shards.length);

/** The files of the output's folder. */
export const fileNames = ({ checkpoint, companions, documents, generator, plan }: Prepared): string[] => [
  ...(generator ? [networkName(plan)] : checkpoint.shards.keys()),
  ...companions.files.keys(),
  ...documents.map(({ name }) => name),
];
