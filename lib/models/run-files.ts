import { readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { plainPath } from '../files/plain-path';
import type { RunFiles } from '../runs/run-files';
import { workFolderOf } from '../runs/work-name';
import type { ModelOptions } from './types';

/** Notes the files of a model's run, as far as paths tell: the model, its data, what reads that; and of the output all that it may be. */
export async function addModelPaths(
  files: RunFiles,
  input: string,
  to: string | null,
  options: Pick<ModelOptions, 'calibration' | 'holdout' | 'tokenizer' | 'sensitivity'>,
): Promise<void> {
  if (typeof options.sensitivity === 'string') files.reads('sensitivity', options.sensitivity);
  files.reads('input', input, { only: true });
  await addDataPaths(files, options);
  if (to === null) return;
  const output = plainPath(to);
  files.writes('output', output, { only: true });
  files.worksIn('work folder', workFolderOf(output));
  const [first = '', ...further] = await dataPlaces(output);
  files.writesBeside('output', first, { series: dataName(output) });
  for (const path of further) files.writesBeside('output', path);
}

/** Notes the files of data, and what reads them. */
export async function addDataPaths(
  files: RunFiles,
  { calibration, holdout, tokenizer }: Pick<ModelOptions, 'calibration' | 'holdout' | 'tokenizer'>,
): Promise<void> {
  for (const path of [...pathsIn(calibration), ...pathsIn(holdout)]) {
    files.reads('input', path);
    for (const link of await linksIn(path)) files.reads('input', link);
  }
  if (typeof tokenizer === 'string') files.reads('tokenizer', tokenizer);
}

/** The names that the data of an output may have. */
export const dataName = (output: string) =>
  new RegExp(`^${basename(output).replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')}_data(_\\d+)?$`);

/** Where the data of an output would lie: where there is something already, or nothing yet. */
async function dataPlaces(output: string): Promise<string[]> {
  const first = `${basename(output)}_data`;
  const there = await readdir(dirname(output)).catch((): string[] => []); // a folder that may be written need not be readable
  const further = there.filter((name) => name !== first && dataName(output).test(name));
  return [first, ...further].map((name) => join(dirname(output), name));
}

/** The files of calibration data. */
function pathsIn(data: ModelOptions['holdout']): string[] {
  const list: readonly unknown[] = Array.isArray(data) ? data : [data];
  return list.filter((item) => typeof item === 'string' && item !== '') as string[];
}

/** The links in a folder of images: they lead to files that are not in it. */
async function linksIn(path: string): Promise<string[]> {
  const entries = await readdir(plainPath(path), { recursive: true, withFileTypes: true }).catch(() => []); // mostly a file
  return entries
    .filter((entry) => entry.isSymbolicLink())
    .map(({ parentPath, name }) => join(parentPath, name));
}
