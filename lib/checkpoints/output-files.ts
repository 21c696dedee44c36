import { join } from 'node:path';
import type { RunFiles } from '../runs/run-files';
import { networkName } from './generator';
import type { Prepared } from './prepared';

/** Notes what is known once the input is open: shards may be links to elsewhere, and are written by their names. */
export function addCheckpointFiles(files: RunFiles, output: string, prepared: Prepared): void {
  const { inputs, companions, identity, isFile } = prepared;
  for (const { path } of inputs) files.reads("input's shard", path);
  if (identity.config) files.reads("input's file", identity.config.path);
  if (isFile) return;
  for (const path of companions.files.values()) files.reads("input's file", path);
  for (const name of new Set(fileNames(prepared))) files.writesInside("output's file", join(output, name));
}

/** The files of the output's folder. */
export const fileNames = ({ checkpoint, companions, documents, generator, plan }: Prepared): string[] => [
  ...(generator ? [networkName(plan)] : checkpoint.shards.keys()),
  ...companions.files.keys(),
  ...documents.map(({ name }) => name),
];
