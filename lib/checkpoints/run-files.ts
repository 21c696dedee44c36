import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { plainPath } from '../files/plain-path';
import type { RunFiles } from '../runs/run-files';
import { isGguf } from '../encodings/names';
import { workFolderOf, workName } from '../runs/work-name';
import { addDataPaths } from '../models/run-files';
import type { CheckpointOptions } from './types';

/** Notes what a run reads and writes, as far as the paths alone tell. */
export async function addCheckpointPaths(
  files: RunFiles,
  input: string,
  to: string,
  {
    activations = [],
    imatrix,
    sensitivity,
    format,
    ...data
  }: Pick<
    CheckpointOptions,
    'activations' | 'calibration' | 'imatrix' | 'sensitivity' | 'format' | 'holdout' | 'tokenizer'
  >,
): Promise<void> {
  const output = plainPath(to);
  for (const path of [activations].flat()) files.reads('recorded inputs', path);
  if (imatrix !== undefined) files.reads('importance matrix', imatrix);
  if (typeof sensitivity === 'string') files.reads('sensitivity', sensitivity);
  await addDataPaths(files, data);
  const isFolder = await stat(input).then(
    (found) => found.isDirectory(),
    () => false,
  );
  // Of an index, the folder it is in is often the one that outputs go to: its files are noted by themselves.
  files.reads('input', input, { only: true });
  if (!isGguf(format) && (isFolder || /\.(index\.json|gguf)$/i.test(input))) {
    files.writesTo('output', output, { only: true });
    files.worksIn('work folder', join(output, workName));
  } else {
    files.writes('output', output, { only: true });
    files.worksIn('work folder', workFolderOf(output));
  }
}
