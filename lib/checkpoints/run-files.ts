import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { indexName } from '../formats/safetensors/index-file';
import type { RunFiles } from '../runs/run-files';
import type { Prepared } from './prepare';

/** The folder in a folder being written; for a single file what is added to its name. */
export const workName = '.vertexq';
/** What loaders of GPTQ read besides config.json. */
export const gptqConfigName = 'quantize_config.json';

/** Notes what a run reads and writes, as far as the paths alone tell. */
export async function addCheckpointPaths(
  files: RunFiles,
  input: string,
  output: string,
  activations: readonly string[] | string = [],
): Promise<void> {
  for (const path of [activations].flat()) files.reads('recorded inputs', path);
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
    files.worksIn('work folder', `${output}${workName}`);
  }
}

/** Notes what is known once the input is open: shards may be links to elsewhere, and are written by their names. */
export function addCheckpointFiles(
  files: RunFiles,
  output: string,
  { checkpoint, companions, config, plan }: Pick<Prepared, 'checkpoint' | 'companions' | 'config' | 'plan'>,
): void {
  for (const { path } of checkpoint.shards.values()) files.reads("input's shard", path);
  if (checkpoint.folder === null) return;
  for (const path of companions.files.values()) files.reads("input's file", path);
  if (config) files.reads("input's file", join(checkpoint.folder, 'config.json'));
  const names = [...checkpoint.shards.keys(), ...companions.files.keys()];
  if (config) names.push('config.json');
  if (plan.quantization?.['quant_method'] === 'gptq') names.push(gptqConfigName);
  if (checkpoint.index) names.push(indexName);
  for (const name of new Set(names)) files.writesInside("output's file", join(output, name));
}
